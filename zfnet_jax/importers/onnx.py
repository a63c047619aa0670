"""Nets from ONNX: the graph says all but the preprocessing.

The graph is read, never run. It must be one chain of convolutions, relus, contrast norms (LRN), max
pools and dense layers; before the first convolution constants may be subtracted and divided by,
which is preprocessing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import extras
from zfnet_jax.importers import files, own
from zfnet_jax.importers.chain import Link
from zfnet_jax.importers.onnx_nodes import NodeReader, title

_NUMBERS = ("value_float", "value_floats", "value_int", "value_ints")  # of a Constant node


@dataclasses.dataclass(frozen=True)
class Graph:
    """What an ONNX file holds.

    Attributes:
      chain: the layers.
      input_size: (H, W) of the images where the graph says it.
      mean, scale: what the graph itself subtracts from images and then divides by, see
        `NodeReader`.
      metadata: of the file, by key.
      tensors: all constants, by name.
    """

    chain: list[Link]
    input_size: tuple[int, int] | None
    mean: np.ndarray | None
    scale: np.ndarray | None
    metadata: dict[str, str]
    tensors: dict[str, np.ndarray]


def read(path: str | Path) -> Graph:
    """Reads a net.

    Raises:
      ValueError: onnx is not installed; the file is damaged, too large, keeps its tensors
        elsewhere, or is no such chain: names the first node that does not fit.
    """
    try:
        import onnx
    except ImportError:
        raise extras.missing("onnx", "import") from None
    path = Path(path)
    files.check_size(path)
    with files.reading(path, "an ONNX model"):
        model = onnx.load(path, load_external_data=False)
        graph = model.graph
        constants = _constants(graph)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        if own.KEY in metadata:  # what we exported says more than the graph
            return Graph([], None, None, None, metadata, constants)
        reader = NodeReader(constants, _opset(model))
        for node in _chain_of_nodes(graph, constants):
            reader.add(node)
        return Graph(
            chain=reader.chain,
            input_size=_input_size(graph, constants),
            mean=reader.mean,
            scale=reader.scale,
            metadata=metadata,
            tensors=constants,
        )


def _opset(model: Any) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)


def _constants(graph: Any) -> dict[str, np.ndarray]:
    """Initialisers and the outputs of Constant nodes."""
    from onnx import helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    numbers = {}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
                elif attribute.name in _NUMBERS:
                    numbers[node.output[0]] = np.array(helper.get_attribute_value(attribute))
    return numbers | {name: _array(name, tensor) for name, tensor in tensors.items()}


def _array(name: str, tensor: Any) -> np.ndarray:
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(
            f"{name} lies in another file: save the model as one file first (onnx.save)"
        )
    if any(n < 0 for n in tensor.dims) or math.prod(tensor.dims) > files.LARGEST:
        raise ValueError(f"{name} has the shape {list(tensor.dims)}")
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:
        shape = list(tensor.dims)
        raise ValueError(f"{name} does not hold the values of a tensor {shape}") from error


def _chain_of_nodes(graph: Any, constants: Mapping[str, np.ndarray]) -> list[Any]:
    """The nodes between input and output, first to last."""
    makers = {output: node for node in graph.node for output in node.output if output}
    if len(graph.output) != 1:
        raise ValueError(f"it has {len(graph.output)} outputs, expected one")
    name, nodes, seen = graph.output[0].name, [], set()
    while name in makers:
        node = makers[name]
        if id(node) in seen or len(seen) > 1000:
            raise ValueError(f"{title(node)}: the graph runs in a circle")
        seen.add(id(node))
        nodes.append(node)
        variable = [input_ for input_ in node.input if input_ and input_ not in constants]
        if len(variable) != 1:
            raise ValueError(f"{title(node)} reads {', '.join(variable) or 'nothing'}: not a chain")
        name = variable[0]
    if name not in {value.name for value in graph.input}:
        raise ValueError(f"nothing makes {name}, which the graph reads")
    return nodes[::-1]


def _input_size(graph: Any, constants: Mapping[str, np.ndarray]) -> tuple[int, int] | None:
    for value in graph.input:
        if value.name in constants:
            continue
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if len(dims) == 4 and dims[2] > 0 and dims[3] > 0:
            return int(dims[2]), int(dims[3])
    return None
