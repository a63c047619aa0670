"""The options of Fig. 6 and of the diagnosis."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zfnet_jax.studies.options import option


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the diagnosis."""

    split: Literal["train", "validation"] | None = option(
        None, "The split that was mined; validation where both were."
    )


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """Of the diagnosis' table."""

    level: float = option(0.95, "Of the intervals over trainings from several seeds.")


@dataclasses.dataclass(frozen=True)
class FigureOptions:
    """Of Fig. 6."""

    maps: int = option(48, "Second-layer maps of each run, at random.", lowest=1)
