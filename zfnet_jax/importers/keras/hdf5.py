"""Weights in HDF5, as Keras's own formats have them.

A file may name other files, filters and sizes of any kind: read are arrays of the shapes that the
config says, which lie in the file itself.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from zfnet_jax.importers.keras.plan import Planned

# What may be done to an array's bytes (gzip, shuffle, checksum), and how much gzip makes smaller.
_FILTERS = {"1", "2", "3"}
_GZIP = 1032
_DEEPEST = 12  # groups in groups


def check_heaps(content: bytes | mmap.mmap) -> None:
    """Raises ValueError for a file in which HDF5 1.14 would look for a text for ever: where an
    empty object of size 0 lies before the end of a global heap.

    The format: HDF5 File Format Specification, III.E, "Disk Format: Level 1E - Global Heap".
    """
    heap, objects = -1, 0
    while (heap := content.find(b"GCOL\x01\0\0\0", heap + 1)) >= 0:
        end = heap + int.from_bytes(content[heap + 8 : heap + 16], "little")
        place = heap + 16
        while place + 16 <= min(end, len(content)):
            index = int.from_bytes(content[place : place + 2], "little")
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            objects += 1  # heaps that overlap have more than there is room for
            if (not index and not size) or objects > len(content):
                raise ValueError(f"its global heap at byte {heap} is damaged")
            place += 16 + -(-size // 8) * 8 if index else size


def legacy_tensors(root: Any, planned: Planned) -> list[np.ndarray]:
    """A layer's tensors in an `.h5` of `model.save`, a group for each layer of the model.

    Args:
      root: the group `model_weights`.
    """
    layer, wanted = planned.layer, planned.tensors
    if not wanted:
        return []
    group = child(root, layer.path[0], layer.title)
    names = listed(group.attrs, "weight_names")
    if len(layer.path) > 1:  # of a model: the tensors of all its layers
        there = [(name.split(":")[0].split("/"), name) for name in names]
        names = []
        for role, *_ in wanted:
            # A depthwise kernel is called kernel since Keras 3.
            roles = (role, role.removeprefix("depthwise_"))
            found = [
                name
                for parts, name in there
                if len(parts) > 1 and parts[-2] == layer.name and parts[-1] in roles
            ]
            if len(found) != 1:
                raise ValueError(f"{layer.title}: {len(found)} tensors are its {role}, expected 1")
            names += found
    if len(names) != len(wanted):
        raise ValueError(f"{layer.title} has {len(names)} tensors, expected {len(wanted)}")
    return [
        _array(group, name, shape, f"{layer.title}: its {role}")
        for name, (role, shape, is_used) in zip(names, wanted)
        if is_used
    ]


def archive_tensors(root: Any, planned: Planned) -> list[np.ndarray]:
    """A layer's tensors in a `.keras` file's weights, a group for each layer by its class."""
    layer, wanted = planned.layer, planned.tensors
    if not wanted:
        return []
    place = layer.place
    if "_layer_checkpoint_dependencies" in root:  # TensorFlow 2.13
        place = place.replace("layers", "_layer_checkpoint_dependencies")
    group = child(root, f"{place}/vars", layer.title)
    name = _text(group.attrs.get("name", layer.name))
    if name != layer.name or len(group) != len(wanted):
        raise ValueError(
            f"{layer.title} has {len(group)} tensors of {name}, expected {len(wanted)} of its own"
        )
    return [
        _array(group, str(number), shape, f"{layer.title}: its {role}")
        for number, (role, shape, is_used) in enumerate(wanted)
        if is_used
    ]


def tensors_of_weights(root: Any) -> Callable[[Planned], list[np.ndarray]]:
    """What reads a layer's tensors in a file of weights alone, without the config of its layers:
    that of `model.save_weights`, of any version."""
    if listed(root.attrs, "layer_names"):
        return lambda planned: legacy_tensors(root, planned)
    named: dict[str, list[str]] = {}
    for path, group in _groups(root, ""):
        if path.endswith("/vars") and len(group) and "name" in group.attrs:
            named.setdefault(_text(group.attrs["name"]), []).append(path.removesuffix("/vars"))

    def read(planned: Planned) -> list[np.ndarray]:
        # Where a layer lies in its model is not where it lies in a model that has it as a part.
        places = named.get(planned.layer.name, [])
        if len(places) == 1:
            layer = dataclasses.replace(planned.layer, place=places[0])
            planned = dataclasses.replace(planned, layer=layer)
        return archive_tensors(root, planned)

    return read


def _groups(group: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    import h5py

    if depth > _DEEPEST:
        raise ValueError(f"{path[:80]}: groups in groups")
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            inner, place = group[name], f"{path}/{name}".lstrip("/")
            if isinstance(inner, h5py.Group):
                yield place, inner
                yield from _groups(inner, place, depth + 1)


def _array(group: Any, name: str, shape: tuple[int, ...], what: str) -> np.ndarray:
    dataset = child(group, name, what, is_array=True)
    if dataset.dtype.kind != "f":
        raise ValueError(f"{what} is {dataset.dtype}, not floating point")
    if dataset.shape != shape:
        raise ValueError(f"{what} is {list(dataset.shape or ())}, expected {list(shape)}")
    filters = set(dataset._filters)
    if dataset.external or dataset.is_virtual or not filters <= _FILTERS:
        raise ValueError(f"{what} lies in another file or is packed in a way that is not read")
    size = math.prod(shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size() * (_GZIP if "1" in filters else 1)
    if stored < size:
        raise ValueError(f"{what} has {size} bytes, of which the file holds {stored} at most")
    return np.asarray(dataset[()])


def child(group: Any, path: str, what: str, is_array: bool = False) -> Any:
    """What lies at a path below a group, in this file."""
    import h5py

    parts = [part for part in path.split("/") if part]
    for place, part in enumerate(parts):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None or part == ".":
            raise ValueError(f"{what}: the file has no {path}")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{what}: {path} is a link, which is not followed")
        group = group[part]
        kind = h5py.Dataset if is_array and place == len(parts) - 1 else h5py.Group
        if not isinstance(group, kind):
            raise ValueError(f"{what}: the file has no {path}")
    return group


def listed(attributes: Mapping[str, Any], name: str) -> list[str]:
    """A list of names, which Keras cuts into several where it is long."""
    if name in attributes:
        return [_text(value) for value in np.asarray(attributes[name]).ravel()]
    names: list[str] = []
    for part in itertools.count():
        if f"{name}{part}" not in attributes:
            return names
        names += listed(attributes, f"{name}{part}")
    return names


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
