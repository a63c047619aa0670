"""The convnet and, beside it, the deconvnet: every shape, switches and filters crossing over."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.report.figures import page_width, sheet

SWITCH_COLOUR, FILTER_COLOUR = "#d95f02", "#1b7837"
CONV_FILL, DECONV_FILL = "#e6ebf2", "#f6efe4"
QUIET = "0.35"
START = "chosen activations"


@dataclasses.dataclass(frozen=True)
class _Row:
    """One level of the diagram, from the image upwards.

    Attributes:
      up: what the convnet holds here.
      up_by: what it did to get here from the level below.
      down: what the deconvnet holds here; '' where it has nothing.
      down_by: what it does to get from here to its next level below.
      crossing: what of the step below this level crosses over: '', 'switches' or 'filters'.
      missing: what stands in the deconvnet's place where it passes the step below by.
    """

    up: str
    up_by: str = ""
    down: str = ""
    down_by: str = ""
    crossing: str = ""
    missing: str = ""


def deconvnet_diagram(net: Architecture, image_size: tuple[int, int], channels: int) -> Figure:
    """The convnet read upwards on the right, the deconvnet downwards on the left (Section 2.1).

    Args:
      net: the architecture.
      image_size: (H, W) that the net sees, pixels.
      channels: of the image.
    """
    rows = _rows(net, image_size, channels)
    width = 0.85 * page_width()
    line = mpl.rcParams["font.size"] * 1.45 / 72
    box, step = 1.5 * line, 3.4 * line
    figure, axis = sheet(width, (len(rows) - 1) * step + box + 3 * line)
    wide = 0.37 * width
    left, right = 0.01 * width + wide / 2, 0.99 * width - wide / 2
    # Arrows at the left of a column's middle, so that what they do has room beside them.
    left_arrow, right_arrow = left - 0.3 * wide, right - 0.3 * wide
    for x, text in ((left, "deconvnet"), (right, "convnet")):
        axis.text(x, 1.4 * line, text, ha="center", weight="bold", size="large")

    def middle(index: int) -> float:
        return 2.2 * line + box / 2 + (len(rows) - 1 - index) * step

    for index, row in enumerate(rows):
        y = middle(index)
        _box(axis, right, y, wide, box, row.up, CONV_FILL)
        if row.up_by:
            below = middle(index - 1)
            _arrow(axis, (right_arrow, below - box / 2), (right_arrow, y + box / 2), "0.25")
            _beside(axis, right_arrow + 0.08, (y + below) / 2, row.up_by)
        if row.down:
            _box(axis, left, y, wide, box, row.down, DECONV_FILL)
            if row.down_by:
                lower = next(i for i in range(index - 1, -1, -1) if rows[i].down)
                _arrow(
                    axis, (left_arrow, y + box / 2), (left_arrow, middle(lower) - box / 2), "0.25"
                )
                _beside(axis, left_arrow + 0.08, y + step / 2, row.down_by)
        elif row.missing:
            _beside(axis, left_arrow + 0.08, y + step / 2, row.missing)
        if row.crossing:
            kind, _, symbol = row.crossing.partition(" ")
            colour = {"switches": SWITCH_COLOUR, "filters": FILTER_COLOUR}[kind]
            y = (y + middle(index - 1)) / 2
            _arrow(axis, (right_arrow - 0.04, y), (left + 0.2 * wide, y), colour)
            x = (left + right) / 2 - 0.05 * wide
            axis.text(x, y - 0.035, f"{kind} {symbol}", ha="center", color=colour)
    return figure


def _rows(net: Architecture, image_size: tuple[int, int], channels: int) -> list[_Row]:
    shapes = geometry.shapes(net, (*image_size, channels))
    top = net.map_layers[-1]
    given = ""  # what the way down has left, from the last stage downwards
    rows = []
    groups = itertools.groupby(reversed(net.stages), lambda stage: stage.name)
    for name, stages in ((name, list(group)) for name, group in groups):
        words = [stage.words() for stage in stages]
        up = "; ".join(w.up for w in reversed(words) if w.up)
        row = _Row(f"{_last(w.holds for w in words)}   {_by(shapes[name])}", up)
        if name in net.map_layers:
            given = START if name == top else given
            row = dataclasses.replace(
                row,
                down=f"{given}   {_by(shapes[name])}",
                down_by="; ".join(w.down for w in words if w.down),
                crossing=_last(w.crosses for w in words),
            )
            given = _last(w.leaves for w in words)
        elif stages[0] in net.map_stages:
            row = dataclasses.replace(row, missing=f"(no {up} on the way down)")
        rows.append(row)
    pixels = _by((*image_size, channels))
    return [_Row(f"image   {pixels}", down=f"{given}   {pixels}"), *reversed(rows)]


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _last(words: Iterable[str]) -> str:
    return next((word for word in reversed(list(words)) if word), "")


def _box(axis: Axes, x: float, y: float, wide: float, high: float, text: str, colour: str) -> None:
    axis.add_patch(
        FancyBboxPatch(
            (x - wide / 2, y - high / 2),
            wide,
            high,
            boxstyle="round,pad=0,rounding_size=0.04",
            facecolor=colour,
            edgecolor="0.5",
        )
    )
    axis.text(x, y, text, ha="center", va="center")


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    axis.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 1, "shrinkB": 1},
    )


def _beside(axis: Axes, x: float, y: float, text: str) -> None:
    axis.text(x, y, text, va="center", color=QUIET, size="small")
