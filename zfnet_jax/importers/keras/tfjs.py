"""Weights of TensorFlow.js: a list of tensors in `model.json`, their bytes in files beside it.

The format: github.com/tensorflow/tfjs, tfjs-core/src/io/types.ts (WeightsManifestConfig).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.importers import files
from zfnet_jax.importers.keras.plan import Planned

# Types of tensors; those of weights are float32, whatever they are packed as.
_TYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint16": "<u2", "uint8": "u1",
          "bool": "u1", "complex64": "<c8"}  # fmt: skip
_PACKED = ("uint8", "uint16")


class Shards:
    """The tensors that a manifest lists.

    Args:
      folder: of `model.json`.

    Attributes:
      beside: the files that hold them.

    Raises:
      ValueError: the manifest is damaged, or a file is none beside `model.json` or not as large as
        the tensors in it.
    """

    def __init__(self, manifest: Any, folder: Path) -> None:
        self.beside: list[Path] = []
        self._entries: dict[str, tuple[Mapping[str, Any], np.ndarray]] = {}
        left = files.LARGEST
        for group in _list(manifest, "weightsManifest"):
            group = group if isinstance(group, Mapping) else {}
            entries = [_entry(entry) for entry in _list(group.get("weights"), "weights")]
            sizes = [size for _, size in entries]
            left -= sum(sizes)
            if left < 0:
                raise ValueError("its tensors are larger than those of any net of this family")
            content = self._content(_list(group.get("paths"), "paths"), sum(sizes), folder)
            ends = np.cumsum(sizes).tolist()
            for (entry, size), end in zip(entries, ends):
                if entry["name"] in self._entries:
                    raise ValueError(f"two tensors are called {entry['name']}")
                self._entries[entry["name"]] = entry, content[end - size : end]

    def _content(self, names: Sequence[Any], size: int, folder: Path) -> np.ndarray:
        """The bytes of a group of tensors, whose files may cut them anywhere."""
        paths = [files.beside(folder, str(name), "a part of the weights") for name in names]
        there = sum(path.stat().st_size for path in paths)
        if there != size:
            listed = ", ".join(path.name for path in paths) or "no file"
            raise ValueError(f"{listed}: {there} bytes, expected the {size} of its tensors")
        self.beside += paths
        return np.concatenate(
            [np.zeros(0, np.uint8), *(np.fromfile(path, np.uint8) for path in paths)]
        )

    def tensors(self, planned: Planned) -> list[np.ndarray]:
        """A layer's tensors, called LAYER/kernel and so on, with names of models before."""
        layer, arrays = planned.layer, []
        for role, shape, is_used in planned.tensors:
            if not is_used:
                continue
            # A depthwise kernel is called kernel since Keras 3.
            roles = (role, role.removeprefix("depthwise_"))
            found = [
                name
                for name in self._entries
                if name.split("/")[-2:-1] == [layer.name] and name.split("/")[-1] in roles
            ]
            if len(found) != 1:
                raise ValueError(f"{layer.title}: {len(found)} tensors are its {role}, expected 1")
            entry, content = self._entries[found[0]]
            if tuple(entry["shape"]) != shape:
                raise ValueError(
                    f"{layer.title}: its {role} is {entry['shape']}, expected {list(shape)}"
                )
            arrays.append(_values(f"{layer.title}: its {role}", entry, content).reshape(shape))
        return arrays


def _entry(entry: Any) -> tuple[Mapping[str, Any], int]:
    """A tensor of the manifest, and how many bytes it has."""
    fields = entry if isinstance(entry, Mapping) else {}
    name, shape = fields.get("name"), fields.get("shape")
    packed = fields.get("quantization", {})
    kind = _TYPES.get(str(packed.get("dtype", fields.get("dtype")))) if _is_map(packed) else None
    sides = shape if isinstance(shape, list) else [-1]
    if not isinstance(name, str) or kind is None or not all(_is_side(side) for side in sides):
        raise ValueError(f"{str(name)[:80]} is no tensor, or of a type or shape that is not known")
    return fields, math.prod(sides) * np.dtype(kind).itemsize


def _values(what: str, entry: Mapping[str, Any], content: np.ndarray) -> np.ndarray:
    packed = entry.get("quantization", {})
    if entry["dtype"] != "float32":
        raise ValueError(f"{what} is {entry['dtype']}, expected float32")
    stored = packed.get("dtype", "float32")
    values = content.view(_TYPES[stored])
    if stored not in _PACKED:
        return values.astype(np.float32)
    scale, least = packed.get("scale"), packed.get("min")
    if not isinstance(scale, int | float) or not isinstance(least, int | float):
        raise ValueError(f"{what} is {stored} without a scale and a min")
    return (values * np.float64(scale) + np.float64(least)).astype(np.float32)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"it has no list of {what}")
    return value


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_side(side: Any) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 0 <= side <= files.LARGEST
