"""The convnet and, beside it, the deconvnet: every shape, switches and filters crossing over."""

from __future__ import annotations

import dataclasses

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
NORM = "contrast norm"
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
    """

    up: str
    up_by: str = ""
    down: str = ""
    down_by: str = ""
    crossing: str = ""


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
        elif index and row.up_by == NORM:
            _beside(axis, left_arrow + 0.08, y + step / 2, "(no contrast norm on the way down)")
        if row.crossing:
            kind, _, symbol = row.crossing.partition(" ")
            colour = {"switches": SWITCH_COLOUR, "filters": FILTER_COLOUR}[kind]
            y = (y + middle(index - 1)) / 2
            _arrow(axis, (right_arrow - 0.04, y), (left + 0.2 * wide, y), colour)
            x = (left + right) / 2 - 0.05 * wide
            axis.text(x, y - 0.035, f"{kind} {symbol}", ha="center", color=colour)
    return figure


def _rows(net: Architecture, image_size: tuple[int, int], channels: int) -> list[_Row]:
    sizes = [geometry.layer_sizes(net, size) for size in image_size]

    def shape(layer: str, maps: int) -> str:
        return " x ".join(str(n) for n in (*(size[layer] for size in sizes), maps))

    pixels = " x ".join(str(n) for n in (*image_size, channels))
    rows = [
        _Row(f"image   {pixels}", down=f"reconstructed by layer {net.convs[0].number}   {pixels}")
    ]
    for depth, conv in enumerate(net.convs):
        n, maps = conv.number, shape(conv.name, conv.maps)
        last = depth + 1 == len(net.convs)
        given = START if last else f"reconstructed by layer {net.convs[depth + 1].number}"
        rows.append(
            _Row(
                up=f"layer {n}   {maps}",
                up_by=f"filter $F_{n}$: {conv.kernel} x {conv.kernel}, stride {conv.stride}; relu",
                down=f"{'unpooled' if conv.pool else given}   {maps}",
                down_by=f"rectify; filter $F_{n}^T$",
                crossing=f"filters $F_{n}$",
            )
        )
        if conv.contrast_norm and (net.norm_before_pool or not conv.pool):
            rows.append(_Row(up=f"normalised   {maps}", up_by=NORM))
        if not conv.pool:
            continue
        pool, pooled = conv.pool, shape(f"pool{n}", conv.maps)
        rows.append(
            _Row(
                up=f"pooled   {pooled}",
                up_by=f"max pool {pool.window} x {pool.window}, stride {pool.stride}",
                down=f"{given}   {pooled}",
                down_by="max unpooling",
                crossing=f"switches $S_{n}$",
            )
        )
        if conv.contrast_norm and not net.norm_before_pool:
            rows.append(_Row(up=f"normalised   {pooled}", up_by=NORM))
    for name, units in zip(net.dense_names, net.dense):
        rows.append(_Row(up=f"layer {name.removeprefix('fc')}   {units}", up_by="dense; relu"))
    rows.append(_Row(up=f"classes   {net.classes}", up_by="dense; softmax"))
    return rows


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
