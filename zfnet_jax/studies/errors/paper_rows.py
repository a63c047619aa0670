"""Which runs of a sweep make which rows of the paper's Tables 2 and 3.

The names are those of configs/ensemble.py and configs/ablations.py; labels and order are those of
the paper. A net may be trained several times, see `trainings`.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from zfnet_jax.studies.trainings import trainings


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      runs: names of its nets; none where the paper quotes others.
      averaged: of several nets the errors, each net alone, or the probabilities, an ensemble.
      against: place of the row that it is compared with, if any.
    """

    runs: tuple[str, ...] = ()
    averaged: Literal["errors", "probabilities"] = "errors"
    against: int | None = None

    def has(self, run: str) -> bool:
        """Whether a run is one of its nets, or one from another seed."""
        return any(run in trainings(name, [run]) for name in self.runs)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of errors: the paper's heading; 'validation', 'train' or None; top-k."""

    title: str
    split: str | None
    k: int


_A = tuple(f"a_seed_{seed}" for seed in range(5))
_B = ("b_512_1024_512",)

ROWS: dict[int, tuple[Row, ...]] = {
    2: (
        *[Row()] * 6,  # Gunji to Krizhevsky's 7 convnets
        Row(("alexnet",)),
        Row(_A, against=6),
        Row(_A, "probabilities", against=7),
        Row(_B, against=7),
        Row(_A + _B, "probabilities", against=8),
        *[Row()] * 2,  # Howard, Clarifai
    ),
    3: (
        Row(("alexnet",)),
        Row(("alexnet_without_3_4",), against=0),
        Row(("alexnet_without_7",), against=0),
        Row(("alexnet_without_6_7",), against=0),
        Row(("alexnet_without_3_4_6_7",), against=0),
        Row(("alexnet_dense_2048",), against=0),
        Row(("alexnet_dense_8192",), against=0),
        Row(("zfnet",), against=0),
        Row(("zfnet_dense_2048",), against=7),
        Row(("zfnet_dense_8192",), against=7),
        Row(("zfnet_512_1024_512",), against=7),
        Row(("zfnet_dense_8192_512_1024_512",), against=7),
    ),
}

COLUMNS: dict[int, tuple[Column, ...]] = {
    2: (
        Column("Val Top-1", "validation", 1),
        Column("Val Top-5", "validation", 5),
        Column("Test Top-5", None, 5),
    ),
    3: (
        Column("Train Top-1", "train", 1),
        Column("Val Top-1", "validation", 1),
        Column("Val Top-5", "validation", 5),
    ),
}
