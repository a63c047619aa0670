"""Fig. 2: what excites a feature map: its strongest activations, projected, beside their photos."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from zfnet_jax.report.figures import CONTRAST, fitted, page_width, pixels, place, sheet
from zfnet_jax.report.mosaic import mosaic, shrink
from zfnet_jax.report.tiles import projection_tile
from zfnet_jax.runs import origins
from zfnet_jax.studies.features import chosen
from zfnet_jax.studies.features.winners import Winners
from zfnet_jax.windows import by

MARGIN, GUTTER = 0.1, 0.25  # around the figure; between projections and patches; inches
HEADING, NUMBER = 0.24, 0.12  # above a layer; above a map, for its number
BETWEEN = 0.08  # maps


def figure2(mined: Winners, maps: Mapping[str, np.ndarray], with_patches: bool = True) -> Figure:
    """The winners of some maps, one block per layer, laid out as in the paper.

    On the left of a block the projections of each map's K strongest activations, in a square and
    each in its own contrast; on the right, in the same places, the patches that caused them.

    Args:
      mined: what mining left.
      maps: the numbers of the maps to draw, by layer.
      with_patches: False draws the projections alone, for photos that may not be shown.
    """
    width = page_width()
    half = (width - GUTTER) / 2 - MARGIN if with_patches else width - 2 * MARGIN
    blocks, top = [], 0.05
    for layer, numbers in maps.items():
        across = chosen.maps_across(mined, layer) * (1 if with_patches else 2)
        side = (half - (across - 1) * BETWEEN) / across
        blocks.append((layer, numbers, across, side, top))
        top += HEADING + -(-len(numbers) // across) * (side + NUMBER + BETWEEN)
    figure, axis = sheet(width, top)
    for layer, numbers, across, side, top in blocks:
        axis.text(
            MARGIN, top + 0.17, _heading(mined, layer, numbers), weight="bold", parse_math=False
        )
        projections = chosen.projections(mined, layer, numbers)
        present = chosen.present(mined, layer, numbers)[..., None, None, None]
        finest = pixels(side / math.ceil(math.sqrt(present.shape[1])))
        for index, number in enumerate(numbers):
            row, column = divmod(index, across)
            x = MARGIN + column * (side + BETWEEN)
            y = top + HEADING + row * (side + NUMBER + BETWEEN) + NUMBER
            small = [shrink(projection, finest) for projection in projections[index]]
            tiles = np.stack([projection_tile(tile, CONTRAST) for tile in small])
            image = mosaic(np.where(present[index], tiles, 1))
            place(axis, image, *fitted(image, x, y, side))
            if with_patches:
                patches = chosen.patches(mined, layer, numbers[index : index + 1])[0]
                photos = mosaic(np.where(present[index], patches, 255).astype(np.uint8))
                place(axis, photos, *fitted(photos, x + half + GUTTER, y, side))
            axis.text(x, y - 0.025, f"map {number}", size="small", color="0.35")
    return figure


def _heading(mined: Winners, layer: str, numbers: np.ndarray) -> str:
    dead = chosen.dead(mined, layer)
    sides = mined.field_sides(layer)
    name = layer.removeprefix("conv") + origins.in_brackets(layer, mined.origins)
    text = f"Layer {name}: {len(numbers)} of {len(dead)} maps"
    if dead.any():
        text += f" ({dead.sum()} dead)"
    text += f", each unit sees {by(sides)} pixels"
    beyond = all(side > photo for side, photo in zip(sides, mined.about["crop"], strict=True))
    return text + (", more than a whole photo" if beyond else "")
