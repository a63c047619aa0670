"""Arrays as PNG files."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from zfnet_jax.report.figures import CONTRAST
from zfnet_jax.report.tiles import projection_tile
from zfnet_jax.studies.features import sprites
from zfnet_jax.studies.features.winners import Winners

LARGEST_MAP = 56  # pixels along the longer side of a map in a strip; larger ones are scaled down
STRIP_WIDTH = 2048  # pixels that the tiles of a strip's row fill at most
_COMPRESSION = 1  # of zlib: pictures are for this machine


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()


def photo(pixels: np.ndarray) -> bytes:
    """Pixels [H, W, C] uint8."""
    return png(sprites.as_picture(pixels))


def projection(pixels: np.ndarray) -> bytes:
    """A projection [h, w, C] in its own contrast about grey, as `zfnet_jax.picture`."""
    tile = projection_tile(pixels, CONTRAST)
    return photo(np.round(255 * tile).astype(np.uint8))


def strip_layout(maps: tuple[int, int, int]) -> tuple[int, tuple[int, int]]:
    """Tiles in a row, and rows and columns of pixels of each, of [h, w, M] maps."""
    height, width, count = maps
    factor = min(1.0, LARGEST_MAP / max(height, width))
    tile = max(1, round(height * factor)), max(1, round(width * factor))
    return max(1, min(count, STRIP_WIDTH // tile[1])), tile


def strip(maps: np.ndarray) -> bytes:
    """Maps [h, w, M], each from 0 to its largest value, side by side."""
    columns, (height, width) = strip_layout(maps.shape)
    rows = -(-maps.shape[2] // columns)
    sheet = np.zeros((rows, height, columns, width), np.uint8)
    peaks = maps.max(axis=(0, 1))
    shown = np.clip(maps / np.where(peaks > 0, peaks, 1), 0, 1) * np.float32(255)
    for place, tile in enumerate(np.moveaxis(shown, 2, 0)):
        if tile.shape != (height, width):
            small = Image.fromarray(tile).resize((width, height), Image.Resampling.BOX)
            tile = np.asarray(small)
        sheet[place // columns, :, place % columns] = tile.round().astype(np.uint8)
    return png(Image.fromarray(sheet.reshape(rows * height, columns * width)))


def winners_across(mined: Winners, layer: str) -> int:
    """Places in a row of the square of a map's winners, those that are not taken included."""
    return math.isqrt(mined.winners[f"{layer}/image"].shape[1] - 1) + 1


def winners(mined: Winners, layer: str, number: int, projected: bool) -> bytes:
    """The winners of a map in a square, their patches or their projections, as in the atlas."""
    sides = mined.patches[f"{layer}/patch"].shape[2:4]
    count = len(mined.winners[f"{layer}/image"][number])
    sheet = sprites.Sheet.of(count, max(sides))
    if projected:
        tiles = sprites.projection_tiles(sheet, mined.projection(layer, number))
    else:
        tiles = mined.patches[f"{layer}/patch"][number]
    grid = winners_across(mined, layer)
    canvas = Image.new("RGB", (sheet.side * grid, sheet.side * grid), sprites.GREY)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, grid)
        canvas.paste(sprites.scaled(tile, sheet.side), (column * sheet.side, row * sheet.side))
    return png(canvas)
