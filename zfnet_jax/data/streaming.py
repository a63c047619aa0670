"""A split decoded while it is read, for those without the disk for prepared images.

It gives the same rows as the prepared split. The per-pixel mean and the unreadable photos are
known from one earlier pass (`scripts.prepare_data --mean_only`), kept as an index without images.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from zfnet_jax.data.examples import Source, load
from zfnet_jax.data.prepared import INDEX_SUFFIX, read_index
from zfnet_jax.data.sources import content


class StreamingSplit:
    """The pictures of `source`, with the same reading interface as `PreparedSplit`.

    Photos are decoded in threads: Pillow decodes and resizes outside Python's lock.

    Raises:
      FileNotFoundError: no index in `directory`.
      ValueError: the index was made from other pictures.
    """

    def __init__(self, source: Source, directory: str | Path, split: str):
        folder = Path(directory) / (split + INDEX_SUFFIX)
        index = read_index(folder)
        if content(index.manifest["source"]) != content(source.describe()):
            raise ValueError(
                f"{folder} was made from other pictures: run"
                " python -m scripts.prepare_data --mean_only --overwrite"
            )
        report = json.loads((folder / "skipped.json").read_text())
        unreadable = [entry["position"] for entry in report["unreadable"]]
        self._positions = np.delete(np.arange(len(source)), unreadable)
        self._source = source
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self.image_size: int = index.manifest["image_size"]
        self.labels = index.labels
        self.keys = index.keys
        self.class_names = tuple(index.manifest["class_names"])
        self.mean = index.mean
        self.fingerprint: str = index.manifest["fingerprint"]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """The pictures at `index` `[b]`: uint8 `[b, S, S, 3]`.

        Raises:
          UnreadablePhotoError, OSError: a photo has become unreadable since the index was made.
        """
        rows = np.empty((len(index), self.image_size, self.image_size, 3), np.uint8)

        def fetch(row: int) -> None:
            position = self._positions[index[row]]
            rows[row] = load(self._source[position].payload, self.image_size)

        list(self._pool.map(fetch, range(len(index))))
        return rows
