"""The options of mining and of Fig. 2; the defaults are the paper's."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zfnet_jax.rules import Overlap, Rectify
from zfnet_jax.studies.options import option

SplitName = Literal["train", "validation"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Of mining: which winners are searched, and how they are projected."""

    split: SplitName = option("validation", "Images to search.")
    k: int = option(9, "Winners per map.", lowest=1)
    all_positions: bool = option(False, "Several winners per image may count.")
    unit_value: float | None = option(
        None, "Value that projections start from; the recorded activation if not given."
    )
    rectify: Rectify = option("deconvnet", "Rectification going down.")
    overlap: Overlap = option("sum", "Rule of unpooling.")


@dataclasses.dataclass(frozen=True)
class FigureOptions:
    """Of Fig. 2: which maps it shows."""

    chosen: tuple[str, ...] = option((), "Maps to draw, such as conv3:5,17,80; may be repeated.")
    maps: int | None = option(
        None, "Maps per layer, at random; two rows if not given, one of a deep net.", lowest=1
    )
    patches: bool = option(True, "Beside projections the photos' patches.")
    seed: int = option(0, "Of the random maps.", lowest=0)
