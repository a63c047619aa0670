"""Fig. 4: how features form during training."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zfnet_jax.report.figures import CONTRAST, fitted, page_width, pixels, place, sheet
from zfnet_jax.report.mosaic import shrink
from zfnet_jax.report.tiles import projection_tile

Arrays = Mapping[str, np.ndarray]

MARK = "#d95f02"
MARGIN, BETWEEN = 0.1, 0.22  # around the figure and between blocks, inches
GAP = 0.05  # between tiles, as a share of their side


def figure4(arrays: Arrays, across: int) -> Figure:
    """Rows of maps, a column for each kept epoch, one block per layer (see `measure`).

    A tile is the projection of the map's strongest activation at that epoch. A mark at its left
    edge says that the activation comes from another image than the one before. Under a block, the
    share of the layer's maps whose image changed, and when they stopped.

    Args:
      arrays: from `measure`.
      across: blocks side by side.
    """
    layers = [str(layer) for layer in arrays["layers"]]
    line = mpl.rcParams["font.size"] * 1.45 / 72
    across = min(across, len(layers))
    wide = (page_width() - 2 * MARGIN - (across - 1) * BETWEEN) / across
    step = wide / len(arrays["step"])
    lines = [layers[first : first + across] for first in range(0, len(layers), across)]
    heights = [
        max(len(arrays[f"{layer}/map"]) for layer in row) * step + 6.2 * line for row in lines
    ]
    figure, axis = sheet(page_width(), sum(heights) + 1.5 * line)
    top = 0.0
    for row, height in zip(lines, heights):
        for index, layer in enumerate(row):
            _block(axis, arrays, layer, MARGIN + index * (wide + BETWEEN), top, step, line)
        top += height
    _key(axis, top + 0.3 * line, line)
    return figure


def _block(
    axis: Axes, arrays: Arrays, layer: str, left: float, top: float, step: float, line: float
) -> None:
    names = _names(arrays)
    side = step * (1 - GAP)
    axis.text(left, top + 1.2 * line, f"Layer {layer.removeprefix('conv')}", weight="bold")
    for column, name in enumerate(names):
        x = left + column * step + side / 2
        axis.text(x, top + 2.3 * line, name, ha="center", size="small", color="0.35")
    top += 2.6 * line
    images, changed = (arrays[f"{layer}/{n}"][arrays[f"{layer}/map"]] for n in ("image", "changed"))
    for row, projections in enumerate(arrays[f"{layer}/projection"]):
        for column, projection in enumerate(projections):
            x, y = left + column * step, top + row * step
            if images[row, column] >= 0:
                small = shrink(projection, pixels(side))
                place(axis, projection_tile(small, CONTRAST), *fitted(small, x, y, side))
            else:
                centre = (x + side / 2, y + side / 2)
                axis.text(*centre, "dead", ha="center", va="center", size="small", color="0.6")
            if changed[row, column]:
                _mark(axis, x, y, side)
    bottom = top + len(changed) * step
    for column, share in enumerate(arrays[f"{layer}/share_changed"]):
        if column:
            x = left + column * step + side / 2
            axis.text(x, bottom + 0.9 * line, f"{share:.0%}", ha="center", size="small", color=MARK)
    axis.text(left, bottom + 2.0 * line, _summary(arrays, layer, names), size="small")


def _mark(axis: Axes, x: float, y: float, side: float) -> None:
    axis.plot([x, x], [y, y + side], color=MARK, lw=2, solid_capstyle="butt")


def _names(arrays: Arrays) -> list[str]:
    """What stands above a column: the epoch, or the step where it is not known."""
    if np.isnan(arrays["epoch"]).any():
        return [f"step {step}" for step in arrays["step"]]
    return [f"{epoch:g}" for epoch in arrays["epoch"]]


def _summary(arrays: Arrays, layer: str, names: list[str]) -> str:
    half, every = (int(arrays[f"{layer}/{key}_settled"]) for key in ("half", "all"))
    when = [name if name.startswith("step") else f"epoch {name}" for name in names]
    if every == 0:
        return "no map ever changes"
    settled = "never change" if half == 0 else f"stop changing after {when[half]}"
    first = f"half of the maps {settled}" if half >= 0 else "most maps change to the last"
    return first if every < 0 else f"{first}, all after {when[every]}"


def _key(axis: Axes, top: float, line: float) -> None:
    side = 0.7 * line
    _mark(axis, MARGIN + 0.02, top, side)
    axis.text(
        MARGIN + 0.12,
        top + side * 0.85,
        "the strongest activation comes from another image than at the epoch before; under the"
        " blocks: the share of all maps that this happens to",
        size="small",
        color="0.35",
    )
