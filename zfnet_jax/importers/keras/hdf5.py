"""Weights in HDF5, as Keras's own formats have them.

A file may name other files, filters and sizes of any kind: read are arrays of the shapes that the
config says, which lie in the file itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from zfnet_jax.importers.keras.plan import Planned

# What may be done to an array's bytes (gzip, shuffle, checksum), and how much gzip makes smaller.
_FILTERS = {"1", "2", "3"}
_GZIP = 1032


def legacy_tensors(root: Any, planned: Planned) -> list[np.ndarray]:
    """A layer's tensors in an `.h5` of `model.save`, a group for each layer of the model.

    Args:
      root: the group `model_weights`.
    """
    layer, wanted = planned.layer, planned.tensors
    if not wanted:
        return []
    group = child(root, layer.path[0], layer.title)
    names = _listed(group.attrs, "weight_names")
    if len(layer.path) > 1:  # of a model: the tensors of all its layers
        there = [(name.split(":")[0].split("/"), name) for name in names]
        names = []
        for role, _ in wanted:
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
        for name, (role, shape) in zip(names, wanted)
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
        for number, (role, shape) in enumerate(wanted)
    ]


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


def _listed(attributes: Mapping[str, Any], name: str) -> list[str]:
    """A list of names, which Keras cuts into several where it is long."""
    if name in attributes:
        return [_text(value) for value in np.asarray(attributes[name]).ravel()]
    names: list[str] = []
    for part in itertools.count():
        if f"{name}{part}" not in attributes:
            return names
        names += _listed(attributes, f"{name}{part}")
    return names


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
