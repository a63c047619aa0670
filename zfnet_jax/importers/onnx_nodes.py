"""From the nodes of an ONNX graph to the links of a chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zfnet_jax.importers.chain import (
    Affine,
    Dropout,
    Filters,
    GlobalPool,
    Link,
    Norm,
    Rectifier,
    Same,
    Softmax,
    Weights,
    WindowPool,
    Zeros,
    batch_norm,
)
from zfnet_jax.importers.onnx_constants import title
from zfnet_jax.layer_specs import PoolKind
from zfnet_jax.windows import Padding, Pair

_LAST = ("Softmax", "LogSoftmax")  # may follow the class scores
_FLATTENS = ("Flatten", "Reshape")
_KINDS: dict[str, PoolKind] = {"MaxPool": "max", "AveragePool": "average"}
_REDUCED: dict[str, PoolKind] = {"ReduceMax": "max", "ReduceMean": "average"}
_RECTIFIERS = ("Relu", "LeakyRelu", "PRelu", "Clip")
_SAME: dict[str, Same] = {"SAME_UPPER": "same_upper", "SAME_LOWER": "same_lower"}
_PREPROCESSING = ("Sub", "Add", "Mul", "Div")

# What a transposition makes of images and maps: whether their channels are last.
_TURNS = {(0, 3, 1, 2): False, (0, 2, 3, 1): True}
_CHANNELS_FIRST = (
    "Conv", "LRN", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool",
    "BatchNormalization",
)  # fmt: skip

# Of a node's inputs the arrays that are in the file; None for what a node makes.
Constants = list[np.ndarray | None]


class NodeReader:
    """Turns nodes into links, one after the other.

    Attributes:
      chain: the links.
      mean: [C, 1, 1], or [C, H, W] per pixel, and scale, [C, 1, 1], C being 1 or 3: what the nodes
        before the first link subtract and then divide by; None where they do not.

    Args:
      constants: arrays by name.
      targets: how many axes a shape has that is only known as the graph runs, by name.
      opset: version of ONNX's nodes.
      channels_last: whether images are [N, H, W, C], see `starts_channels_last`.
    """

    def __init__(
        self,
        constants: Mapping[str, np.ndarray],
        targets: Mapping[str, int],
        opset: int,
        channels_last: bool,
    ) -> None:
        self.chain: list[Link] = []
        self.mean: np.ndarray | None = None
        self.scale: np.ndarray | None = None
        self._constants = constants
        self._targets = targets
        self._opset = opset
        self._channels_last = channels_last  # of what the next node reads

    def add(self, node: Any) -> None:
        kind, name = node.op_type, title(node)
        attributes = _attributes(node)
        constants = [self._constants.get(input_) for input_ in node.input]
        ended = self.chain and isinstance(self.chain[-1], Softmax)
        if ended and kind not in _FLATTENS:
            raise ValueError(f"{name}: it follows {self.chain[-1].name}")
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"{name}: it is not ONNX's own, but of {node.domain}")
        if _changes_nothing(kind, attributes, constants):
            return
        if self._channels_last and kind in _CHANNELS_FIRST:
            raise ValueError(f"{name}: it reads maps whose channels are last")
        if kind in _LAST:
            self.chain.append(Softmax(name))
        elif kind == "Transpose":
            turn = _TURNS.get(tuple(attributes.get("perm", ())))
            if turn is None or turn == self._channels_last:
                raise ValueError(f"{name}: a transposition {list(attributes.get('perm', ()))}")
            self._channels_last = turn
        elif kind in _PREPROCESSING and not self.chain:
            self._preprocess(node, constants)
        elif kind == "Conv":
            self.chain.append(_filters(name, attributes, constants))
        elif kind in _RECTIFIERS or (kind in ("Min", "Max") and self.chain):
            self.chain.append(_rectifier(name, kind, attributes, constants))
        elif kind == "LRN":
            size, alpha = int(attributes.get("size", 0)), float(attributes.get("alpha", 1e-4))
            beta, bias = float(attributes.get("beta", 0.75)), float(attributes.get("bias", 1.0))
            self.chain.append(Norm(name, size, bias, alpha, beta))
        elif kind in ("MaxPool", "AveragePool"):
            self.chain.append(_pool(name, _KINDS[kind], attributes))
        elif kind in ("GlobalMaxPool", "GlobalAveragePool"):
            self.chain.append(GlobalPool(name, _KINDS[kind.removeprefix("Global")]))
        elif kind in _REDUCED and _axes(attributes, constants) in self._sides():
            self.chain.append(GlobalPool(name, _REDUCED[kind]))
        elif kind == "Pad":
            self.chain.append(_zeros(name, attributes, constants, self._channels_last))
        elif kind == "Dropout":
            rate = attributes.get("ratio", 0.5)
            if self._opset >= 12 and len(constants) > 1 and constants[1] is not None:
                rate = constants[1].item()
            self.chain.append(Dropout(name, float(rate)))
        elif kind in ("Gemm", "MatMul"):
            weights = _weights(name, kind, attributes, constants)
            self.chain.append(dataclasses.replace(weights, channels_last=self._channels_last))
            self._channels_last = False
        elif kind == "BatchNormalization":
            self.chain.append(_batch_norm(name, attributes, constants))
        elif kind in _PREPROCESSING:
            self.chain.append(self._affine(name, kind, constants))
        elif kind in _FLATTENS:
            axes = [self._targets[input_] for input_ in node.input if input_ in self._targets]
            _check_flatten(name, kind, attributes, constants, axes)
        else:
            raise ValueError(f"{name}: a net of this family has no {kind} here")

    def _preprocess(self, node: Any, constants: Constants) -> None:
        """(x - mean) / scale, then what this node does to it."""
        kind = node.op_type
        value = next(array for array in constants if array is not None)
        if constants[0] is not None and kind in ("Sub", "Div"):
            raise ValueError(f"{title(node)}: {kind} of images is no preprocessing known here")
        value = np.asarray(value, np.float32)
        if value.ndim not in (0, 1, 3, 4) or (value.ndim == 4 and len(value) != 1):
            raise ValueError(f"{title(node)}: its constant is {list(value.shape)}")
        value = value.reshape(value.shape[-3:]) if value.ndim > 1 else value.reshape(-1, 1, 1)
        if self._channels_last and value.ndim > 1 and value.shape[2] > 1:
            value = value.transpose(2, 0, 1)
        if value.shape[0] not in (1, 3):
            raise ValueError(f"{title(node)}: its constant is {list(value.shape)}")
        scale = np.float32(1) if self.scale is None else self.scale
        if kind in ("Sub", "Add"):
            mean = np.float32(0) if self.mean is None else self.mean
            self.mean = mean + (value if kind == "Sub" else -value) * scale
        elif value.shape[1:] != (1, 1) or not (value > 0).all():
            raise ValueError(f"{title(node)}: a scale of {list(value.shape)} or not positive")
        else:
            self.scale = scale * value if kind == "Div" else scale / value

    def _sides(self) -> tuple[list[int], ...]:
        """The axes of rows and columns."""
        return ([1, 2], [-3, -2]) if self._channels_last else ([2, 3], [-2, -1])

    def _affine(self, name: str, kind: str, constants: Constants) -> Affine:
        """An operation with one constant for each map or unit, or one for all."""
        value = next((array for array in constants if array is not None), np.zeros(0))
        units = any(isinstance(link, Weights) for link in self.chain)  # no maps from there on
        axis = -1 if units or self._channels_last else -3
        fits = value.ndim >= -axis and value.shape[axis] == value.size
        if len(constants) != 2 or not value.size or not (fits or value.size == 1):
            raise ValueError(f"{name}: {kind} of a constant {list(value.shape)}")
        value = value.astype(np.float64).reshape(-1)
        one, none = np.ones_like(value), np.zeros_like(value)
        if kind == "Div" and constants[0] is not None:
            raise ValueError(f"{name}: a constant is divided by maps")
        if kind in ("Mul", "Div"):
            return Affine(name, value if kind == "Mul" else 1 / value, none)
        if kind == "Sub":
            return Affine(name, one, -value) if constants[0] is None else Affine(name, -one, value)
        return Affine(name, one, value)


def starts_channels_last(nodes: Sequence[Any]) -> bool:
    """Whether the first that nodes do to images, their preprocessing apart, is to put the channels
    first, as graphs of Keras do."""
    passed = (*_PREPROCESSING, "Cast", "Identity", "Pad")
    first = next((node for node in nodes if node.op_type not in passed), None)
    if first is None or first.op_type != "Transpose":
        return False
    return tuple(_attributes(first).get("perm", ())) == (0, 3, 1, 2)


def _batch_norm(name: str, attributes: dict[str, Any], constants: Constants) -> Affine:
    scale, shift, mean, variance = constants[1:5] if len(constants) == 5 else [None] * 4
    if scale is None or shift is None or mean is None or variance is None:
        raise ValueError(f"{name}: its statistics are no tensors of the file")
    if attributes.get("training_mode", 0):
        raise ValueError(f"{name}: a batch norm as in training; export the net for evaluation")
    epsilon = float(attributes.get("epsilon", 1e-5))
    return batch_norm(name, mean, variance, epsilon, scale, shift)


def _changes_nothing(kind: str, attributes: dict[str, Any], constants: Constants) -> bool:
    if kind == "Cast":
        from onnx import TensorProto

        floating = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
        return attributes.get("to") in (*floating, TensorProto.BFLOAT16)
    if kind == "AveragePool":  # PyTorch's adaptive pool that leaves maps as they are
        fields = (("kernel_shape", [0, 0]), ("strides", [1, 1]), ("pads", [0, 0]))
        values = [list(attributes.get(field, default)) for field, default in fields]
        return values[:2] == [[1, 1]] * 2 and not any(values[2])
    if kind == "Pad":  # by no pixels; an input since opset 11
        pads = attributes.get("pads") or (constants[1] if len(constants) > 1 else None)
        return pads is not None and not np.any(pads)
    if kind == "Squeeze":  # of a mean or maximum of each map, which is flattened
        return _axes(attributes, constants) in ([2, 3], [-2, -1])
    return kind == "Identity"


def _axes(attributes: dict[str, Any], constants: Constants) -> list[int]:
    """The axes of a node, which newer versions have as an input."""
    if len(constants) > 1 and constants[1] is not None:
        return sorted(int(axis) for axis in constants[1].ravel())
    return sorted(attributes.get("axes", []))


def _rectifier(name: str, kind: str, attributes: dict[str, Any], constants: Constants) -> Rectifier:
    """A relu, leaky with one slope for all maps, or capped, or its cap alone."""
    if kind == "Relu":
        return Rectifier(name)
    if kind == "LeakyRelu":
        return Rectifier(name, _not_negative(name, "slope", attributes.get("alpha", 0.01)))
    if kind == "PRelu":
        slopes = np.zeros(0) if len(constants) < 2 or constants[1] is None else constants[1]
        if not slopes.size or (slopes != slopes.flat[0]).any():
            raise ValueError(f"{name}: {len(np.unique(slopes))} slopes; one for all maps is known")
        return Rectifier(name, _not_negative(name, "slope", slopes.flat[0]))
    value = next((array for array in constants if array is not None), np.zeros(0))
    if kind == "Clip":  # attributes before opset 11
        ends = [constants[n] if len(constants) > n else None for n in (1, 2)]
        low, high = (
            attributes.get(word) if end is None else end.item()
            for word, end in zip(("min", "max"), ends)
        )
    elif value.size != 1 or len(constants) != 2:
        raise ValueError(f"{name}: {kind} of a constant {list(value.shape)}, expected one number")
    else:
        low, high = (value.item(), None) if kind == "Max" else (None, value.item())
    low = None if low is None or low <= np.finfo(np.float32).min else low
    high = None if high is None or high >= np.finfo(np.float32).max else high
    if low not in (None, 0):
        raise ValueError(f"{name}: values below {low:g} become that; expected 0")
    slope = 1.0 if low is None else 0.0
    return Rectifier(name, slope, None if high is None else _not_negative(name, "cap", high))


def _not_negative(name: str, what: str, value: Any) -> float:
    if not 0 <= value < np.inf:
        raise ValueError(f"{name}: its {what} is {value:g}, expected 0 or more")
    return float(value)


def _filters(name: str, attributes: dict[str, Any], constants: Constants) -> Filters:
    if len(constants) < 2 or constants[1] is None:
        raise ValueError(f"{name}: its weight is no tensor of the file")
    weight = constants[1]
    if weight.ndim != 4:
        raise ValueError(f"{name}: its weight is {list(weight.shape)}, expected four axes")
    bias = constants[2] if len(constants) > 2 else None
    shape = attributes.get("kernel_shape", weight.shape[2:])
    if list(shape) != list(weight.shape[2:]):
        raise ValueError(f"{name}: its weight is {list(weight.shape)}, expected {list(shape)} last")
    return Filters(
        name,
        weight,
        np.zeros(len(weight), np.float32) if bias is None else bias,
        stride=_pair(name, "strides", attributes.get("strides", [1, 1])),
        padding=_padding(name, attributes),
        groups=int(attributes.get("group", 1)),
        dilation=_pair(name, "dilations", attributes.get("dilations", [1, 1])),
    )


def _zeros(
    name: str, attributes: dict[str, Any], constants: Constants, channels_last: bool
) -> Zeros:
    """Constant padding: attributes before opset 11, then inputs, of some axes alone since 18."""
    pads, value, axes = (constants[n] if len(constants) > n else None for n in (1, 2, 3))
    pads = np.array(attributes.get("pads", [])) if pads is None else pads
    number = attributes.get("value", 0) if value is None else value.item()
    mode = attributes.get("mode", b"constant").decode()
    if mode != "constant" or number != 0:
        raise ValueError(
            f"{name}: it pads with {number if mode == 'constant' else mode}, expected 0"
        )
    ends = np.zeros((4, 2), int)  # of each axis before and after
    rows = slice(None) if axes is None else axes.tolist()
    if pads.size != ends[rows].size:
        raise ValueError(f"{name}: its pads are {pads.tolist()}")
    ends[rows] = pads.reshape(2, -1).T
    first = 1 if channels_last else 2
    (top, bottom), (left, right) = sides = ends[first : first + 2].tolist()
    if ends.min() < 0 or ends.sum() != np.sum(sides):
        raise ValueError(f"{name}: its pads are {pads.tolist()}, expected some of rows and columns")
    return Zeros(name, ((top, bottom), (left, right)))


def _pool(name: str, kind: PoolKind, attributes: dict[str, Any]) -> WindowPool:
    dilations = _pair(name, "dilations", attributes.get("dilations", [1, 1]))
    if dilations != (1, 1):
        raise ValueError(f"{name}: a pool whose dilations are {list(dilations)}")
    return WindowPool(
        name,
        kind,
        _pair(name, "kernel_shape", attributes.get("kernel_shape", [])),
        stride=_pair(name, "strides", attributes.get("strides", [1, 1])),
        padding=_padding(name, attributes),
        ceil=bool(attributes.get("ceil_mode", 0)),
        counts_padding=bool(attributes.get("count_include_pad", 0)),
    )


def _weights(name: str, kind: str, attributes: dict[str, Any], constants: Constants) -> Weights:
    if len(constants) < 2 or constants[1] is None or constants[1].ndim != 2:
        raise ValueError(f"{name}: its weight is no matrix of the file")
    weight = constants[1]
    if kind == "MatMul" or not attributes.get("transB", 0):
        weight = weight.T
    factors = [attributes.get(factor, 1.0) for factor in ("alpha", "beta")]
    if factors != [1.0, 1.0] or attributes.get("transA", 0):
        raise ValueError(f"{name}: alpha, beta and transA are {factors}, expected 1, 1 and 0")
    bias = np.zeros(len(weight), np.float32)
    if kind == "Gemm" and len(constants) > 2 and constants[2] is not None:
        bias = constants[2].reshape(-1)
    return Weights(name, weight, bias)


def _check_flatten(
    name: str, kind: str, attributes: dict[str, Any], constants: Constants, axes: list[int]
) -> None:
    """Dense layers refuse another number of inputs, so that two axes are enough.

    Args:
      axes: how many axes it makes, if no constant says it.
    """
    if kind == "Flatten":
        if attributes.get("axis", 1) != 1:
            raise ValueError(f"{name}: it flattens from axis {attributes['axis']}, expected 1")
        return
    shape = attributes.get("shape")  # an input since opset 5
    if shape is None and len(constants) > 1 and constants[1] is not None:
        shape = constants[1].tolist()
    if axes == [2]:
        return
    if shape is None or len(shape) != 2:
        raise ValueError(f"{name}: it reshapes to {shape}, expected two axes")


def _padding(name: str, attributes: dict[str, Any]) -> Padding | Same:
    rule = attributes.get("auto_pad", b"NOTSET").decode()
    if rule in _SAME:
        return _SAME[rule]
    pads = [int(n) for n in attributes.get("pads", [0, 0, 0, 0])]
    if rule == "VALID":
        pads = [0, 0, 0, 0]
    if len(pads) != 4 or min(pads) < 0:
        raise ValueError(f"{name}: its pads are {pads}, expected four of 0 or more")
    return (pads[0], pads[2]), (pads[1], pads[3])


def _pair(name: str, field: str, values: Any) -> Pair:
    """Of rows and of columns."""
    values = [int(n) for n in values]
    if len(values) != 2 or min(values) < 1:
        raise ValueError(f"{name}: its {field} are {values}, expected two of 1 or more")
    return values[0], values[1]


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
