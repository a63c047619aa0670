"""Grey squares over the parts of an object, and equal ones at random beside them (Fig. 8)."""

from __future__ import annotations

import numpy as np

from zfnet_jax.data.landmarks import PartPhotos

GREY = 128  # of 0..255


def mask_side(mask: float, size: int) -> int:
    """Side of the square in pixels; ValueError unless it is in the image."""
    side = round(mask * size)
    if not 1 <= side < size:
        raise ValueError(
            f"a mask of {mask:g} of an image of {size} pixels is a square of {side} pixels:"
            f" its side must be from 1 to {size - 1}"
        )
    return side


def place_squares(photos: PartPhotos, side: int, draws: int, seed: int) -> dict[str, np.ndarray]:
    """Upper left corners (row, column) of all squares, which are of one size.

    Those of parts are centred on them, or moved inside the image where they would leave it. Random
    ones are uniform over the places inside the object's box that touch no part's square, each draw
    by itself.

    Returns:
      'part' [P, N, 2], 'random' and 'same_place' [R, N, 2].
    """
    size = photos.images.shape[1]
    parts = np.stack(list(photos.parts.values()))
    parts = np.clip(np.rint(parts - side / 2).astype(int), 0, size - side)
    free = np.stack(
        [
            _free_corners(box, own, side, size)
            for box, own in zip(photos.boxes, parts.swapaxes(0, 1))
        ]
    )
    for key, room in zip(photos.keys, free):
        if not room.any():
            raise ValueError(
                f"{key} has no room for a square of {side} pixels inside its object and away from"
                " its parts: make the mask smaller"
            )
    common = free.all(axis=0)
    if not common.any():
        raise ValueError(
            f"no place for a square of {side} pixels is free in all images: make the mask smaller"
        )
    rng = np.random.default_rng((seed, 0))
    return {
        "part": parts,
        "random": np.stack([rng.choice(np.argwhere(room), draws) for room in free], axis=1),
        "same_place": np.repeat(rng.choice(np.argwhere(common), draws)[:, None], len(free), axis=1),
    }


def _free_corners(box: np.ndarray, parts: np.ndarray, side: int, size: int) -> np.ndarray:
    """Where a square may begin: [size - side + 1, size - side + 1] bool."""
    row, column = np.ogrid[: size - side + 1, : size - side + 1]
    top, left, bottom, right = box
    free = (row >= top) & (row + side <= bottom) & (column >= left) & (column + side <= right)
    for part_row, part_column in parts:
        free &= (abs(row - part_row) >= side) | (abs(column - part_column) >= side)
    return free


def cover(images: np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
    """A grey square in each image: [B, S, S, 3] uint8 with corners [B, 2]."""
    images = images.copy()
    for image, (row, column) in zip(images, corners):
        image[row : row + side, column : column + side] = GREY
    return images
