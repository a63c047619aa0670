"""Images to analyse that are not a whole split: photos in memory, or some rows of a split."""

from __future__ import annotations

import dataclasses

import numpy as np

from zfnet_jax.data.splits import Split


@dataclasses.dataclass(frozen=True)
class Photos:
    """Photos in memory: images [N, S, S, C] uint8, labels [N] int32."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.images[index]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Some rows [N] of a split."""

    split: Split
    chosen: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels[self.chosen]

    def __len__(self) -> int:
        return len(self.chosen)

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.split.rows(self.chosen[index])


def evenly_spread(split: Split, count: int) -> Chosen:
    """`count` images at equal distances, or all if there are fewer: some of every class where
    classes lie one after the other."""
    count = min(count, len(split))
    return Chosen(split, np.arange(count) * len(split) // max(count, 1))
