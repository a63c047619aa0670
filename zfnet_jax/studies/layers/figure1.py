"""Fig. 1: a deconvnet layer beside the convnet layer that it is attached to, on a real photo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zfnet_jax.report.figures import CONTRAST, fitted, page_width, place, sheet
from zfnet_jax.report.tiles import projection_tile

Arrays = Mapping[str, np.ndarray]
Box = tuple[float, float, float, float]  # x, y, width, height; inches

MARGIN = 0.12
DETAIL = 6  # pooled units along one side of the detail
SWITCH_COLOUR = "#d95f02"
FILTER_COLOUR = "#1b7837"
ARROW = {"arrowstyle": "-|>", "color": "0.25", "shrinkA": 0, "shrinkB": 0}


def figure1(arrays: Arrays) -> Figure:
    """Both ways through a layer, from the arrays of `deconv_layer.deconv_layer`.

    The convnet layer on the right is read upwards, the deconvnet layer on the left downwards, each
    stage shown for the same few maps; the switches cross over from the pool to the unpooling.
    Underneath, a detail of the first map: what is pooled, with its switches, and the unpooled map;
    a square on the pooled map says where it is.
    """
    width = page_width()
    middle = 0.11 * width
    half = (width - middle - 2 * MARGIN) / 2
    count = len(arrays["map"])
    gap = 0.05
    side = min((half - (count - 1) * gap) / count, 0.13 * width)
    name, arrow = 0.2, 0.36
    step = name + side + arrow
    detail = (width - 2 * MARGIN - 4 * 0.3) / 5
    height = 0.3 + 4 * step + detail + 0.6
    figure, axis = sheet(width, height)

    left, right = MARGIN, MARGIN + half + middle
    number = str(arrays["layer"]).removeprefix("conv")
    for x, text in ((left, f"deconvnet, layer {number}"), (right, f"convnet, layer {number}")):
        axis.text(x + half / 2, 0.2, text, ha="center", weight="bold", size="large")
    above = str(arrays["above"]).removeprefix("conv")
    source = f"reconstructed by layer {above}" if above else "the pooled maps themselves"
    rectifies = bool(arrays.get("rectifies", True))
    rectify = "rectify" if rectifies else "(no relu before the pool)"
    down = [
        (source, "from_above", "max unpooling"),
        ("unpooled maps", "unpooled", rectify),
        (
            "rectified unpooled maps" if rectifies else "unpooled maps",
            "unpooled_rectified",
            f"filter $F_{{{number}}}^T$",
        ),
        (f"reconstruction of what layer {number} sees", "reconstruction", ""),
    ]
    up = [
        ("pooled maps", "pooled", "max pooling"),
        ("rectified maps" if rectifies else "filtered maps", "rectified", rectify),
        ("filtered maps", "filtered", f"filter $F_{{{number}}}$"),
        (f"what layer {number} sees", "input", ""),
    ]
    top = 0.3
    for x, stages, downwards in ((left, down, True), (right, up, False)):
        for row, (title, key, operation) in enumerate(stages):
            y = top + row * step
            axis.text(x + half / 2, y + name - 0.05, title, ha="center")
            place_of_first = _stage(axis, arrays, key, x, y + name, half, side, gap)
            if key in ("pooled", "from_above"):
                _mark_detail(axis, arrays, place_of_first)
            if operation:
                _arrow(axis, x + half / 2, y + name + side + 0.05, arrow - 0.08, downwards)
                axis.text(x + half / 2 + 0.12, y + name + side + arrow / 2 + 0.03, operation)
    # What crosses over: the switches, between the first two rows, and the filters.
    y = top + name + side + arrow / 2
    start, end = (right + half / 2 - 0.1, y), (left + half / 2 + 0.95, y)
    style = ARROW | {"color": SWITCH_COLOUR}
    axis.annotate("", end, start, arrowprops=style)
    axis.text(width / 2, y - 0.05, "switches", ha="center", color=SWITCH_COLOUR)
    y += 2 * step
    axis.annotate("", (end[0], y), (start[0], y), arrowprops=style | {"color": FILTER_COLOUR})
    axis.text(width / 2, y - 0.05, "filters", ha="center", color=FILTER_COLOUR)
    if "input_map" not in arrays:
        _filters(axis, arrays["filters"], width / 2, y + 0.1)
    _detail(axis, arrays, top + 4 * step, detail)
    return figure


def _stage(
    axis: Axes, arrays: Arrays, key: str, x: float, y: float, half: float, side: float, gap: float
) -> Box:
    """One row of maps, centred; the image itself for the first layer's bottom row.

    Returns where the first is.
    """
    maps = arrays[key]
    if key in ("input", "reconstruction") and "input_map" not in arrays:
        image = maps if key == "input" else projection_tile(maps, CONTRAST)
        box = fitted(image, x + (half - side) / 2, y, side)
        place(axis, image, *box)
        return box
    start = x + (half - len(maps) * side - (len(maps) - 1) * gap) / 2
    boxes = [fitted(maps[0], start + n * (side + gap), y, side) for n in range(len(maps))]
    for values, box in zip(maps, boxes, strict=True):
        place(axis, values, *box, **_colours(values))
    return boxes[0]


def _mark_detail(axis: Axes, arrays: Arrays, box: Box) -> None:
    """A square where the detail lies in a pooled map that is drawn in a box."""
    rows, columns = _detail_units(arrays)
    height, width = arrays["pooled"].shape[1:]
    x, y, wide, high = box
    left, right = (x + wide * end / width for end in (columns.start, columns.stop))
    top, bottom = (y + high * end / height for end in (rows.start, rows.stop))
    corners = [left, right, right, left, left], [top, top, bottom, bottom, top]
    axis.plot(*corners, color=SWITCH_COLOUR, lw=0.8)


def _detail_units(arrays: Arrays) -> tuple[slice, slice]:
    """Rows and columns of the first map's pooled units that the detail shows."""
    pooled = arrays["pooled"][0]
    count = min(DETAIL, *pooled.shape)
    peak = np.unravel_index(pooled.argmax(), pooled.shape)
    # Away from the edges, where windows are cut off.
    first = [int(np.clip(p - count // 2, 0, n - count)) for p, n in zip(peak, pooled.shape)]
    return slice(first[0], first[0] + count), slice(first[1], first[1] + count)


def _filters(axis: Axes, filters: np.ndarray, centre: float, top: float) -> None:
    """The kept maps' filters [N, k, k, 3], small, in a row."""
    side, gap = 0.2, 0.04
    start = centre - (len(filters) * (side + gap) - gap) / 2
    for index, kernel in enumerate(filters):
        tile = projection_tile(kernel, 100)
        place(axis, tile, *fitted(tile, start + index * (side + gap), top, side))


def _colours(values: np.ndarray) -> dict[str, Any]:
    """Zero is white: values above it turn blue, values below red."""
    limit = np.abs(values).max() or 1
    return {"cmap": "RdBu", "vmin": -limit, "vmax": limit}


def _arrow(axis: Axes, x: float, y: float, length: float, downwards: bool) -> None:
    start, end = ((x, y), (x, y + length))[:: 1 if downwards else -1]
    axis.annotate("", end, start, arrowprops=ARROW)


def _detail(axis: Axes, arrays: Arrays, top: float, side: float) -> None:
    """Pooling and unpooling of the first map, around its strongest unit, every number visible."""
    pooled, units = arrays["pooled"][0], _detail_units(arrays)
    window, stride, top_pad, left_pad, *columns = (int(n) for n in arrays["pool"])
    across = columns or (window, stride)
    pools = ((window, stride, top_pad), (across[0], across[1], left_pad))
    pixels = tuple(
        slice(max(unit.start * stride - pad, 0), min((unit.stop - 1) * stride - pad + window, n))
        for unit, (window, stride, pad), n in zip(
            units, pools, arrays["before_pool"].shape[1:], strict=True
        )
    )
    shape = [p.stop - p.start for p in pixels]
    # Also those of units just outside the detail, whose windows reach into it.
    switches = arrays["switches"][0].reshape(-1, 2) - [p.start for p in pixels]
    switches = switches[((switches >= 0) & (switches < shape)).all(axis=1)]

    panels = [
        ("map to pool", arrays["before_pool"][0][pixels], True),
        ("pooled", pooled[units], False),
        ("switches: maxima", None, True),
        ("from above", arrays["from_above"][0][units], False),
        ("unpooled", arrays["unpooled"][0][pixels], True),
    ]
    axis.text(
        MARGIN,
        top + 0.12,
        f"Detail of map {arrays['map'][0]}, inside the squares above: around its strongest unit",
    )
    for position, (title, values, marked) in enumerate(panels):
        x, y = MARGIN + position * (side + 0.3), top + 0.36
        axis.text(x + side / 2, y - 0.06, title, ha="center")
        if values is not None:
            place(axis, values, x, y, side, side, interpolation="nearest", **_colours(values))
        axis.plot([x, x + side, x + side, x, x], [y, y, y + side, y + side, y], color="0.5", lw=0.5)
        if marked:
            axis.scatter(
                x + (switches[:, 1] + 0.5) / shape[1] * side,
                y + (switches[:, 0] + 0.5) / shape[0] * side,
                s=side * 9,
                facecolors="none",
                edgecolors=SWITCH_COLOUR,
                linewidths=0.8,
            )
        if position < len(panels) - 1:
            sign = ("→", "", "", "→")[position]
            axis.text(x + side + 0.15, y + side / 2, sign, ha="center", va="center")
