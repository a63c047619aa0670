"""The options of Fig. 1 and of the strongest maps of a photo."""

from __future__ import annotations

import dataclasses
import re

from zfnet_jax.rules import Overlap, Rectify
from zfnet_jax.studies.options import option


@dataclasses.dataclass(frozen=True)
class Options:
    """Of Fig. 1: a layer and the deconvnet layer attached to it, on a photo."""

    image: str = option("", "A photo.", required=True, file=True)
    layer: str = option("conv1", "A layer with a pool.")
    maps: int = option(4, "Strongest maps to show.", lowest=1)


@dataclasses.dataclass(frozen=True)
class StrongestOptions:
    """Of what all layers see in a photo."""

    image: str = option("", "The photo.", required=True, file=True)
    maps: int = option(9, "Strongest maps per layer.", lowest=1)
    layers: tuple[str, ...] = option(
        (), "A layer, such as conv5; may be repeated. All if not given.", flag="layer"
    )


@dataclasses.dataclass(frozen=True)
class UnitOptions:
    """Of one unit alone instead."""

    unit: str | None = option(
        None, "LAYER:MAP for its strongest unit alone, LAYER:MAP:ROW,COLUMN for another."
    )
    rectify: Rectify = option("deconvnet", "Rectification going down, with --unit.")
    overlap: Overlap = option("sum", "Rule of unpooling, with --unit.")


def unit_of(text: str) -> tuple[str, int, tuple[int, int] | None]:
    """Layer, map, and row and column if they are given. ValueError: it says something else."""
    found = re.fullmatch(r"([^:]+):(\d+)(?::(\d+),(\d+))?", text, re.ASCII)
    if not found:
        raise ValueError(f"--unit={text}: give LAYER:MAP or LAYER:MAP:ROW,COLUMN, as conv5:17:3,4")
    layer, number, row, column = found.groups()
    return layer, int(number), None if row is None else (int(row), int(column))
