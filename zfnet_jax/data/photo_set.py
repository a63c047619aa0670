"""A set of photos to compare with others: a prepared split, or any folder of photos.

Both give keys, rows in batches and single photos; a prepared split gives the keys that training
knows, and so does a folder of class folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from zfnet_jax.data.batches import read_ahead
from zfnet_jax.data.decode import EXTENSIONS
from zfnet_jax.data.examples import Example, load
from zfnet_jax.data.folders import Below
from zfnet_jax.data.prepared import INDEX_SUFFIX, PreparedSplit, open_prepared
from zfnet_jax.data.workers import decode_in_order

SHOWN_SIDE = 224  # pixels of a single photo from a folder
_AHEAD = 4  # batches of a prepared split that are being read before they are needed

Batches = Iterator[tuple[np.ndarray, np.ndarray]]


class PhotoSet(Protocol):
    """N photos with their names.

    Attributes:
      keys: N names.
      fingerprint: of a prepared split; empty for a folder.
      unreadable: photos that cannot be read and why, by key; of rows that `batches` has read.
    """

    keys: tuple[str, ...]
    fingerprint: str
    unreadable: dict[str, str]

    def batches(self, size: int, rows: range) -> Batches:
        """Of some rows `[b]` and their photos `[b, S, S, 3]` uint8, b = size but in the last."""
        ...

    def photo(self, key: str) -> np.ndarray:
        """One photo, for the eye: `[s, s, 3]` uint8."""
        ...


def open_photo_set(folder: str | Path, *, side: int, workers: int) -> PhotoSet:
    """Opens a prepared split (PREPARED_DIR/train), or a folder of photos, in whatever folders.

    Args:
      side: pixels to which the photos of a folder are decoded; prepared ones are as they are.
      workers: decoding processes, see `workers.decode_in_order`.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it holds no photos, or several prepared splits.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {str(folder)!r}")
    if (folder / "manifest.json").exists():
        if folder.name.endswith(INDEX_SUFFIX):
            raise ValueError(f"{folder} is an index without images: name the folder of photos")
        return PreparedSet(open_prepared(folder.parent, folder.name))
    splits = [path.parent.name for path in sorted(folder.glob("*/manifest.json"))]
    if splits:
        named = ", ".join(str(folder / split) for split in splits)
        raise ValueError(f"{folder} holds prepared splits: name one of {named}")
    return FolderSet(folder, side=side, workers=workers)


class PreparedSet:
    """A prepared split as a `PhotoSet`."""

    def __init__(self, split: PreparedSplit):
        self._split = split
        self.keys = split.keys
        self.fingerprint = split.fingerprint
        self.unreadable: dict[str, str] = {}
        self._row = {key: row for row, key in enumerate(split.keys)}

    def batches(self, size: int, rows: range) -> Batches:
        portions = [np.array(rows[n : n + size]) for n in range(0, len(rows), size)]
        yield from zip(portions, read_ahead(self._split.rows, portions, _AHEAD), strict=True)

    def photo(self, key: str) -> np.ndarray:
        return self._split.rows(np.array([self._row[key]]))[0]


class FolderSet:
    """All photos below a folder, by extension, in the order of their sorted paths.

    Keys are paths below the folder. What is left out see `folders.Below`.
    """

    fingerprint = ""

    def __init__(self, folder: Path, *, side: int, workers: int):
        self._folder, self._side, self._workers = folder, side, workers
        self.keys = tuple(sorted(photo.key for photo in Below(folder).photos()))
        self.unreadable: dict[str, str] = {}
        if not self.keys:
            raise ValueError(f"no photos ({', '.join(EXTENSIONS)}) in {folder}")

    def batches(self, size: int, rows: range) -> Batches:
        named = ((row, self.keys[row]) for row in rows)
        examples = (Example(key, row, self._folder / key) for row, key in named)
        read: list[int] = []
        images: list[np.ndarray] = []
        for example, image in decode_in_order(examples, self._side, self._workers):
            if isinstance(image, str):
                self.unreadable[example.key] = image
                continue
            read.append(example.label)
            images.append(image)
            if len(read) == size:
                yield np.array(read), np.stack(images)
                read, images = [], []
        if read:
            yield np.array(read), np.stack(images)

    def photo(self, key: str) -> np.ndarray:
        return load(self._folder / key, SHOWN_SIDE)
