"""Nets from Caffe: the architecture from a .prototxt, the weights from a .caffemodel.

Both are read as messages (`caffe_proto`); nothing is run. Layers of any age are brought to today's
form (`caffe_upgrade`), and a layer is one of the net's if it lies on the way from the image to the
class scores (`caffe_path`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format

from zfnet_jax.importers import caffe_path, caffe_upgrade, files
from zfnet_jax.importers.caffe_layers import links, to_array
from zfnet_jax.importers.caffe_proto import message
from zfnet_jax.importers.chain import Link, Softmax

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
      output: name of the last layer, see `caffe_path.find`.

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
        way = caffe_path.find(caffe_upgrade.upgraded(net), net.input, output)
        mean, scale = _transform(way.source)
    with files.reading(weights, "weights of Caffe"):
        blobs = caffe_upgrade.stored(message("NetParameter").FromString(weights.read_bytes()))
        chain: list[Link] = []
        for layer in way.layers:
            chain += links(layer.name, layer.type, layer, blobs)
        if way.softmax:
            chain.append(Softmax(way.softmax))
    return CaffeNet(chain, _input_size(net, way.source), mean, scale)


def read_blob(path: Path) -> np.ndarray:
    """The array of a .binaryproto file, a mean. The caller turns what is raised into one error."""
    return to_array(message("BlobProto").FromString(path.read_bytes()), path.name)


def _input_size(net: Any, source: Any | None) -> tuple[int, int] | None:
    dims: list[int] = []
    if source is not None:
        if source.transform_param.crop_size:
            return (source.transform_param.crop_size,) * 2
        if source.type == "MemoryData":
            dims = [1, 1, source.memory_data_param.height, source.memory_data_param.width]
        elif source.type == "DummyData":
            dummy = source.dummy_data_param
            dims = [1, 1, *dummy.height[:1], *dummy.width[:1]]
            dims = list(dummy.shape[0].dim) if dummy.shape else dims
        elif source.type == "Input" and source.input_param.shape:
            dims = list(source.input_param.shape[0].dim)
    if source is None or source.type == "Input":
        if net.input_shape:
            dims = dims or list(net.input_shape[0].dim)
        elif net.input_dim:
            dims = dims or list(net.input_dim[:4])
    return (int(dims[2]), int(dims[3])) if len(dims) == 4 else None


def _transform(source: Any | None) -> tuple[np.ndarray | None, float | None]:
    """Mean and scale of a data layer, which multiplies by its own."""
    mean = scale = None
    if source is not None:
        transform = source.transform_param
        if transform.mean_value:
            mean = np.broadcast_to(np.array(transform.mean_value, np.float32), 3)
        if transform.HasField("scale"):
            if not transform.scale:
                raise ValueError(f"layer {source.name}: it multiplies pixels by a scale of 0")
            scale = 1 / transform.scale
    return mean, scale
