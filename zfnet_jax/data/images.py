"""Images that a net is shown: a split as training reads it, some of its rows, photos in memory."""

from __future__ import annotations

import dataclasses
from typing import Literal, Protocol

import numpy as np

Crops = Literal[1, 10]  # of an image that a net is shown: the centre, or the ten of Section 3


class Images(Protocol):
    """What a pass over images reads; see `PreparedSplit` for the shapes."""

    @property
    def labels(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def rows(self, index: np.ndarray) -> np.ndarray: ...


class Split(Images, Protocol):
    """What `PreparedSplit` and `StreamingSplit` have in common; see the former for the shapes."""

    @property
    def keys(self) -> tuple[str, ...]: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def mean(self) -> np.ndarray | None: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def image_size(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Relabelled:
    """The images of a split, their labels [N] in another list of classes.

    Attributes:
      fingerprint: of the images, and of what their labels depend on beside the two lists.
    """

    split: Split
    labels: np.ndarray
    class_names: tuple[str, ...]
    fingerprint: str

    @property
    def keys(self) -> tuple[str, ...]:
        return self.split.keys

    @property
    def mean(self) -> np.ndarray | None:
        return self.split.mean

    @property
    def image_size(self) -> int:
        return self.split.image_size

    def __len__(self) -> int:
        return len(self.split)

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.split.rows(index)


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
