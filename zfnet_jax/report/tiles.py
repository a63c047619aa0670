"""From arrays to pixels that a person can read: contrast and framing of tiles."""

from __future__ import annotations

import numpy as np

GREY = 0.5  # what zero looks like in a projection, and what lies outside a photo


def projection_tile(projection: np.ndarray, percentile: float) -> np.ndarray:
    """A projection in its own contrast, symmetric about grey.

    The given percentile of its absolute values becomes white or black; an empty projection, and
    one that goes beyond float32, is plain grey.

    Args:
      projection: [h, w, C] float, zero where the unit sees nothing.

    Returns:
      [h, w, C] float in [0, 1].
    """
    magnitude = np.abs(projection)
    nonzero = magnitude[magnitude > 0]
    if not nonzero.size or not np.isfinite(magnitude).all():
        return np.full(projection.shape, GREY)
    return np.clip(GREY + GREY * projection / np.percentile(nonzero, percentile), 0, 1)


def moved_inside(window: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A window (top, left, bottom, right) moved inside an image [H, W, ...], or all of the image
    where it is larger: what is left to look at has no padding."""
    top, left, bottom, right = (int(edge) for edge in window)
    height, width = min(bottom - top, shape[0]), min(right - left, shape[1])
    top = min(max(top, 0), shape[0] - height)
    left = min(max(left, 0), shape[1] - width)
    return np.array([top, left, top + height, left + width])


def window_of(image: np.ndarray, window: np.ndarray, fill: float) -> np.ndarray:
    """The part of an image [H, W, C] inside a window (top, left, bottom, right).

    The window may leave the image; what lies outside is `fill`, so that all tiles of a layer
    have one size.
    """
    top, left, bottom, right = (int(edge) for edge in window)
    tile = np.full((bottom - top, right - left, image.shape[2]), fill, image.dtype)
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(bottom, image.shape[0]), min(right, image.shape[1])
    if y0 < y1 and x0 < x1:
        tile[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return tile


def part_inside(tile: np.ndarray, window: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What of a tile [s, s, C], zero where its unit sees nothing, lies inside an image [H, W, ...].

    Args:
      window: where the tile lies, (top, left, bottom, right), which may leave the image.

    Returns:
      [min(s, H), min(s, W), C], what lies in `moved_inside`: where that leaves the tile it is zero.
    """
    corner = np.array([window[0], window[1]])
    return window_of(tile, moved_inside(window, shape) - np.tile(corner, 2), 0)
