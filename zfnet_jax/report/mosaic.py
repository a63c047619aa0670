"""Many small tiles as one image."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from zfnet_jax.report.tiles import GREY

GAP = 0.03  # between tiles, as a share of a tile's side
WHITE = 3.0  # times the RMS of a layer's largest filter is white, and its negative black


def shrink(tile: np.ndarray, side: int) -> np.ndarray:
    """A square tile [s, s, C] float as [side, side, C] means, or as it is if it is no larger.

    A projection is shrunk before it gets its contrast: fine detail that averages out would leave
    it grey otherwise.
    """
    if tile.shape[0] <= side:
        return tile
    channels = [
        Image.fromarray(np.ascontiguousarray(channel, np.float32)).resize(
            (side, side), Image.Resampling.BOX
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
    """Tiles side by side, row by row, with white gaps; a square of them if `columns` is None.

    Args:
      tiles: [N, s, s, 3], float in [0, 1] or uint8.
      columns: tiles in a row.
      finest: smaller tiles are enlarged, pixel by pixel, to at least this side, so that the gaps
        stay narrow.

    Returns:
      [H, W, 3] float in [0, 1].
    """
    if tiles.dtype == np.uint8:
        tiles = tiles / 255
    count, side = tiles.shape[:2]
    columns = columns or math.isqrt(count - 1) + 1
    rows = -(-count // columns)
    times = -(-finest // side)
    tiles = tiles.repeat(times, axis=1).repeat(times, axis=2)
    side *= times
    step = side + max(1, round(GAP * side))
    image = np.ones((rows * step, columns * step, 3))
    for place, tile in enumerate(tiles):
        y, x = (part * step for part in divmod(place, columns))
        image[y : y + side, x : x + side] = tile
    return image[: (rows - 1) * step + side, : (columns - 1) * step + side]


def filter_mosaic(filters: np.ndarray) -> np.ndarray:
    """The filters of a first layer, [M, k, k, 3], in one contrast: one that dominates shows.

    Returns:
      [H, W, 3] float in [0, 1].
    """
    largest = np.sqrt(np.square(filters, dtype=np.float64).mean(axis=(1, 2, 3)).max())
    tiles = np.clip(GREY + GREY * filters / max(WHITE * largest, 1e-30), 0, 1)
    return mosaic(tiles, columns=even_columns(len(tiles)), finest=40)
