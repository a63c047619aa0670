"""Nets from Caffe: the architecture from a .prototxt, the weights from a .caffemodel.

Both are read as messages (`caffe_proto`); nothing is run. A layer is one of the net's if it lies on
the way from the image to the class scores: branches beside it, such as a detector's region
proposals, are left out.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format

from zfnet_jax.importers import files
from zfnet_jax.importers.caffe_layers import links, to_array
from zfnet_jax.importers.caffe_proto import V1_TYPES, message
from zfnet_jax.importers.chain import Link, Softmax

_INPUTS = (
    "Input", "Data", "ImageData", "MemoryData", "HDF5Data", "WindowData", "DummyData", "Python",
)  # fmt: skip
_SOFTMAX = ("Softmax", "SoftmaxWithLoss")
_LARGEST_TEXT = 2**22  # bytes of a .prototxt


@dataclasses.dataclass(frozen=True)
class CaffeNet:
    """What Caffe's files hold.

    Attributes:
      chain: the layers from the image to the class scores, or to the last maps.
      input_size: (H, W) of the images.
      mean: [3], in the net's order of colours, and scale: what a data layer subtracts and then
        divides by. Like the size None where no layer says it.
    """

    chain: list[Link]
    input_size: tuple[int, int] | None
    mean: np.ndarray | None
    scale: float | None


def read(weights: str | Path, prototxt: str | Path, output: str | None = None) -> CaffeNet:
    """Reads a net.

    Args:
      output: name of the layer that gives the class scores, or the last maps of a trunk; if not
        given, what the last softmax reads, else the last dense layer, else the last layer.

    Raises:
      ValueError: a file is damaged or too large, or the net is no such chain: names the first
        layer that does not fit, with shapes where it is a tensor.
    """
    weights, prototxt = Path(weights), Path(prototxt)
    files.check(prototxt, "text")
    files.check(weights, "caffe")
    with files.reading(prototxt, "an architecture of Caffe"):
        if prototxt.stat().st_size > _LARGEST_TEXT:
            raise ValueError("it is larger than any description of a net")
        net = message("NetParameter")()
        # Comments are in any encoding, and editors put a byte-order mark in front.
        text = prototxt.read_bytes().decode("utf-8-sig", errors="replace")
        text_format.Parse(text, net, allow_unknown_field=True)
        layers = [_layer(layer) for layer in (*net.layer, *net.layers)]
        layers = [layer for layer in layers if layer.tested]
        path, source = _path(layers, output)
        mean, scale = _transform(source)
    with files.reading(weights, "weights of Caffe"):
        stored = message("NetParameter").FromString(weights.read_bytes())
        blobs = {layer.name: list(layer.blobs) for layer in (*stored.layers, *stored.layer)}
        chain: list[Link] = []
        for layer in path:
            chain += links(layer.name, layer.type, layer.fields, blobs)
        softmax = _softmax(layers)
        if softmax is not None and output is None:
            chain.append(Softmax(softmax.name))
    return CaffeNet(chain, _input_size(net, source), mean, scale)


def read_blob(path: Path) -> np.ndarray:
    """The array of a .binaryproto file, a mean. The caller turns what is raised into one error."""
    return to_array(message("BlobProto").FromString(path.read_bytes()), path.name)


@dataclasses.dataclass(frozen=True)
class _Layer:
    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    tested: bool  # whether it is part of the net in evaluation
    fields: Any


def _layer(layer: Any) -> _Layer:
    kind = layer.type
    if not isinstance(kind, str):
        name = layer.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number
        kind = name[kind].name if kind in name else str(kind)
        kind = V1_TYPES.get(kind, kind)
    includes = [rule.phase for rule in layer.include if rule.HasField("phase")]
    excludes = [rule.phase for rule in layer.exclude if rule.HasField("phase")]
    tested = (not includes or 1 in includes) and 1 not in excludes
    return _Layer(layer.name, kind, tuple(layer.bottom), tuple(layer.top), tested, layer)


def _path(layers: list[_Layer], output: str | None) -> tuple[list[_Layer], _Layer | None]:
    """Layers between image and class scores, and the layer of the image if there is one."""
    position = _output(layers, output)
    blob, path = layers[position].tops[0] if layers[position].tops else "", []
    # Backwards: whoever made the blob last before that. Layers in place share its name.
    while True:
        makers = [n for n in range(position, -1, -1) if blob in layers[n].tops]
        if not makers:
            return path[::-1], None
        layer = layers[makers[0]]
        if layer.type in _INPUTS:
            return path[::-1], layer
        path.append(layer)
        if not layer.bottoms:
            raise ValueError(f"layer {layer.name} ({layer.type}) reads nothing")
        # Of RoI pooling's two inputs the first are the maps.
        if len(layer.bottoms) > 1 and layer.type != "ROIPooling":
            raise ValueError(f"layer {layer.name} ({layer.type}) reads {', '.join(layer.bottoms)}")
        blob, position = layer.bottoms[0], makers[0] - 1


def _output(layers: list[_Layer], name: str | None) -> int:
    if name is not None:
        for position, layer in enumerate(layers):
            if layer.name == name:
                return position
        raise ValueError(f"there is no layer {name}, only {', '.join(x.name for x in layers)}")
    backwards = range(len(layers) - 1, -1, -1)
    softmax = _softmax(layers)
    if softmax is not None:
        scores = softmax.bottoms[0]
        found = [n for n in backwards if scores in layers[n].tops]
        if not found:
            raise ValueError(f"nothing makes the class scores {scores} that the softmax reads")
        return found[0]
    dense = [n for n in backwards if layers[n].type == "InnerProduct"]
    trunk = [n for n in backwards if layers[n].tops and not _judges(layers[n])]
    if not trunk:
        raise ValueError("it has no layers")
    return (dense or trunk)[0]


def _softmax(layers: list[_Layer]) -> _Layer | None:
    """The last one, which reads the class scores."""
    found = [layer for layer in layers if layer.type in _SOFTMAX and layer.bottoms]
    return found[-1] if found else None


def _judges(layer: _Layer) -> bool:
    return layer.type.endswith("Loss") or layer.type in ("Accuracy", "Silence")


def _input_size(net: Any, source: _Layer | None) -> tuple[int, int] | None:
    dims: list[int] = []
    if source is not None:
        fields = source.fields
        for transform in _transforms(source):
            if transform.crop_size:
                return (transform.crop_size,) * 2
        if source.type == "MemoryData":
            dims = [1, 1, fields.memory_data_param.height, fields.memory_data_param.width]
        elif source.type == "DummyData":
            dummy = fields.dummy_data_param
            dims = [1, 1, *dummy.height[:1], *dummy.width[:1]]
            dims = list(dummy.shape[0].dim) if dummy.shape else dims
        elif source.type == "Input" and fields.input_param.shape:
            dims = list(fields.input_param.shape[0].dim)
    if source is None or source.type == "Input":
        if net.input_shape:
            dims = dims or list(net.input_shape[0].dim)
        elif net.input_dim:
            dims = dims or list(net.input_dim[:4])
    return (int(dims[2]), int(dims[3])) if len(dims) == 4 else None


def _transform(source: _Layer | None) -> tuple[np.ndarray | None, float | None]:
    """Mean and scale of a data layer, which multiplies by its own."""
    mean = scale = None
    if source is not None:
        values = source.fields.transform_param.mean_value
        if values:
            mean = np.broadcast_to(np.array(values, np.float32), 3)
        for transform in _transforms(source):
            if transform.HasField("scale"):
                scale = 1 / transform.scale
    return mean, scale


def _transforms(source: _Layer) -> list[Any]:
    """The messages of a data layer that may hold its scale and crop: files of 2014 have them among
    the layer's own fields."""
    fields = source.fields
    own = {
        "Data": fields.data_param,
        "ImageData": fields.image_data_param,
        "WindowData": fields.window_data_param,
    }
    return [fields.transform_param, *([own[source.type]] if source.type in own else [])]
