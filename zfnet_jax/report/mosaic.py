"""Many small tiles as one image."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from zfnet_jax.report.tiles import GREY

GAP = 0.03  # between tiles, as a share of a tile's side
WHITE = 3.0  # times the RMS of a layer's largest filter is white, and its negative black


def shrink(tile: np.ndarray, side: int) -> np.ndarray:
    """A tile [h, w, C] float as means, `side` of them along its longer side, or as it is if it is
    no larger.

    A projection is shrunk before it gets its contrast: fine detail that averages out would leave
    it grey otherwise.
    """
    longer = max(tile.shape[:2])
    if longer <= side:
        return tile
    height, width = (max(1, round(side * n / longer)) for n in tile.shape[:2])
    channels = [
        Image.fromarray(np.ascontiguousarray(channel, np.float32)).resize(
            (width, height), Image.Resampling.BOX
        )
        for channel in np.moveaxis(tile, 2, 0)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)


def even_columns(count: int) -> int:
    """Columns for `count` tiles: a little wider than high, and no row shorter if possible."""
    square = math.isqrt(count - 1) + 1
    dividing = [columns for columns in range(square, 2 * square) if count % columns == 0]
    return dividing[0] if dividing else math.ceil(math.sqrt(1.5 * count))


def mosaic(tiles: np.ndarray, columns: int | None = None, finest: int = 48) -> np.ndarray:
    """Tiles side by side, row by row, with white gaps; square if `columns` is None.

    Args:
      tiles: [N, h, w, 3], float in [0, 1] or uint8.
      columns: tiles in a row.
      finest: smaller tiles are enlarged, pixel by pixel, until their longer side has so many, so
        that the gaps stay narrow.

    Returns:
      [H, W, 3] float in [0, 1].
    """
    if tiles.dtype == np.uint8:
        tiles = tiles / 255
    count, side = len(tiles), max(tiles.shape[1:3])
    columns = columns or math.isqrt(count - 1) + 1
    rows = -(-count // columns)
    times = -(-finest // side)
    tiles = tiles.repeat(times, axis=1).repeat(times, axis=2)
    gap = max(1, round(GAP * side * times))
    height, width = tiles.shape[1:3]
    image = np.ones((rows * (height + gap), columns * (width + gap), 3))
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        y, x = row * (height + gap), column * (width + gap)
        image[y : y + height, x : x + width] = tile
    return image[:-gap, :-gap]


def filter_mosaic(filters: np.ndarray) -> np.ndarray:
    """The filters of a first layer, [M, k, k, 3], in one contrast: one that dominates shows.

    Returns:
      [H, W, 3] float in [0, 1].
    """
    largest = np.sqrt(np.square(filters, dtype=np.float64).mean(axis=(1, 2, 3)).max())
    tiles = np.clip(GREY + GREY * filters / max(WHITE * largest, 1e-30), 0, 1)
    return mosaic(tiles, columns=even_columns(len(tiles)), finest=40)
