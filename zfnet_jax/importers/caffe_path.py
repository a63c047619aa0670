"""Which of a Caffe net's layers lie on the way from the image to the class scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

_INPUTS = (
    "Input", "Data", "ImageData", "MemoryData", "HDF5Data", "WindowData", "DummyData", "Python",
)  # fmt: skip
_SOFTMAX = ("Softmax", "SoftmaxWithLoss")
_TEST = 1  # the phase of evaluation


@dataclasses.dataclass(frozen=True)
class Way:
    """The way through a net.

    Attributes:
      layers: from the first that reads the image to the one that makes the class scores.
      source: the layer that makes the image, if there is one.
      softmax: the name of the layer that says that these are class scores; '' if none does.
    """

    layers: list[Any]
    source: Any | None
    softmax: str


def find(layers: Sequence[Any], inputs: Sequence[str], output: str | None) -> Way:
    """The way in evaluation. Layers beside it are left out: losses, accuracies, data of training,
    a detector's region proposals.

    Args:
      layers: all of the net, see `caffe_upgrade.upgraded`.
      inputs: the blobs that the net is given.
      output: name of the last layer; if not given, the one that the last softmax reads, else the
        last dense layer, else the last layer of all.

    Raises:
      ValueError: names the layer at which the net is no chain.
    """
    tested = [layer for layer in layers if _is_tested(layer)]
    blob, position, softmax = _end(tested, output)
    way: list[Any] = []
    # Backwards: whoever made the blob last before that. Layers in place share its name.
    while True:
        position = _maker(tested, blob, position)
        if position < 0:
            return Way(way[::-1], _source(layers, inputs, blob, way), softmax)
        layer = tested[position]
        if layer.type in _INPUTS:
            return Way(way[::-1], layer, softmax)
        way.append(layer)
        if not layer.bottom:
            raise ValueError(f"layer {layer.name} ({layer.type}) reads nothing")
        # Of RoI pooling's two inputs the first are the maps.
        if len(layer.bottom) > 1 and layer.type != "ROIPooling":
            raise ValueError(
                f"layer {layer.name} ({layer.type}) reads {', '.join(layer.bottom)}: the net is no"
                " chain"
            )
        blob, position = layer.bottom[0], position - 1


def _is_tested(layer: Any) -> bool:
    """Whether it is part of the net in evaluation, without levels or stages."""
    if layer.include:
        return any(map(_is_met, layer.include))
    return not any(map(_is_met, layer.exclude))


def _is_met(rule: Any) -> bool:
    return (
        (not rule.HasField("phase") or rule.phase == _TEST)
        and rule.min_level <= 0 <= (rule.max_level if rule.HasField("max_level") else 0)
        and not rule.stage
    )


def _end(layers: Sequence[Any], output: str | None) -> tuple[str, int, str]:
    """The blob of the class scores, the position of the last layer that may make it, and the
    softmax that reads it."""
    if output is None:
        chosen = [n for n, layer in enumerate(layers) if layer.type in _SOFTMAX and layer.bottom]
    else:
        chosen = [n for n, layer in enumerate(layers) if layer.name == output]
        if not chosen:
            raise ValueError(
                f"there is no layer {output}, only {', '.join(layer.name for layer in layers)}"
            )
    if chosen and layers[chosen[-1]].type in _SOFTMAX:
        softmax = layers[chosen[-1]]
        if _maker(layers, softmax.bottom[0], chosen[-1] - 1) < 0:
            raise ValueError(
                f"layer {softmax.name} ({softmax.type}) reads {softmax.bottom[0]}, which no layer"
                " makes"
            )
        return softmax.bottom[0], chosen[-1] - 1, softmax.name
    chosen = chosen or [n for n, layer in enumerate(layers) if layer.type == "InnerProduct"]
    chosen = chosen or [n for n, layer in enumerate(layers) if _makes_maps(layer)]
    if not chosen:
        raise ValueError("it has no layers")
    last = layers[chosen[-1]]
    if not last.top:
        raise ValueError(f"layer {last.name} ({last.type}) makes nothing")
    return last.top[0], chosen[-1], ""


def _makes_maps(layer: Any) -> bool:
    judges = layer.type.endswith("Loss") or layer.type in ("Accuracy", "Silence")
    return bool(layer.top) and layer.type not in _INPUTS and not judges


def _maker(layers: Sequence[Any], blob: str, position: int) -> int:
    """The last layer up to a position that makes a blob; -1 if none does."""
    return next((n for n in range(position, -1, -1) if blob in layers[n].top), -1)


def _source(
    layers: Sequence[Any], inputs: Sequence[str], blob: str, way: Sequence[Any]
) -> Any | None:
    """The layer of the image where evaluation has none: of another phase, or the net's input."""
    if blob in inputs:
        return None
    for layer in layers:
        if blob in layer.top and layer.type in _INPUTS:
            return layer
    raise ValueError(
        f"layer {way[-1].name} ({way[-1].type}) reads {blob}, which no layer makes and which is no"
        " input of the net"
    )
