"""Nets from ONNX: the graph says all but the preprocessing.

The graph is read, never run. It must be one chain of convolutions, relus, contrast norms (LRN), max
or average pools and dense layers; before the first convolution constants may be subtracted and
divided by, which is preprocessing. Graphs of Keras, whose images and maps have their channels last,
turn them round for the layers that ONNX has with channels first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import extras
from zfnet_jax.importers import files, onnx_names, own
from zfnet_jax.importers.chain import Link
from zfnet_jax.importers.onnx_constants import Constants, opset, title
from zfnet_jax.importers.onnx_nodes import NodeReader, starts_channels_last
from zfnet_jax.importers.onnx_norms import as_one_node


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
      beside: the files beside it that hold some of them.
      names: what people call the links of the chain, by their names; see `onnx_names`.
    """

    chain: list[Link]
    input_size: tuple[int, int] | None
    mean: np.ndarray | None
    scale: np.ndarray | None
    metadata: dict[str, str]
    tensors: dict[str, np.ndarray]
    beside: tuple[Path, ...]
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read(path: str | Path) -> Graph:
    """Reads a net.

    Raises:
      ValueError: onnx is not installed; the file is damaged, too large, keeps its tensors
        anywhere but in plain files beside it, or is no such chain: names the first node that does
        not fit.
    """
    try:
        import onnx
    except ImportError:
        raise extras.missing("onnx", "import") from None
    path = Path(path)
    files.check(path, "onnx")
    with files.reading(path, "an ONNX model"):
        model = onnx.load(path, load_external_data=False)
        stored = Constants(model, path.parent)
        constants, beside = stored.arrays, tuple(sorted(stored.beside))
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        if own.KEY in metadata:  # what we exported says more than the graph
            return Graph([], None, None, None, metadata, constants, beside)
        targets = _lengths_of_targets(model, constants)
        nodes = _chain_of_nodes(model.graph, constants, targets)
        channels_last = starts_channels_last(nodes)
        reader = NodeReader(constants, targets, opset(model), channels_last)
        for node in nodes:
            reader.add(node)
        return Graph(
            chain=reader.chain,
            input_size=_input_size(model.graph, constants, channels_last),
            mean=reader.mean,
            scale=reader.scale,
            metadata=metadata,
            tensors=constants,
            beside=beside,
            names={title(node): onnx_names.of_node(node, constants) for node in nodes},
        )


def _lengths_of_targets(model: Any, constants: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many axes the graph's reshapes make, by the name of the shape that they are given, where
    it is only known as the graph runs: `x.view(x.size(0), -1)`."""
    import onnx

    computed: set[str] = set()  # of shapes and constants alone
    for node in model.graph.node:
        inputs = [name for name in node.input if name and name not in constants]
        if node.op_type == "Shape" or (inputs and computed.issuperset(inputs)):
            computed.update(node.output)
    reshapes = [node for node in model.graph.node if node.op_type == "Reshape"]
    targets = {name for node in reshapes for name in node.input[1:2]} & computed
    if not targets:
        return {}
    # Of the weights the inference needs the shapes alone.
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.initializer[:]
    listed = {value.name for value in bare.graph.input}
    for name in (tensor.name for tensor in model.graph.initializer):
        if constants[name].size <= 1024:
            bare.graph.initializer.append(onnx.numpy_helper.from_array(constants[name], name))
        elif name not in listed:
            kind = onnx.helper.np_dtype_to_tensor_dtype(constants[name].dtype)
            shape = constants[name].shape
            bare.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    return {
        value.name: int(value.type.tensor_type.shape.dim[0].dim_value)
        for value in inferred.graph.value_info
        if value.name in targets and len(value.type.tensor_type.shape.dim) == 1
    }


def _chain_of_nodes(
    graph: Any, constants: Mapping[str, np.ndarray], targets: Collection[str]
) -> list[Any]:
    """The nodes between input and output, first to last; constants and the shapes `targets` are no
    part of the way."""
    aside = {*constants, *targets}
    makers = {output: node for node in graph.node for output in node.output if output}
    if len(graph.output) != 1:
        raise ValueError(f"it has {len(graph.output)} outputs, expected one")
    name, nodes, seen = graph.output[0].name, [], set()
    while name in makers:
        node = as_one_node(makers[name], makers, constants) or makers[name]
        if name in seen or len(seen) > 1000:
            raise ValueError(f"{title(node)}: the graph runs in a circle")
        seen.add(name)
        nodes.append(node)
        variable = [input_ for input_ in node.input if input_ and input_ not in aside]
        if len(variable) != 1:
            raise ValueError(f"{title(node)} reads {', '.join(variable) or 'nothing'}: not a chain")
        name = variable[0]
    if name not in {value.name for value in graph.input}:
        raise ValueError(f"nothing makes {name}, which the graph reads")
    return nodes[::-1]


def _input_size(
    graph: Any, constants: Mapping[str, np.ndarray], channels_last: bool
) -> tuple[int, int] | None:
    for value in graph.input:
        if value.name in constants:
            continue
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        sides = dims[1:3] if channels_last else dims[2:]
        if len(dims) == 4 and min(sides) > 0:
            return int(sides[0]), int(sides[1])
    return None
