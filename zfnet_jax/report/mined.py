"""Reads a folder of mined winners without the code that mined it."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Mined:
    """What is small enough to hold of one checkpoint's winners; `rows` gives the pictures.

    Attributes:
      info: layers, class names, split, step, provenance (info.json).
      winners: per layer L of M maps, K winners each: 'L/value' [M, K], 'L/image' [M, K] (-1 where
        there is none), 'L/label' [M, K], 'L/position' [M, K, 2], 'L/window' [M, K, 4].
      photo_rows: [P] row in the data set of every source photo.
    """

    folder: Path
    info: dict[str, Any]
    winners: dict[str, np.ndarray]
    photo_rows: np.ndarray

    def projections(self, layer: str) -> Iterator[np.ndarray]:
        """Per map, the projections of its winners [K, s, s, C], in an arbitrary scale."""
        return rows(self.folder / "projections.npz", f"{layer}/projection")

    def patches(self, layer: str) -> Iterator[np.ndarray]:
        """Per map, the photo patches of its winners [K, s, s, C] uint8."""
        return rows(self.folder / "patches.npz", f"{layer}/patch")

    def photos(self) -> Iterator[tuple[int, np.ndarray]]:
        """Row in the data set and pixels [H, W, C] uint8 of every source photo."""
        pixels = rows(self.folder / "patches.npz", "photos")
        return zip(self.photo_rows.tolist(), pixels, strict=True)


def load(folder: Path) -> Mined:
    """Opens the mined winners in a folder, `WORKDIR/analysis/mining/<split>-<step>`."""
    folder = Path(folder)
    info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    with np.load(folder / "winners.npz") as arrays:
        winners = {name: arrays[name] for name in arrays.files}
    with np.load(folder / "patches.npz") as arrays:
        photo_rows = arrays["photo_rows"]
    return Mined(folder, info, winners, photo_rows)


def rows(path: Path, name: str) -> Iterator[np.ndarray]:
    """The entries along the first axis of an array in an .npz file, one after the other.

    The pictures of a large net are gigabytes; read so, one map at a time is in memory.
    """
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        np.lib.format.read_magic(file)
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        if fortran_order:
            raise ValueError(f"{path}: {name} is stored in Fortran order, which cannot be streamed")
        size = int(np.prod(shape[1:])) * dtype.itemsize
        for _ in range(shape[0]):
            yield np.frombuffer(file.read(size), dtype).reshape(shape[1:])
