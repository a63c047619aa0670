"""Contrast norms as PyTorch's exporters write them, which do not use the node that ONNX has.

`torch.nn.LocalResponseNorm` is x / (k + alpha * mean)^beta, and becomes a node for each operation.
The mean of squares over neighbouring maps is an average pool [n, 1, 1] of x * x, which is reshaped
to [B, 1, C, H, W] for it and padded along its maps; nodes of their own compute these shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_RESHAPED = ("Reshape", "Squeeze", "Unsqueeze", "Identity")


def as_one_node(
    node: Any, makers: Mapping[str, Any], constants: Mapping[str, np.ndarray]
) -> Any | None:
    """The LRN node that does what `node`, the division at the end of such a norm, does with those
    before it; None if it is no such division.

    Args:
      makers: of what nodes put out, by its name.
      constants: by name.
    """
    from onnx import helper

    if node.op_type != "Div" or len(node.input) != 2:
        return None
    image, below = node.input
    numbers = []
    for kind in ("Pow", "Add", "Mul"):  # beta, k, alpha
        found = _with_number(makers.get(below), kind, constants)
        if found is None:
            return None
        below, number = found
        numbers.append(number)
    maps = _averaged_maps(_unshaped(makers.get(below), makers), image, makers, constants)
    if maps is None:
        return None
    beta, k, alpha = numbers
    fields = {"size": maps, "alpha": alpha, "beta": beta, "bias": k}
    return helper.make_node("LRN", [image], list(node.output), node.name, **fields)


def _with_number(
    node: Any, kind: str, constants: Mapping[str, np.ndarray]
) -> tuple[str, float] | None:
    """Of an operation of maps and one number, the name of the maps, and the number."""
    if node is None or node.op_type != kind or len(node.input) != 2:
        return None
    for maps, number in (node.input, reversed(node.input))[: 1 if kind == "Pow" else 2]:
        if number in constants and maps not in constants and constants[number].size == 1:
            return maps, float(constants[number].item())
    return None


def _averaged_maps(
    node: Any, image: str, makers: Mapping[str, Any], constants: Mapping[str, np.ndarray]
) -> int | None:
    """Over how many neighbouring maps `node` takes the mean of the squares of `image`, as many on
    either side; None if it does something else."""
    from onnx import helper

    if node is None or node.op_type != "AveragePool":
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    window = list(attributes.get("kernel_shape", []))
    maps = window[0] if window else 0
    plain = not any(attributes.get("pads", ())) and set(attributes.get("strides", (1,))) == {1}
    if window != [maps, 1, 1] or not plain:
        return None
    padded = makers.get(node.input[0])
    if padded is None or padded.op_type != "Pad" or len(padded.input) < 2:
        return None
    pads = constants.get(padded.input[1], np.zeros(0)).tolist()
    half = maps // 2
    if maps % 2 == 0 or pads != [0, 0, half, 0, 0] * 2:
        return None
    squared = _unshaped(makers.get(padded.input[0]), makers)
    if squared is None or squared.op_type != "Mul" or list(squared.input) != [image] * 2:
        return None
    return maps


def _unshaped(node: Any, makers: Mapping[str, Any]) -> Any:
    """The node whose values `node` gives another shape, or itself."""
    while node is not None and (node.op_type in _RESHAPED or node.op_type == "If"):
        name = node.input[0] if node.op_type in _RESHAPED else _either_way(node)
        node = makers.get(name)
    return node


def _either_way(node: Any) -> str:
    """What both branches of an If reshape; '' if they do anything else."""
    names = set()
    for attribute in node.attribute:
        inner = list(attribute.g.node)
        reshapes = [each for each in inner if each.op_type in _RESHAPED]
        if len(reshapes) != 1 or any(
            each not in reshapes and each.op_type != "Constant" for each in inner
        ):
            return ""
        names.add(reshapes[0].input[0])
    return names.pop() if len(names) == 1 else ""
