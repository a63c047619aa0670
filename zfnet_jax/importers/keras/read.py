"""Nets from Keras: `.h5` and `.keras` files, and TensorFlow.js's layers models.

All hold the same JSON of the layers; it is read, never run, and so are the weights.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import mmap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import extras
from zfnet_jax.importers import files
from zfnet_jax.importers.chain import Link
from zfnet_jax.importers.keras import hdf5, layers
from zfnet_jax.importers.keras.plan import Planned, plan
from zfnet_jax.importers.keras.tfjs import Shards
from zfnet_jax.windows import Pair, Sides

_LARGEST_TEXT = 2**26  # bytes of JSON
_SMALL, _PACKS = (
    2**26,
    100,
)  # bytes that may be packed to any size, and to what share more than that


@dataclasses.dataclass(frozen=True)
class KerasNet:
    """What a file holds.

    Attributes:
      chain: the layers.
      input_size: (H, W) of the images where the config says it.
      beside: the files beside it that hold its tensors.
    """

    chain: list[Link]
    input_size: Pair | None
    beside: tuple[Path, ...] = ()


def read(
    path: str | Path,
    crop: Sides | None = None,
    output: str | None = None,
    architecture: str | Path | None = None,
) -> KerasNet:
    """Reads a net.

    Args:
      crop: pixels of the images, a side or rows and columns, if they are not those of the file.
      output: name of the last layer, if not the net's own.
      architecture: for weights alone, a file of the layers as `model.to_json()` writes them.

    Raises:
      ValueError: h5py is not installed; the file is damaged or too large, or holds no such chain:
        names the first layer that does not fit.
    """
    path = Path(path)
    kind = files.check(path, "hdf5", "keras", "text")
    model = None if architecture is None else _described(Path(architecture))
    with files.reading(path, "a Keras model"):
        if kind == "hdf5":
            return _from_h5(path, crop, output, model)
        if model is not None:
            raise ValueError("leave out --architecture: the file says it")
        if kind == "keras":
            return _from_archive(path, crop, output)
        return _from_json(path, crop, output)


def _described(path: Path) -> Any:
    """The JSON of a model's layers."""
    files.check(path, "text")
    with files.reading(path, "an architecture of Keras"):
        if path.stat().st_size > _LARGEST_TEXT:
            raise ValueError("it is larger than any description of a net")
        return _json(path.read_bytes())


def _from_h5(path: Path, crop: Sides | None, output: str | None, model: Any) -> KerasNet:
    h5py = _h5py()
    with path.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
        hdf5.check_heaps(content)
    with h5py.File(path, "r") as file:
        has_config = "model_config" in file.attrs
        if has_config and model is not None:
            raise ValueError("leave out --architecture: the file says it")
        if model is not None:
            planned, size = plan(layers.chain(model, output), crop)
            return _net(planned, size, hdf5.tensors_of_weights(file))
        if not has_config:
            raise ValueError(
                "it holds weights alone, without the config of its layers: save the whole model,"
                " or give what model.to_json() writes as --architecture=FILE.json"
            )
        planned, size = plan(layers.chain(_json(file.attrs["model_config"]), output), crop)
        root = hdf5.child(file, "model_weights", "the model")
        return _net(planned, size, lambda one: hdf5.legacy_tensors(root, one))


def _from_archive(path: Path, crop: Sides | None, output: str | None) -> KerasNet:
    h5py = _h5py()
    with zipfile.ZipFile(path) as archive:
        planned, size = plan(layers.chain(_json(_member(archive, "config.json")), output), crop)
        content = _member(archive, "model.weights.h5")
        hdf5.check_heaps(content)
        with h5py.File(io.BytesIO(content), "r") as file:
            return _net(planned, size, lambda one: hdf5.archive_tensors(file, one))


def _from_json(path: Path, crop: Sides | None, output: str | None) -> KerasNet:
    content = _json(path.read_bytes()) if path.stat().st_size <= _LARGEST_TEXT else None
    content = content if isinstance(content, dict) else {}
    if content.get("format") == "graph-model":
        raise ValueError("it is a graph model of TensorFlow.js, expected a layers model")
    topology = content.get("modelTopology")
    if not isinstance(topology, dict) or "weightsManifest" not in content:
        raise ValueError("it is no layers model of TensorFlow.js")
    model = topology.get("model_config", topology)
    planned, size = plan(layers.chain(model, output), crop)
    shards = Shards(content["weightsManifest"], path.parent)
    net = _net(planned, size, shards.tensors)
    return dataclasses.replace(net, beside=tuple(shards.beside))


def _net(
    planned: list[Planned], input_size: Pair | None, read: Callable[[Planned], list[np.ndarray]]
) -> KerasNet:
    size = sum(4 * math.prod(shape) for one in planned for _, shape, _ in one.tensors)
    if size > files.LARGEST:
        raise ValueError(f"by its shapes it has {size} bytes of weights, more than any net")
    chain = [link for one in planned for link in one.links(*read(one))]
    return KerasNet(chain, input_size)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """What a file of an archive holds, unpacked. Keras packs none of them."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"it has no {name}") from None
    packed = max(info.compress_size, 1)
    if info.file_size > (_SMALL if info.file_size > _PACKS * packed else files.LARGEST):
        raise ValueError(f"its {name} unpacks from {packed} bytes to {info.file_size}")
    return archive.read(info)


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its config is no JSON: {error}") from None


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise extras.missing("h5py", "import") from None
    return h5py
