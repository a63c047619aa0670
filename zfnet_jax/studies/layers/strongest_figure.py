"""What all layers see in one photo, as one picture: their strongest maps."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zfnet_jax.names import told_apart
from zfnet_jax.report.figures import CONTRAST, fitted, page_width, place, sheet
from zfnet_jax.report.text import all_within, from_the_left, width
from zfnet_jax.report.tiles import moved_inside, projection_tile
from zfnet_jax.runs.origins import NONE, Origins, in_brackets
from zfnet_jax.windows import by

Arrays = Mapping[str, np.ndarray]

MARGIN, BETWEEN = 0.12, 0.3  # around the figure and between columns, inches
PHOTO = 0.19  # of a page's width
GAP = 0.06  # between tiles, as a share of their side
LAYERS_ABOVE = 6  # so many layers stand one above the other; a deeper net has two columns
CLASSES = 5  # in the list of answers


def figure_strongest(arrays: Arrays, named: Origins = NONE) -> Figure:
    """The photo on the left with the net's answer, if it has classes; beside it one row per layer.

    A row has the layer's strongest maps: the projection of the strongest unit, and under it the
    patch of the photo that the unit sees. A net of many layers has two columns of them.

    Args:
      arrays: from `strongest.strongest_maps`.
      named: what layers are called where the net comes from.
    """
    layers = [str(name) for name in arrays["layers"]]
    across = 1 if len(layers) <= LAYERS_ABOVE else 2
    down = -(-len(layers) // across)
    line = mpl.rcParams["font.size"] * 1.45 / 72
    one = page_width()  # of the photo and a column
    wide = one * (1 - PHOTO) - MARGIN - BETWEEN
    count = max(len(arrays[f"{layer}/map"]) for layer in layers)
    step = min(wide / count, 0.16 * one)  # few maps are not drawn larger than the photo
    height = 2 * step + 3.9 * line
    wide = count * step
    width = PHOTO * one + across * (BETWEEN + wide) + MARGIN
    figure, axis = sheet(width, max(down * height, PHOTO * one + 11 * line) + MARGIN)
    _photo_and_classes(axis, arrays, MARGIN, 1.6 * line, PHOTO * one - MARGIN, line)
    for index, layer in enumerate(layers):
        column, row = divmod(index, down)
        left = PHOTO * one + BETWEEN + column * (wide + BETWEEN)
        name = layer.removeprefix("conv") + in_brackets(layer, named)
        _layer(axis, arrays, layer, name, left, row * height, step, line)
    return figure


def _photo_and_classes(
    axis: Axes, arrays: Arrays, left: float, top: float, side: float, line: float
) -> None:
    photo, probabilities = arrays["photo"], arrays["probabilities"]
    tall = side * photo.shape[0] / photo.shape[1]
    axis.text(left, top - 0.5 * line, "what the net saw", weight="bold")
    place(axis, _colours(photo), left, top, side, tall)
    top += tall + 1.6 * line
    if not len(probabilities):  # the net has no classifier
        return
    axis.text(left, top, "probability of class", weight="bold")
    best = np.argsort(-probabilities, kind="stable")[:CLASSES].tolist()
    names = told_apart(arrays["class_names"])
    short = all_within({n: names[n] for n in best}, side - width("100%  "))
    for place_of, index in enumerate(best):
        y = top + (0.5 + 1.5 * place_of) * line
        size = (side * float(probabilities[index]), 1.2 * line)
        axis.add_patch(mpl.patches.Rectangle((left, y), *size, color="0.8"))
        text = from_the_left(f"{probabilities[index]:.0%}  {short[index]}")
        axis.text(left + 0.04, y + 0.9 * line, text, parse_math=False)


def _layer(
    axis: Axes,
    arrays: Arrays,
    layer: str,
    name: str,
    left: float,
    top: float,
    step: float,
    line: float,
) -> None:
    windows, photo = arrays[f"{layer}/window"], arrays["photo"]
    sides = (windows[0, 2:] - windows[0, :2]).tolist()
    title = f"Layer {name}: a unit sees {by(sides)} pixels"
    if all(side >= seen for side, seen in zip(sides, photo.shape)):
        title += ", more than the whole photo"
    axis.text(left, top + 1.1 * line, title, weight="bold", parse_math=False)
    top += 3.0 * line
    side = step * (1 - GAP)
    for column, (number, activation) in enumerate(
        zip(arrays[f"{layer}/map"], arrays[f"{layer}/activation"], strict=True)
    ):
        x = left + column * step
        strength = f"{activation:.3g}" if activation > 0 else "not active"
        axis.text(x, top - 0.35 * line, f"map {number}: {strength}", size="small", color="0.35")
        if activation <= 0:
            continue
        # Windows that leave the photo are moved inside; where a unit is blind it is grey.
        above, before, below, after = moved_inside(windows[column], photo.shape)
        seen = np.s_[above:below, before:after]
        projection = projection_tile(arrays[f"{layer}/projection"][column][seen], CONTRAST)
        for row, pixels in enumerate((projection, photo[seen])):
            y = top + row * step
            place(axis, _colours(pixels), *fitted(pixels, x, y, side), interpolation="nearest")


def _colours(pixels: np.ndarray) -> np.ndarray:
    """Pixels [h, w, C] of one channel or three as three."""
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
