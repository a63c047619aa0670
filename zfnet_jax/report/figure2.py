"""Fig. 2: what excites a feature map: its strongest activations, projected, beside their photos."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from zfnet_jax.report.figures import CONTRAST, page_width, place, sheet
from zfnet_jax.report.mined import Mined
from zfnet_jax.report.mosaic import mosaic
from zfnet_jax.report.tiles import projection_tile

GUTTER = 0.25  # between projections and patches, inches
HEADING = 0.26  # above a layer
NUMBER = 0.13  # above a map, for its number
BETWEEN = 0.06  # between maps


def figure2(mined: Mined, maps: Mapping[str, np.ndarray], columns: int) -> Figure:
    """The winners of some maps, one block per layer, laid out as in the paper.

    On the left of a block the projections of each map's K strongest activations, in a square and
    each in its own contrast; on the right, in the same places, the patches that caused them.

    Args:
      mined: what mining left.
      maps: the numbers of the maps to draw, by layer.
      columns: maps in a row of a block.
    """
    width = page_width()
    half = (width - GUTTER - 0.2) / 2
    side = (half - (columns - 1) * BETWEEN) / columns
    rows = {layer: -(-len(numbers) // columns) for layer, numbers in maps.items()}
    height = 0.1 + sum(HEADING + n * (side + NUMBER + BETWEEN) for n in rows.values())
    figure, axis = sheet(width, height)
    top = 0.05
    for layer, numbers in maps.items():
        axis.text(0.1, top + 0.17, _heading(mined, layer, numbers), weight="bold")
        top += HEADING
        projections, patches, present = mined.of(layer, numbers)
        for index, number in enumerate(numbers):
            row, column = divmod(index, columns)
            x = 0.1 + column * (side + BETWEEN)
            y = top + row * (side + NUMBER + BETWEEN) + NUMBER
            here = present[index][:, None, None, None]
            projected = np.stack([projection_tile(p, CONTRAST) for p in projections[index]])
            place(axis, mosaic(np.where(here, projected, 1)), x, y, side, side)
            photos = mosaic(np.where(here, patches[index], 255).astype(np.uint8))
            place(axis, photos, x + half + GUTTER, y, side, side)
            axis.text(x, y - 0.025, f"map {number}", size="small", color="0.35")
        top += rows[layer] * (side + NUMBER + BETWEEN)
    return figure


def _heading(mined: Mined, layer: str, numbers: np.ndarray) -> str:
    dead = mined.dead(layer)
    size = mined.info["receptive_fields"][layer][0]
    text = f"Layer {layer.removeprefix('conv')}: {len(numbers)} of {len(dead)} maps"
    if dead.any():
        text += f" ({dead.sum()} dead)"
    return f"{text}, each unit sees {size} x {size} pixels"
