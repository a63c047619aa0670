"""What a person looks at: a photo as a checkpoint sees it, a unit of it, how it is projected."""

from __future__ import annotations

from typing import NamedTuple, get_args

from zfnet_jax.rules import Overlap, Rectify

RULES: tuple[Rectify, ...] = get_args(Rectify)
OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)


class Shown(NamedTuple):
    """A photo, and who sees it.

    Attributes:
      run: the number of the run.
      step: of its checkpoint; None for the one that the page opens with.
      photo: the name that the photo was given.
    """

    run: int
    step: int | None
    photo: str


class Chosen(NamedTuple):
    """A unit of a photo.

    Attributes:
      layer, map: of the unit.
      place: its row and column; None for the strongest of its map.
    """

    shown: Shown
    layer: str
    map: int
    place: tuple[int, int] | None = None


class How(NamedTuple):
    """A projection; see `deconvnet.project`."""

    rule: Rectify
    overlap: Overlap


class Looked(NamedTuple):
    """All that a view is of: `square` is a grey square (first row, first column, side) or none."""

    chosen: Chosen
    how: How
    square: tuple[int, int, int] | None
