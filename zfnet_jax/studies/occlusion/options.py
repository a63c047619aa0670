"""The options of Fig. 7: a square slid over photos."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zfnet_jax.studies.options import option

# What the square shows. 'grey': pixels of 128, the middle of their range (the paper says no more
# than grey); 'mean': the training set's mean, which the net sees as zero; 'blur': the photo,
# blurred; 'noise': pixels drawn evenly from 0 to 255.
Fill = Literal["grey", "mean", "blur", "noise"]


@dataclasses.dataclass(frozen=True)
class Options:
    """See the texts; the net decides what is None."""

    images: tuple[str, ...] = option(
        (), "A photo; may be repeated.", flag="image", required=True, file=True
    )
    labels: tuple[str, ...] = option(
        (), "A class: one for all photos, or one for each; by default the answer.", flag="label"
    )
    square: int | None = option(None, "Side of the square, pixels; by default 48/224 of the input.")
    stride: int | None = option(None, "Pixels between positions; by default 8/224 of the input.")
    layer: str | None = option(None, "Layer whose strongest map is followed; the last conv layer.")
    fill: Fill = option("grey", "What fills the square.")
    seed: int = option(0, "Of the noise.", lowest=0)
    plain: bool = option(False, "Compute the whole net for every square, slowly.")


@dataclasses.dataclass(frozen=True)
class CheckOptions:
    """Of the check against the built-in pictures' masks; see the texts."""

    count: int = option(200, "Validation pictures; at most all.", flag="images", lowest=1)
    square: int | None = option(None, "Side of the square, pixels; by default 48/224 of the input.")
    stride: int | None = option(None, "Pixels between positions; by default 8/224 of the input.")
    layer: str | None = option(None, "Layer whose strongest map is followed; the last conv layer.")
    fill: Fill = option("grey", "What fills the square.")


@dataclasses.dataclass(frozen=True)
class Resolved(Options):
    """Options with nothing left to decide."""

    square: int = option(..., "Side of the square, pixels.")
    stride: int = option(..., "Pixels between positions.")
    layer: str = option(..., "Whose strongest map.")
