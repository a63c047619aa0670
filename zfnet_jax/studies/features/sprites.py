"""Sprite sheets: the winners of many maps in one picture file, so that a page loads few files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from zfnet_jax.report.tiles import projection_tile

CONTRAST = 99  # percentile of a projection's absolute values that becomes white or black
LARGEST_SIDE = 80  # pixels of a tile; larger ones are scaled down
EXACT_SIDE = 32  # tiles up to here are stored without loss: blur would be all that one sees
QUALITY = 75  # of WebP, for the others
GREY = (128, 128, 128)


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Where things lie in a layer's sheets: maps in rows and columns, each a grid of its winners.

    Attributes:
      side: pixels of a tile; one that is not square lies in the middle of a grey one that is.
      grid: tiles along each side of a map's block; the k-th winner stands at divmod(k, grid).
      columns, rows: of blocks in every sheet, whether it is full or not.
    """

    side: int
    grid: int
    columns: int = 8
    rows: int = 4

    @classmethod
    def of(cls, winners: int, size: int) -> Sheet:
        """The sheet for K winners whose pictures have `size` pixels along the longer side."""
        return cls(side=min(size, LARGEST_SIDE), grid=math.isqrt(winners - 1) + 1)

    @property
    def maps(self) -> int:
        """Maps in one sheet."""
        return self.columns * self.rows

    @property
    def exact(self) -> bool:
        """Whether the tiles are stored pixel by pixel."""
        return self.side <= EXACT_SIDE


def write_sheets(sheet: Sheet, maps: Iterable[np.ndarray], stem: Path) -> int:
    """Writes the sheets of a layer: `stem`-0.webp, `stem`-1.webp, ...

    Args:
      maps: per map the tiles of its winners, [K, h, w, C] uint8.

    Returns:
      The number of files.
    """
    block = sheet.side * sheet.grid
    canvas: Image.Image | None = None
    count = 0
    for number, tiles in enumerate(maps):
        index, place = divmod(number, sheet.maps)
        if canvas is None or place == 0:
            if canvas:
                _write(sheet, canvas, stem, index - 1)
            canvas = Image.new("RGB", (block * sheet.columns, block * sheet.rows), GREY)
            count += 1
        row, column = divmod(place, sheet.columns)
        for k, tile in enumerate(tiles):
            y, x = divmod(k, sheet.grid)
            corner = column * block + x * sheet.side, row * block + y * sheet.side
            canvas.paste(scaled(tile, sheet.side), corner)
    if canvas:
        _write(sheet, canvas, stem, count - 1)
    return count


def projection_tiles(sheet: Sheet, projections: np.ndarray) -> np.ndarray:
    """Projections [K, h, w, C], each in its own contrast about grey, as uint8; the longer side of
    what is returned has at most `side` pixels.

    They are scaled down before the contrast is found: the fine grain of a projection averages
    out, and what remains would be dull.
    """
    small = [_scaled_down(one.astype(np.float32), sheet.side) for one in projections]
    tiles = np.stack([projection_tile(one, CONTRAST) for one in small])
    return np.round(255 * tiles).astype(np.uint8)


def as_picture(pixels: np.ndarray) -> Image.Image:
    """Pixels [h, w, 3], or [h, w, 1] of grey data, as an RGB picture."""
    return Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _scaled_down(projection: np.ndarray, side: int) -> np.ndarray:
    size = _size(projection, side)
    if projection.shape[1::-1] == size:
        return projection
    channels = [Image.fromarray(projection[..., c]) for c in range(projection.shape[-1])]
    small = [np.asarray(c.resize(size, Image.Resampling.LANCZOS)) for c in channels]
    return np.stack(small, axis=-1)


def scaled(tile: np.ndarray, side: int) -> Image.Image:
    image, size = as_picture(tile), _size(tile, side)
    image = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
    if size == (side, side):
        return image
    ground = Image.new("RGB", (side, side), GREY)
    ground.paste(image, ((side - size[0]) // 2, (side - size[1]) // 2))
    return ground


def _size(tile: np.ndarray, side: int) -> tuple[int, int]:
    """Width and height of a tile [h, w, C] whose longer side has `side` pixels."""
    height, width = tile.shape[:2]
    longer = max(height, width)
    return max(1, round(side * width / longer)), max(1, round(side * height / longer))


def _write(sheet: Sheet, canvas: Image.Image, stem: Path, index: int) -> None:
    canvas.save(
        stem.with_name(f"{stem.name}-{index}.webp"), lossless=sheet.exact, quality=QUALITY, method=4
    )
