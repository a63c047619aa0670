"""Nets from Caffe: the architecture from a .prototxt, the weights from a .caffemodel.

Both are read as messages (`caffe_proto`); nothing is run. A layer is one of the net's if it lies on
the way from the image to the class scores: branches beside it, such as a detector's region
proposals, are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format

from zfnet_jax.importers import files
from zfnet_jax.importers.caffe_proto import V1_TYPES, message
from zfnet_jax.importers.chain import (
    Dropout,
    Filters,
    Link,
    MaxPool,
    Norm,
    Rectifier,
    RegionPool,
    Weights,
)

_INPUTS = ("Input", "Data", "ImageData", "MemoryData", "Python")
_NOTHING = ("Flatten", "Split")
_SOFTMAX = ("Softmax", "SoftmaxWithLoss")
_LARGEST_TEXT = 2**22  # bytes of a .prototxt


@dataclasses.dataclass(frozen=True)
class CaffeNet:
    """The layers from the image to the class scores, and (H, W) of the images if they say it."""

    chain: list[Link]
    input_size: tuple[int, int] | None


def read(weights: str | Path, prototxt: str | Path, output: str | None = None) -> CaffeNet:
    """Reads a net.

    Args:
      output: name of the layer that gives the class scores; if not given, what the last softmax
        reads, else the last dense layer.

    Raises:
      ValueError: a file is damaged or too large, or the net is no such chain: names the first
        layer that does not fit, with shapes where it is a tensor.
    """
    weights, prototxt = Path(weights), Path(prototxt)
    files.check_size(prototxt)
    files.check_size(weights)
    with files.reading(prototxt, "an architecture of Caffe"):
        if prototxt.stat().st_size > _LARGEST_TEXT:
            raise ValueError("it is larger than any description of a net")
        net = message("NetParameter")()
        text_format.Parse(prototxt.read_bytes().decode(), net, allow_unknown_field=True)
        layers = [_layer(layer) for layer in (*net.layer, *net.layers)]
        path, source = _path([layer for layer in layers if layer.tested], output)
        size = _input_size(net, source)
    with files.reading(weights, "weights of Caffe"):
        stored = message("NetParameter").FromString(weights.read_bytes())
        blobs = {layer.name: list(layer.blobs) for layer in (*stored.layers, *stored.layer)}
        chain: list[Link] = []
        for layer in path:
            chain += _links(layer, blobs)
    return CaffeNet(chain, size)


def read_blob(path: Path) -> np.ndarray:
    """The array of a .binaryproto file, a mean. The caller turns what is raised into one error."""
    return _array(message("BlobProto").FromString(path.read_bytes()), path.name)


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
    softmax = [layer for layer in layers if layer.type in _SOFTMAX and layer.bottoms]
    read = softmax[-1].bottoms[0] if softmax else None
    for position in range(len(layers) - 1, -1, -1):
        layer = layers[position]
        if layer.type == "InnerProduct" and (read is None or read in layer.tops):
            return position
    raise ValueError(
        "no dense layer gives the class scores"
        + (f" {read} that the softmax reads" if read else "")
    )


def _input_size(net: Any, source: _Layer | None) -> tuple[int, int] | None:
    dims: list[int] = []
    if source is not None and source.type == "Input" and source.fields.input_param.shape:
        dims = list(source.fields.input_param.shape[0].dim)
    elif net.input_shape:
        dims = list(net.input_shape[0].dim)
    elif net.input_dim:
        dims = list(net.input_dim[:4])
    return (int(dims[2]), int(dims[3])) if len(dims) == 4 else None


def _links(layer: _Layer, blobs: Mapping[str, list]) -> list[Link]:
    name, kind, fields = layer.name, layer.type, layer.fields
    if kind in _NOTHING:
        return []
    if kind == "Convolution":
        return [_filters(name, fields.convolution_param, blobs)]
    if kind == "ReLU":
        if fields.relu_param.negative_slope:
            raise ValueError(f"{name}: a relu with a slope of {fields.relu_param.negative_slope}")
        return [Rectifier(name)]
    if kind == "LRN":
        norm = fields.lrn_param
        if norm.norm_region:  # Caffe's layer takes k as 1 there, whatever the file says
            return [Norm(name, norm.local_size, 1.0, norm.alpha, norm.beta, "within_map")]
        return [Norm(name, norm.local_size, norm.k, norm.alpha, norm.beta)]
    if kind == "Pooling":
        return [_max_pool(name, fields.pooling_param)]
    if kind == "ROIPooling":
        pool = fields.roi_pooling_param
        if pool.pooled_h != pool.pooled_w or not pool.pooled_h:
            raise ValueError(f"{name}: it pools to {pool.pooled_h} x {pool.pooled_w} values")
        return [RegionPool(name, pool.pooled_h, pool.spatial_scale)]
    if kind == "Dropout":
        dropout = fields.dropout_param
        return [Dropout(name, dropout.dropout_ratio, dropout.scale_train)]
    if kind == "InnerProduct":
        return [_weights(name, fields.inner_product_param, blobs)]
    raise ValueError(f"layer {name}: a net of this family has no {kind} here")


def _filters(name: str, fields: Any, blobs: Mapping[str, list]) -> Filters:
    kernel = _side(name, "kernel", fields.kernel_size, fields.kernel_h, fields.kernel_w, 0)
    if any(n != 1 for n in fields.dilation):
        raise ValueError(f"{name}: a dilation of {list(fields.dilation)}")
    weight, bias = _stored(name, fields.bias_term, blobs)
    expected = (fields.num_output, weight.size // max(1, fields.num_output * kernel**2), kernel)
    expected = (*expected, kernel)
    if weight.ndim != 4 or weight.shape != expected:
        raise ValueError(f"{name}: its weight is {list(weight.shape)}, expected {list(expected)}")
    return Filters(
        name,
        weight,
        np.zeros(len(weight), np.float32) if bias is None else bias.reshape(-1),
        stride=_side(name, "stride", fields.stride, fields.stride_h, fields.stride_w, 1),
        padding=_side(name, "pad", fields.pad, fields.pad_h, fields.pad_w, 0),
        groups=fields.group,
    )


def _weights(name: str, fields: Any, blobs: Mapping[str, list]) -> Weights:
    weight, bias = _stored(name, fields.bias_term, blobs)
    if fields.axis != 1:
        raise ValueError(f"{name}: it starts at axis {fields.axis}, expected 1")
    # Files of 2014 have four axes: 1, 1, units, inputs.
    if weight.ndim < 2 or any(n != 1 for n in weight.shape[:-2]):
        raise ValueError(f"{name}: its weight is {list(weight.shape)}, expected [units, inputs]")
    weight = weight.reshape(weight.shape[-2:])
    weight = weight.T if fields.transpose else weight
    if len(weight) != fields.num_output:
        raise ValueError(
            f"{name}: its weight is {list(weight.shape)}, expected [{fields.num_output}, inputs]"
        )
    bias = np.zeros(len(weight), np.float32) if bias is None else bias.reshape(-1)
    return Weights(name, weight, bias)


def _max_pool(name: str, fields: Any) -> MaxPool:
    if fields.pool or fields.global_pooling:
        raise ValueError(f"{name}: only max pooling has switches")
    size = [fields.kernel_size] if fields.HasField("kernel_size") else []
    step = [fields.stride] if fields.HasField("stride") else []
    edge = [fields.pad] if fields.HasField("pad") else []
    padding = _side(name, "pad", edge, fields.pad_h, fields.pad_w, 0)
    return MaxPool(
        name,
        window=_side(name, "kernel", size, fields.kernel_h, fields.kernel_w, 0),
        stride=_side(name, "stride", step, fields.stride_h, fields.stride_w, 1),
        padding=(padding, padding),
        ceil=fields.round_mode == 0,
    )


def _side(name: str, what: str, values: Any, height: int, width: int, default: int) -> int:
    """One number for both axes, however the file puts it."""
    numbers = set(values) or ({height, width} if height or width else {default})
    if len(numbers) != 1 or max(numbers) > 1000 or (what != "pad" and 0 in numbers):
        raise ValueError(f"{name}: its {what} is {sorted(numbers)}, expected one number")
    return int(numbers.pop())


def _stored(
    name: str, bias: bool, blobs: Mapping[str, list]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Weight and bias of a layer."""
    found = blobs.get(name, [])
    expected = 2 if bias else 1
    if len(found) != expected:
        there = ", ".join(n for n, stored in blobs.items() if stored) or "none"
        raise ValueError(
            f"layer {name} has {len(found)} tensors, expected {expected}; those with any: {there}"
        )
    arrays = [_array(blob, name) for blob in found]
    return arrays[0], arrays[1] if bias else None


def _array(blob: Any, name: str) -> np.ndarray:
    data = blob.double_data or blob.data
    shape = list(blob.shape.dim)
    if not blob.HasField("shape"):
        shape = [blob.num, blob.channels, blob.height, blob.width]
    count = 1
    for n in shape:
        count *= n
    if min(shape, default=0) < 0 or count != len(data):
        raise ValueError(f"{name}: it holds {len(data)} values, expected those of {shape}")
    return np.array(data, np.float32).reshape(shape)
