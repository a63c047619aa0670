"""The constants of an ONNX graph: what it stores, in its file or beside it, and what nodes make of
constants alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.importers import files

# Kinds of nodes that are computed where all that they read is constant. Their results are as large
# as ONNX's own inference says, and there are no loops among them.
_FOLDED = frozenset({
    "Abs", "Add", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Exp", "Expand",
    "Flatten", "Floor", "Gather", "Identity", "Max", "Min", "Mul", "Neg", "Pow", "Range",
    "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape",
    "Shape", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze",
    "Where",
})  # fmt: skip
_NUMBERS = ("value_float", "value_floats", "value_int", "value_ints")  # of a Constant node
_SHORT = 1024  # values that shapes may depend on


class Constants:
    """The constants of a model.

    Attributes:
      arrays: by name.
      beside: the files beside the model's that hold some of them.

    Raises:
      ValueError: a tensor is damaged, lies anywhere but in a plain file beside the model's, cannot
        be computed, or all together are larger than any net of this family.
    """

    def __init__(self, model: Any, folder: Path) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.beside: set[Path] = set()
        self._folder = folder
        self._left = files.LARGEST
        for tensor in model.graph.initializer:
            self._store(tensor.name, tensor)
        for node in model.graph.node:
            if node.domain in ("", "ai.onnx"):
                self._add(node, opset(model))

    def _add(self, node: Any, version: int) -> None:
        from onnx import helper

        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    self._store(node.output[0], attribute.t)
                elif attribute.name in _NUMBERS:
                    value = helper.get_attribute_value(attribute)
                    is_float = "float" in attribute.name
                    dtype = np.float32 if is_float else np.int64
                    self.arrays[node.output[0]] = np.array(value, dtype)
        elif node.op_type in _FOLDED and node.input:
            inputs = {name: self.arrays[name] for name in node.input if name in self.arrays}
            if all(name in inputs for name in node.input if name):
                self._take(title(node), _bytes_of_results(node, inputs, version))
                self.arrays |= _results(node, inputs, version)

    def _store(self, name: str, tensor: Any) -> None:
        from onnx import TensorProto, numpy_helper

        if any(n < 0 for n in tensor.dims) or math.prod(tensor.dims) > files.LARGEST:
            raise ValueError(f"{name} has the shape {list(tensor.dims)}")
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            self.arrays[name] = self._read_beside(name, tensor)
            return
        try:
            self.arrays[name] = numpy_helper.to_array(tensor)
        except Exception as error:
            shape = list(tensor.dims)
            raise ValueError(f"{name} does not hold the values of a tensor {shape}") from error

    def _read_beside(self, name: str, tensor: Any) -> np.ndarray:
        """A tensor's values in another file, which must be a plain one beside the model's."""
        from onnx import helper

        fields = {entry.key: entry.value for entry in tensor.external_data}
        place = fields.get("location", "")
        path = files.beside(self._folder, place, name)
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        size = math.prod(tensor.dims) * dtype.itemsize
        given = [fields.get("offset", "0"), fields.get("length", str(size))]
        if not all(number.isdecimal() and number.isascii() for number in given):
            raise ValueError(f"{name} lies in {place} at {given[0]!r}, {given[1]!r} bytes long")
        offset, length = map(int, given)
        there = path.stat().st_size
        if dtype.hasobject or length != size or offset + length > there:
            raise ValueError(
                f"{name} has {size} bytes; bytes {offset} to {offset + length} of the {there} in"
                f" {place} should hold them"
            )
        self._take(name, size)
        self.beside.add(path)
        with path.open("rb") as file:
            file.seek(offset)
            return np.frombuffer(file.read(size), dtype).reshape(tensor.dims)

    def _take(self, name: str, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError(
                f"{name}: with its {size} bytes the constants are larger than any net's"
            )


def _bytes_of_results(node: Any, inputs: Mapping[str, np.ndarray], version: int) -> int:
    """How large ONNX's inference says that a node's results are."""
    from onnx import defs, helper, numpy_helper, shape_inference

    types = {
        name: helper.make_tensor_type_proto(
            helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in inputs.items()
    }
    short = {
        name: numpy_helper.from_array(np.ascontiguousarray(array), name)
        for name, array in inputs.items()
        if array.size <= _SHORT
    }
    try:
        results = shape_inference.infer_node_outputs(
            defs.get_schema(node.op_type, version, ""),
            node,
            types,
            short,
            opset_imports=[helper.make_opsetid("", version)],
        )
        size = 0
        for result in results.values():
            kind = result.tensor_type
            dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
            if not kind.HasField("shape") or min(dims, default=0) < 0:
                raise ValueError("the size of its result is not known before")
            size += math.prod(dims) * helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        return size
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(f"{title(node)}: it cannot be computed: {line[:200]}") from error


def _results(node: Any, inputs: Mapping[str, np.ndarray], version: int) -> dict[str, np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    try:
        found = ReferenceEvaluator(node, opsets={"": version}).run(None, dict(inputs))
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(f"{title(node)}: it cannot be computed: {line[:200]}") from error
    return {name: np.asarray(array) for name, array in zip(node.output, found) if name}


def opset(model: Any) -> int:
    """The version of ONNX's own kinds of nodes that a model uses."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)


def title(node: Any) -> str:
    return f"{node.op_type} {node.name or node.output[0] if node.output else node.name}"
