"""Overlap of two sets of photos on disk: what `overlap` finds, with keys and provenance."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from zfnet_jax.data.photo_set import PhotoSet, open_photo_set
from zfnet_jax.runs import workdir
from zfnet_jax.studies.overlap import measure as overlap
from zfnet_jax.studies.overlap.measure import WINDOWS, Pairs

DECODED = 64  # side of decoded photos; the small images are of 16
BATCH = 256  # photos made small at a time
BINS = 100  # of best scores from 0 to 1


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What two sets share.

    Attributes:
      sets: the photos of both; of a set with itself, the same twice.
      small: their `overlap.features`.
      pairs: rows and scores.
      found: all of it as JSON values, see `search`.
      seconds: what took how long.
    """

    sets: tuple[PhotoSet, PhotoSet]
    small: tuple[np.ndarray, np.ndarray]
    pairs: Pairs
    found: dict[str, Any]
    seconds: dict[str, float]


def search(
    first: str | Path, second: str | Path, *, threshold: float, workers: int, progress: bool
) -> Overlap:
    """Finds the photos that two folders share; the same folder twice: those it holds twice.

    Args:
      first, second: see `photo_set.open_photo_set`; the first is what one trains on.
      threshold: correlation from which on two photos are one.
      workers: decoding processes.

    Returns:
      `found` holds 'threshold', 'within' (a set with itself), 'windows' ([share of each side, top,
      left], the latter two as shares of the rest), 'versions', for 'a' and 'b' {'folder', 'photos',
      'fingerprint', 'without_contrast' (keys), 'unreadable' (reasons by key)}, 'best_scores' (how
      many photos of b have which best score: counts in equal bins from 0 to 1), 'exclude' (keys of
      a) and 'pairs' {'a', 'b' (keys), 'score', 'window_a', 'window_b'} by falling score.

    Raises:
      FileNotFoundError, ValueError: a folder holds no photos, or the threshold is wrong.
    """
    overlap.check_threshold(threshold)
    within = Path(first).resolve() == Path(second).resolve()
    one = open_photo_set(first, side=DECODED, workers=workers)
    other = one if within else open_photo_set(second, side=DECODED, workers=workers)
    began = time.monotonic()
    small_one = _features(one, str(first), progress)
    small_other = small_one if within else _features(other, str(second), progress)
    read = time.monotonic()
    pairs = overlap.find_pairs(small_one, None if within else small_other, threshold)
    compared = time.monotonic()
    rows = overlap.redundant(pairs.rows) if within else np.unique(pairs.rows[:, 0])
    found = {
        "threshold": threshold,
        "within": within,
        "windows": WINDOWS,
        "versions": workdir.versions(),
        "a": _describe(one, first, small_one),
        "b": _describe(other, second, small_other),
        "best_scores": np.histogram(pairs.best[1].clip(0, 1), BINS, (0, 1))[0].tolist(),
        "exclude": [one.keys[row] for row in rows],
        "pairs": [
            {
                "a": one.keys[a],
                "b": other.keys[b],
                "score": round(float(score), 4),
                "window_a": WINDOWS[window_a],
                "window_b": WINDOWS[window_b],
            }
            for (a, b), score, (window_a, window_b) in zip(pairs.rows, pairs.score, pairs.windows)
        ],
    }
    seconds = {"read": read - began, "compare": compared - read}
    return Overlap((one, other), (small_one, small_other), pairs, found, seconds)


def _features(photos: PhotoSet, name: str, progress: bool) -> np.ndarray:
    with tqdm(total=len(photos.keys), desc=name, unit=" photos", disable=not progress) as bar:

        def counted() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for rows, images in photos.batches(BATCH):
                yield rows, images
                bar.update(len(rows))

        return overlap.features(counted(), len(photos.keys))


def _describe(photos: PhotoSet, folder: str | Path, small: np.ndarray) -> dict[str, Any]:
    plain = [photos.keys[row] for row in overlap.without_contrast(small)]
    return {
        "folder": str(folder),
        "photos": len(photos.keys),
        "fingerprint": photos.fingerprint,
        "without_contrast": [key for key in plain if key not in photos.unreadable],
        "unreadable": photos.unreadable,
    }
