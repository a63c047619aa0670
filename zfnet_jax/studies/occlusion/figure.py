"""Fig. 7: what changes as a square covers one part of a photo after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from zfnet_jax.names import fit, told_apart
from zfnet_jax.report.figures import CONTRAST, fitted, page_width, pixels, place, sheet
from zfnet_jax.report.mosaic import mosaic, shrink
from zfnet_jax.report.text import all_within, width, within
from zfnet_jax.report.tiles import moved_inside, projection_tile
from zfnet_jax.studies.features.winners import Winners

Arrays = Mapping[str, np.ndarray]

MARGIN, GUTTER = 0.1, 0.16  # around the figure and between columns, inches
FADED = 0.3  # how much of the photo shows around a map of positions
NAMED = 5  # classes in the key of a label map; the others share a grey
KEY = 7.5  # width of that key, lines
_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2")
_OTHER = "#bab0ac"


def figure7(arrays: Arrays, mined: Winners | None) -> Figure:
    """One row per photo, from the arrays of `study`.

    (a) The photo, with the square where it costs the class most. (b) For each position of the
    square's centre the summed activity of the layer's strongest map. (c) The strongest unit of that
    map projected, in a black box, and the map's strongest activations in other photos, projected.
    (d) The probability of the class, and (e) the most probable class. Without a classifier (d) and
    (e) are left out, and (a) has the square where it costs the map most.

    Args:
      arrays: see above.
      mined: what mining left; without it the other photos of (c) are left out.
    """
    line = mpl.rcParams["font.size"] * 1.45 / 72
    bar, key = 2.9 * line, KEY * line
    columns, bars = (6, 2 * bar + key) if "class" in arrays else (4, bar)
    side = (page_width() - 2 * MARGIN - (columns - 1) * GUTTER - bars) / columns
    widths = (side, side + bar, side, side, side + bar, side)
    left = MARGIN + np.cumsum((0.0, *(width + GUTTER for width in widths)))[:columns]
    step = side + 2.6 * line
    count = len(arrays["photo"])
    figure, axis = sheet(page_width(), 1.9 * line + count * step + 0.2 * line)
    heads = ("(a) photo", "(b) activity", "(c) projections", "", "(d) probability", "(e) class")
    for x, head in zip(left, heads, strict=False):
        if head:
            axis.text(x, 1.2 * line, head, weight="bold")
    for n in range(count):
        top = 1.9 * line + n * step
        _row(axis, arrays, mined, n, left, top, side, line)
    return figure


def _row(
    axis: Axes,
    arrays: Arrays,
    mined: Winners | None,
    n: int,
    left: np.ndarray,
    top: float,
    side: float,
    line: float,
) -> None:
    photo = fit(arrays["names"][n])  # a file's name alone, such as 1.jpg, may say too little
    if width(photo, "small") > side:
        photo = within(photo.split("/")[-1], side, "small")
    captions = (
        photo,
        f"map {arrays['map'][n]} of {arrays['layer']}",
        "in this photo",
        "in other photos",
    )
    photo_covered = covered(arrays, n)
    place(axis, photo_covered, *fitted(photo_covered, left[0], top, side))
    activity = arrays["activity"][n]
    _heat(axis, arrays, n, activity, (0, activity.max()), left[1], top, side)
    _bar(axis, 0, activity.max(), "{:.3g}", left[1] + side, top, side, line)
    _projection(axis, arrays, n, left[2], top, side)
    others = _others(arrays, mined, n, side)
    if others is not None:
        place(axis, others, *fitted(others, left[3], top, side))
    for x, caption, shown in zip(left, captions, (1, 1, 1, others is not None), strict=False):
        if shown:
            _caption(axis, x, top + side, line, caption)
    _caption(
        axis,
        left[1],
        top + side + 0.9 * line,
        line,
        f"{float(arrays['whole_activity'][n]):.3g} uncovered",
    )
    if "class" not in arrays:
        return
    _heat(axis, arrays, n, arrays["probability"][n], (0, 1), left[4], top, side)
    _bar(axis, 0, 1, "{:g}", left[4] + side, top, side, line)
    _labels(axis, arrays, n, left[5], top, side, line)
    name = told_apart(arrays["class_names"])[arrays["label"][n]]
    _caption(axis, left[4], top + side, line, within(name, side, "small"))
    _caption(
        axis,
        left[4],
        top + side + 0.9 * line,
        line,
        f"{float(arrays['whole_probability'][n]):.1%} uncovered",
    )


def _caption(axis: Axes, x: float, bottom: float, line: float, text: str) -> None:
    axis.text(x, bottom + 0.95 * line, text, size="small", color="0.35", parse_math=False)


def covered(arrays: Arrays, n: int) -> np.ndarray:
    """Photo n with the square where the class's probability is lowest, or without classes the
    map's activity, [H, W, C] uint8."""
    cost = arrays.get("probability", arrays["activity"])[n]
    row, column = np.unravel_index(cost.argmin(), cost.shape)
    photo, square = arrays["photo"][n].copy(), int(arrays["square"])
    top, left = arrays["rows"][row], arrays["columns"][column]
    window = np.s_[top : top + square, left : left + square]
    photo[window] = arrays["fill"][n][window]
    return photo


def cell_edges(starts: np.ndarray, square: int) -> np.ndarray:
    """Edges, in pixels, of cells around the centres of squares that start there."""
    centres = np.asarray(starts, float) + square / 2
    if len(centres) == 1:
        return np.array([centres[0] - square / 2, centres[0] + square / 2])
    between = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - between[0], 2 * centres[-1] - between[-1]
    return np.concatenate([[first], between, [last]])


def _cells(
    axis: Axes,
    arrays: Arrays,
    n: int,
    values: np.ndarray,
    x: float,
    y: float,
    side: float,
    **how: Any,
) -> None:
    """Values by position of the square, over the faded photo, where they belong in it."""
    photo, square = arrays["photo"][n], int(arrays["square"])
    grey = photo.mean(axis=2, keepdims=True).repeat(3, axis=2) / 255
    x, y, wide, high = fitted(photo, x, y, side)
    place(axis, 1 - FADED * (1 - grey), x, y, wide, high)
    rows = y + cell_edges(arrays["rows"], square) * high / photo.shape[0]
    columns = x + cell_edges(arrays["columns"], square) * wide / photo.shape[1]
    axis.pcolormesh(columns, rows, values, rasterized=True, **how)


def _heat(
    axis: Axes,
    arrays: Arrays,
    n: int,
    values: np.ndarray,
    limits: tuple[float, float],
    x: float,
    y: float,
    side: float,
) -> None:
    _cells(axis, arrays, n, values, x, y, side, vmin=limits[0], vmax=limits[1] or 1.0, cmap="jet")


def _bar(
    axis: Axes,
    low: float,
    high: float,
    form: str,
    x: float,
    y: float,
    side: float,
    line: float,
) -> None:
    """A colour bar, its ends named."""
    colours = mpl.colormaps["jet"](np.linspace(1, 0, 64))[:, None, :3]
    place(axis, colours, x + 0.3 * line, y, 0.45 * line, side)
    for value, at in ((high, y + 0.6 * line), (low, y + side)):
        axis.text(x + 0.9 * line, at, form.format(float(value)), size="small")


def _projection(axis: Axes, arrays: Arrays, n: int, x: float, y: float, side: float) -> None:
    projection = arrays["projection"][n]
    top, left, bottom, right = moved_inside(arrays["window"][n], projection.shape)
    seen = projection[top:bottom, left:right]
    tile = projection_tile(shrink(seen, pixels(side)), CONTRAST)
    x, y, wide, high = fitted(tile, x, y, side)
    place(axis, tile, x, y, wide, high, interpolation="nearest")
    axis.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor="black", linewidth=2))


def _others(arrays: Arrays, mined: Winners | None, n: int, side: float) -> np.ndarray | None:
    """The map's winners in other photos, in a square; None where there are none."""
    layer, number = str(arrays["layer"]), int(arrays["map"][n])
    if mined is None or layer not in mined.layers:
        return None
    rows = mined.winners[f"{layer}/image"][number]
    key_of = mined.keys
    keys = [key_of.get(row) for row in rows]
    other = np.flatnonzero([row >= 0 and k != arrays["names"][n] for row, k in zip(rows, keys)])
    if not len(other):
        return None
    projections = mined.projection(layer, number)[other]
    across = int(np.ceil(np.sqrt(len(rows))))
    finest = max(1, pixels(side / across))
    tiles = [projection_tile(shrink(tile, finest), CONTRAST) for tile in projections]
    tiles += [np.ones_like(tiles[0])] * (across**2 - len(tiles))
    return mosaic(np.stack(tiles), across)


def _labels(
    axis: Axes, arrays: Arrays, n: int, x: float, y: float, side: float, line: float
) -> None:
    """The most probable class by position, and a key of the commonest."""
    classes = arrays["class"][n]
    numbers, counts = np.unique(classes, return_counts=True)
    numbers = numbers[np.argsort(-counts, kind="stable")]
    colours = mpl.colors.ListedColormap([*_COLOURS, _OTHER])
    place_of = {number: min(rank, NAMED) for rank, number in enumerate(numbers)}
    ranks = np.vectorize(place_of.get)(classes)
    _cells(axis, arrays, n, ranks, x, y, side, vmin=-0.5, vmax=NAMED + 0.5, cmap=colours)
    shown = told_apart(arrays["class_names"])
    room = KEY * line - 1.15 * line
    short = all_within({n: shown[n] for n in numbers[:NAMED].tolist()}, room, "small")
    names = list(short.values())
    if len(numbers) > NAMED:
        names.append(f"{len(numbers) - NAMED} more")
    for rank, name in enumerate(names):
        at = y + rank * 1.15 * line
        swatch = (x + side + 0.3 * line, at + 0.1 * line)
        axis.add_patch(Rectangle(swatch, 0.6 * line, 0.6 * line, color=colours(rank)))
        text = (swatch[0] + 0.85 * line, at + 0.65 * line)
        axis.text(*text, name, size="small", parse_math=False)
