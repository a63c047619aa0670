"""Photos that two sets share, by normalised correlation of small images (Section 5.2).

The paper removes from training what ImageNet has in common with Caltech, by 'normalised
correlation', and says no more. Here every photo becomes small grey images: the whole of it and six
windows, each scaled to SIDE x SIDE pixels, less its local mean (a box of LOCAL pixels), of length
1. The score of two photos is the highest correlation of the whole of one with any window of the
other, so that a crop is found in the photo it was cut from, whichever set holds it.

What that is for. Without the local mean, bright skies over dark ground make unrelated photos alike.
Without windows a photo is far from its own crop of 8% a side. And photos that keep next to no
contrast once the local mean is off (a plain wall, a smooth gradient) would match each other by
their noise: they match nothing, and are counted.

Mirror images, and crops far off the centre, are not found.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfnet_jax import parallel, tasks

SIDE = 16  # pixels of a small image
LOCAL = 5  # pixels of the box whose mean is taken off
MIN_CONTRAST = 0.5  # root mean square of a small image less its local mean, grey levels of 255

# (share of each side, top, left), the latter two as shares of what the window leaves over.
WINDOWS = (
    (1.0, 0.5, 0.5),
    (0.92, 0.5, 0.5),
    (0.84, 0.5, 0.5),
    (0.92, 0.0, 0.0),
    (0.92, 0.0, 1.0),
    (0.92, 1.0, 0.0),
    (0.92, 1.0, 1.0),
)

BLOCK = 2048  # photos of either set compared at a time: about 60 MB per device
MOST_PAIRS = 5_000_000
_GREY = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True)
class Pairs:
    """What two sets share, P pairs by falling score.

    Attributes:
      rows: `[P, 2]` int64, the photos, of the first set and of the second.
      score: `[P]` float32, correlations.
      windows: `[P, 2]` int64, which of WINDOWS of each correlate so; one of the two is the whole.
      best: the highest score of every photo of the first set, and of the second; at least 0.
    """

    rows: np.ndarray
    score: np.ndarray
    windows: np.ndarray
    best: tuple[np.ndarray, np.ndarray]

    def __len__(self) -> int:
        return len(self.score)


def features(batches: Iterable[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """Small images of all windows of a set of photos, 3.5 KB a photo, in every process.

    Args:
      batches: rows `[b]` and photos `[b, S, S, 3]` uint8, this process's share of the set; only the
        last batch may be smaller.
      count: N, photos in the set.

    Returns:
      `[N, W, SIDE * SIDE]` float16, each of length 1. Zeros, which match nothing, for photos
      without contrast and for rows that are in no batch.
    """
    result = np.zeros((count, len(WINDOWS), SIDE * SIDE), np.float16)

    def own() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        size = 0
        for rows, images in batches:
            size = size or _multiple(len(rows), len(parallel.local_devices()))
            made = np.asarray(_small_images(parallel.split_rows(_filled(images, size))))
            yield rows, made.reshape(size, *result.shape[1:])[: len(rows)]

    for rows, made in parallel.of_all(own()):
        result[rows] = made
    return result


def find_pairs(first: np.ndarray, second: np.ndarray | None, threshold: float) -> Pairs:
    """All pairs whose score reaches a threshold, compared in blocks on all devices.

    Args:
      first: `[N, W, D]`, of `features`.
      second: `[M, W, D]`; None for the pairs within `first`, each once and none with itself.
      threshold: from 0 to 1.

    Raises:
      ValueError: the threshold is out of range, or so low that there are too many pairs.
    """
    check_threshold(threshold)
    within = second is None
    other = first if within else second
    best = np.zeros(len(first), np.float32), np.zeros(len(other), np.float32)
    found_rows, found_scores, found = [], [], 0
    starts = [
        (i, j)
        for i in range(0, len(first), BLOCK)
        for j in range(0, len(other), BLOCK)
        if not within or j + BLOCK > i
    ]

    def compare(start: tuple[int, int]) -> _Compared:
        return _compared(first, other, start, within, threshold)

    for (i, j), (rows, scores, row_best, column_best) in zip(starts, tasks.dealt(starts, compare)):
        _raise_to(best[0], i, row_best)
        _raise_to(best[1], j, column_best)
        found_rows.append(rows)
        found_scores.append(scores)
        found += len(rows)
        if found > MOST_PAIRS:
            raise ValueError(f"over {MOST_PAIRS} pairs score {threshold} or more: raise it")
    if within:
        best = (np.maximum(*best),) * 2
    rows = np.concatenate([np.empty((0, 2), np.int64), *found_rows])
    score = np.concatenate([np.empty(0, np.float32), *found_scores])
    order = np.lexsort((rows[:, 1], rows[:, 0], -score))
    rows = rows[order]
    return Pairs(rows, score[order], score_pairs(first, other, rows)[1], best)


def score_pairs(
    first: np.ndarray, second: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores `[P]` of given pairs `[P, 2]`, and which windows `[P, 2]` of each correlate so.

    Where it is a tie these are the largest.
    """
    count = len(WINDOWS)
    choices = np.array([(0, w) for w in range(count)] + [(w, 0) for w in range(1, count)])
    scores, windows = np.empty(len(rows), np.float32), np.empty((len(rows), 2), np.int64)
    for begin in range(0, len(rows), BLOCK):
        part = slice(begin, begin + BLOCK)
        x, y = (small[rows[part, n]].astype(np.float32) for n, small in enumerate((first, second)))
        whole_first = np.einsum("pf,pwf->pw", x[:, 0], y)
        whole_second = np.einsum("pwf,pf->pw", x[:, 1:], y[:, 0])
        every = np.concatenate([whole_first, whole_second], axis=1)
        scores[part], windows[part] = every.max(axis=1), choices[every.argmax(axis=1)]
    return scores, windows


def check_threshold(threshold: float) -> None:
    """ValueError unless it is from 0, which everything reaches, to 1."""
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold must be above 0 and at most 1, not {threshold:g}")


def without_contrast(small: np.ndarray) -> np.ndarray:
    """Rows of `features` that match nothing."""
    return np.flatnonzero(~small[:, 0].any(axis=1))


def redundant(rows: np.ndarray) -> np.ndarray:
    """Of pairs `[P, 2]` within one set, the photos without which no pair is left.

    The first of several photos that match stays: each that goes matches an earlier one that stays.
    """
    gone: set[int] = set()
    for low, high in sorted((max(pair), min(pair)) for pair in rows.tolist()):
        if high not in gone:
            gone.add(low)
    return np.array(sorted(gone), np.int64)


@jax.jit
def _small_images(images: jax.Array) -> jax.Array:
    """[..., S, S, 3] uint8 to [..., W, SIDE * SIDE] float16."""
    grey = jnp.tensordot(images.astype(jnp.float32), jnp.array(_GREY), 1, precision="highest")
    made = []
    for share, top, left in WINDOWS:
        down, across = (_resizing(images.shape[-2], share, place) for place in (top, left))
        small = jnp.einsum("as,...st,bt->...ab", down, grey, across, precision="highest")
        rest = small - _local_mean(small)
        rest = rest - rest.mean(axis=(-2, -1), keepdims=True)
        made.append(rest.reshape(*rest.shape[:-2], SIDE * SIDE))
    stacked = jnp.stack(made, axis=-2)
    length = jnp.linalg.norm(stacked, axis=-1, keepdims=True)
    enough = length >= MIN_CONTRAST * SIDE
    enough &= enough[..., :1, :]  # where the whole has none, its windows do not count either
    return jnp.where(enough, stacked / jnp.maximum(length, 1e-6), 0).astype(jnp.float16)


def _resizing(size: int, share: float, place: float) -> np.ndarray:
    """[SIDE, size]: a window of a line of `size` pixels to SIDE, by a triangle filter."""
    step = size * share / SIDE
    centre = size * (1 - share) * place + (np.arange(SIDE) + 0.5) * step
    distance = np.abs(np.arange(size) + 0.5 - centre[:, None])
    weight = np.maximum(0, 1 - distance / max(step, 1))
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def _local_mean(small: jax.Array) -> jax.Array:
    """[..., SIDE, SIDE]: the mean of a box around each pixel.

    Beyond the border the image goes on point-reflected: a smooth gradient is its own local mean.
    """
    reach = LOCAL // 2
    pad = [(0, 0)] * (small.ndim - 2) + [(reach, reach)] * 2
    padded = jnp.pad(small, pad, mode="reflect", reflect_type="odd")
    views = [padded[..., i : i + SIDE, j : j + SIDE] for i in range(LOCAL) for j in range(LOCAL)]
    return sum(views, jnp.zeros((), small.dtype)) / (LOCAL * LOCAL)


class _Compared(NamedTuple):
    """Pairs of two blocks that reach the threshold, `[P, 2]` and `[P]`; the best of each photo."""

    rows: np.ndarray
    scores: np.ndarray
    row_best: np.ndarray
    column_best: np.ndarray


def _compared(
    first: np.ndarray, second: np.ndarray, start: tuple[int, int], within: bool, threshold: float
) -> _Compared:
    """Compares the blocks that begin at the photos `start` of either set."""
    blocks = [
        _filled(small[begin : begin + BLOCK], min(BLOCK, len(small)))
        for small, begin in zip((first, second), start)
    ]
    scores, *best = _compare(*blocks, np.int32(start[0] - start[1]), within)
    row_best, column_best = map(np.asarray, best)
    hits, reached = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    if row_best.max() >= threshold:  # else the scores stay on the device
        block = np.asarray(scores)
        hits = np.argwhere(block >= threshold)
        reached = block[tuple(hits.T)]
    return _Compared(hits + start, reached, row_best, column_best)


@functools.partial(jax.jit, static_argnames="within")
def _compare(
    first: jax.Array, second: jax.Array, start: jax.Array, within: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scores [n, m] of [n, W, D] and [m, W, D], and their row and column maxima.

    Args:
      start: what the numbers of the first photo of the first and of the second block differ by;
        `within` a set every pair counts once, where the second number is the higher.
    """
    first, second = first.astype(jnp.float32), second.astype(jnp.float32)
    products = [
        jnp.einsum("nf,mf->nm", first[:, one], second[:, other], precision=lax.Precision.HIGHEST)
        for w in range(len(WINDOWS))
        for one, other in {(0, w), (w, 0)}
    ]
    scores = functools.reduce(jnp.maximum, products)
    if within:
        rows, columns = (jnp.arange(size) for size in scores.shape)
        scores = jnp.where(columns > rows[:, None] + start, scores, -1)
    return scores, scores.max(axis=1), scores.max(axis=0)


def _raise_to(best: np.ndarray, start: int, values: np.ndarray) -> None:
    """Maxima of a block into those of the set; the block's padding is left out."""
    part = best[start : start + len(values)]
    np.maximum(part, values[: len(part)], out=part)


def _filled(array: np.ndarray, length: int) -> np.ndarray:
    """Zeros after the last row, up to `length` rows."""
    if len(array) == length:
        return array
    return np.concatenate([array, np.zeros((length - len(array), *array.shape[1:]), array.dtype)])


def _multiple(count: int, of: int) -> int:
    return math.ceil(count / of) * of
