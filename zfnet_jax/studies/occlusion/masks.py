"""Does covering the object cost more than covering the ground? Occlusion against true masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from zfnet_jax.data.images import Split
from zfnet_jax.data.pictures import draw
from zfnet_jax.studies.intervals import interval

Arrays = dict[str, np.ndarray]

LEVEL = 0.95  # of the intervals
COVERS, MISSES = 0.5, 0.1  # shares of a square's pixels: at least, and at most


def pictures_and_masks(split: Split, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Built-in pictures of a split and the masks of their objects, drawn again from their keys.

    Args:
      rows: int [N].

    Returns:
      [N, S, S, 3] uint8 and [N, S, S] bool.

    Raises:
      ValueError: the split does not hold built-in pictures, or other versions of them.
    """
    photos, masks = split.rows(rows), []
    for row, photo in zip(rows, photos, strict=True):
        name, _, seed = split.keys[row].partition("/")
        if not seed.isdigit():
            raise ValueError(f"{split.keys[row]} is no built-in picture: it has no mask")
        picture = draw(name, int(seed), split.image_size)
        if not np.array_equal(picture.image, photo):
            raise ValueError(
                f"{split.keys[row]} is drawn differently now: run python -m scripts.prepare_data"
                " --overwrite, and train again"
            )
        masks.append(picture.mask)
    return photos, np.stack(masks)


def object_shares(
    masks: np.ndarray, rows: np.ndarray, columns: np.ndarray, square: int
) -> np.ndarray:
    """How much of each square is object: [N, H, W] bool, R rows, Q columns to [N, R, Q]."""
    total = np.zeros((len(masks), masks.shape[1] + 1, masks.shape[2] + 1))
    total[:, 1:, 1:] = masks.cumsum(axis=1).cumsum(axis=2)
    top, left = rows[:, None], columns[None]
    inside = (
        total[:, top + square, left + square]
        - total[:, top, left + square]
        - total[:, top + square, left]
        + total[:, top, left]
    )
    return inside / square**2


def against_masks(found: Arrays, masks: np.ndarray) -> dict[str, Any]:
    """Compares squares that cover the object with squares that miss it.

    A square covers the object if at least half of its pixels are the object's, and misses it if at
    most a tenth are. A drop is the uncovered photo's value minus the covered one's.

    Args:
      found: from `occlusion.occlude`, N photos with their true classes as labels.
      masks: [N, H, W] bool, of what the net saw.

    Returns:
      shares and means over images as [value, low, high], an interval over such images at LEVEL, or
      None where there is nothing to compare:
      'images'; 'compared', those with squares of both kinds, and over them 'drop_covered' and
      'drop_missed', the mean over images of the mean drop in probability, and 'share_larger', the
      share of images where the first is larger;
      'strongest_on_object', the share of all images whose strongest drop in activity is at a
      square that covers the object, and 'by_chance', the share of squares that cover it;
      'object_share_at_strongest' and 'object_share', how much of that square and of a mean square
      is object.
    """
    shares = object_shares(masks, found["rows"], found["columns"], int(found["square"]))
    drops = found["whole_probability"][:, None, None] - found["probability"]
    covers, misses = shares >= COVERS, shares <= MISSES
    both = covers.any(axis=(1, 2)) & misses.any(axis=(1, 2))
    covered, missed = (
        np.array([drop[where].mean() for drop, where in zip(drops[both], kind[both], strict=True)])
        for kind in (covers, misses)
    )
    count = len(shares)

    def over_images(values: np.ndarray) -> list[float] | None:
        return list(interval(values, LEVEL)) if values.size else None

    strongest = found["activity"].reshape(count, -1).argmin(axis=1)
    at = np.arange(count)
    return {
        "images": count,
        "compared": int(both.sum()),
        "drop_covered": over_images(covered),
        "drop_missed": over_images(missed),
        "share_larger": over_images(covered > missed),
        "strongest_on_object": over_images(covers.reshape(count, -1)[at, strongest]),
        "by_chance": over_images(covers.mean(axis=(1, 2))),
        "object_share_at_strongest": over_images(shares.reshape(count, -1)[at, strongest]),
        "object_share": over_images(shares.mean(axis=(1, 2))),
    }
