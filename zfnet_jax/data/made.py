"""Images that are made up, in place of those that are not prepared yet: to time a training by."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax.data import splits
from zfnet_jax.data.sources import SPLITS, make_source

_DIFFERENT = 64  # images; the others are the same again
# TFDS tells how large a set is only once it is on the disk. (train, validation, classes)
_KNOWN = {"imagenet2012": (1_281_167, 50_000, 1000)}


@dataclass(frozen=True)
class MadeSplit:
    """Noise of the size that images are prepared at; labels in turn. See `prepared.PreparedSplit`.

    Its rows are copied from memory, as those of a prepared set that the page cache holds.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]
    image_size: int
    keys: tuple[str, ...] = ()
    fingerprint: str = "made"

    @functools.cached_property
    def _images(self) -> np.ndarray:
        shape = (_DIFFERENT, self.image_size, self.image_size, 3)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    @property
    def mean(self) -> np.ndarray:
        return np.full(self._images.shape[1:], 127.5, np.float32)

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self._images[index % _DIFFERENT]


def make(data: ConfigDict) -> tuple[MadeSplit, MadeSplit]:
    """A training and a validation split as large as those that `config.data` names.

    Raises:
      FileNotFoundError: how large they are is not known before they are prepared.
    """
    if data.source == "tfds" and data.tfds.name in _KNOWN:
        *counts, classes = _KNOWN[data.tfds.name]
        names = tuple(map(str, range(classes)))
    elif data.source in ("folder", "pictures"):
        sources = [make_source(data, split) for split in SPLITS]
        counts, names = [len(source) for source in sources], tuple(sources[0].class_names)
    else:
        raise FileNotFoundError(
            f"{splits.folder_of(data, 'train')}: prepare the images first (python -m"
            " scripts.prepare_data): before that it is not known how many they are"
        )
    train, validation = (
        MadeSplit(np.arange(count, dtype=np.int32) % len(names), names, data.image_size)
        for count in counts
    )
    return train, validation
