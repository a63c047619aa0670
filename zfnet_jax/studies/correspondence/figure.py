"""Fig. 8: faces with a part masked, or a place at random."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from zfnet_jax.report.figures import page_width, place, sheet

Arrays = Mapping[str, np.ndarray]

MARGIN, BETWEEN = 0.1, 0.05  # around the figure, between tiles; inches
GROUP = 0.14  # between groups of columns, inches
ROWS, DRAWS = 5, 3  # images and random places that are shown


def figure8(arrays: Arrays, rows: int = ROWS, draws: int = DRAWS) -> Figure:
    """A row for each image: as it is, each part masked, and random places masked.

    Args:
      arrays: from `study.measured`.
      rows: images, the first ones; all if there are fewer.
      draws: random places shown of each kind, the first ones; all if there are fewer.
    """
    columns = _columns(arrays, draws)
    images = arrays["images"][:rows]
    gaps = [GROUP if new else BETWEEN for _, new, _ in columns[1:]]
    side = (page_width() - 2 * MARGIN - sum(gaps)) / len(columns)
    line = mpl.rcParams["font.size"] * 1.45 / 72
    top = MARGIN + 1.3 * line
    figure, axis = sheet(page_width(), top + len(images) * (side + BETWEEN) + MARGIN)
    x = MARGIN
    for (title, _, corners), gap in zip(columns, [*gaps, 0]):
        axis.text(x, MARGIN + line * 0.8, title)
        for index, image in enumerate(images):
            y = top + index * (side + BETWEEN)
            place(axis, image, x, y, side, side)
            if corners is not None:
                _square(axis, arrays, corners[index], x, y, side)
        x += side + gap
    return figure


def _columns(arrays: Arrays, draws: int) -> list[tuple[str, bool, np.ndarray | None]]:
    """Title, whether a group begins, corners of the squares [N, 2]."""
    columns: list[tuple[str, bool, np.ndarray | None]] = [("original", True, None)]
    for index, part in enumerate(arrays["parts"]):
        columns.append((part.replace("_", " "), index == 0, arrays["corner/part"][index]))
    for name, title in (("random", "random"), ("same_place", "random, one place")):
        for index, corners in enumerate(arrays[f"corner/{name}"][:draws]):
            columns.append((title if index == 0 else "", index == 0, corners))
    return columns


def _square(
    axis: Axes, arrays: Arrays, corner: np.ndarray, x: float, y: float, side: float
) -> None:
    scale = side / arrays["images"].shape[1]
    row, column = corner * scale
    wide, grey = float(arrays["side"]) * scale, float(arrays["fill"]) / 255
    axis.add_patch(Rectangle((x + column, y + row), wide, wide, color=str(grey), lw=0))
