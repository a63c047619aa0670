"""What units read of maps along each axis, and how one number, or one for each axis, says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Pair = tuple[int, int]  # of rows and of columns
Sides = int | Pair  # one number for both axes, or a pair
Pads = tuple[Pair, Pair]  # ((top, bottom), (left, right)) pixels
Padding = int | tuple[int | Pair, int | Pair]  # of each axis one number for both ends, or a pair


class Window(NamedTuple):
    """What a unit reads along one axis: `size` pixels `dilation` apart, `stride` further on for the
    next unit; those of the first start `before` pixels before the map, and `after` more lie behind
    it."""

    size: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Pixels from the first to the last that a unit reads, both included."""
        return (self.size - 1) * self.dilation + 1


POINT = Window()  # a unit reads the pixel where it is


def both(value: Sides | Sequence[int]) -> Pair:
    """A number for each axis, rows first. ValueError: it is neither a number nor a pair."""
    if isinstance(value, int):
        return value, value
    rows, columns = _two(value)
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ValueError(f"expected a number or one for rows and one for columns, got {value}")
    return rows, columns


def pads(padding: Padding | Sequence[Any]) -> Pads:
    """Padding at each end of each axis; errors as in `both`."""
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    rows, columns = _two(padding)
    return both(rows), both(columns)


def added(first: Pads, second: Pads) -> Pads:
    """What both are together."""
    (top, bottom), (left, right) = (
        tuple(a + b for a, b in zip(one, other)) for one, other in zip(first, second)
    )
    return (top, bottom), (left, right)


def shortest(value: Sides | Sequence[int]) -> Sides:
    """One number where both axes share it."""
    rows, columns = both(value)
    return rows if rows == columns else (rows, columns)


def shortest_padding(padding: Padding | Sequence[Any]) -> Padding:
    """One number, or a pair, where that says it all."""
    rows, columns = pads(padding)
    if rows[0] == rows[1] and columns[0] == columns[1]:
        return shortest((rows[0], columns[0]))
    return rows, columns


def by(value: Sides) -> str:
    """'3 x 5'."""
    return "{} x {}".format(*both(value))


def in_words(value: Sides) -> str:
    """'2', or '2 x 1' where the axes differ."""
    return f"{value}" if isinstance(value, int) else by(value)


def padding_words(padding: Padding) -> str:
    """As `in_words`, or of each axis what lies before and after: '0, 1 x 2, 2'."""
    if isinstance(padding, int):
        return f"{padding}"
    rows, columns = padding
    if isinstance(rows, int) and isinstance(columns, int):
        return by((rows, columns))
    return " x ".join("{}, {}".format(*pair) for pair in pads(padding))


def _two(value: Any) -> tuple[Any, Any]:
    try:
        first, second = value
    except (TypeError, ValueError):
        raise ValueError(f"expected a number or a pair, got {value!r}") from None
    return first, second
