"""Confidence intervals of mean errors, and of differences of them.

What varies is counted where it was seen: the images, and the trainings of a row where there are
several seeds of it. Both are taken as drawn at random, each image answered by each net: the crossed
random effects of a two-way analysis of variance, whose variances add up, and Student's t with the
degrees of freedom of Satterthwaite (1946). With three seeds these are few, and the interval wide.
Of one training nothing can be known of seeds: its interval holds for that net alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special


class Interval(NamedTuple):
    """A mean and its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Of a difference: whether the interval leaves no doubt of its sign."""
        return self.low > 0 or self.high < 0


def interval(values: np.ndarray, level: float) -> Interval:
    """Of the mean of values.

    Args:
      values: [N], one for each image, or [S, N], of S trainings.
      level: such as 0.95.

    Returns:
      Never beyond the least and the largest value. One image has no spread: its own value, three
      times.

    Raises:
      ValueError: there is no value, or the level is not between 0 and 1.
    """
    return _interval([(1, values)], level)


def of_trainings(values: Sequence[float], level: float) -> Interval:
    """Of the mean of what was measured once of each of several trainings.

    Raises:
      ValueError: there are fewer than two, or the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"no interval at level {level}")
    if len(values) < 2:
        raise ValueError(f"an interval over trainings needs two or more, not {len(values)}")
    value, count = float(np.mean(values)), len(values)
    deviation = float(np.std(values, ddof=1))
    half = float(special.stdtrit(count - 1, (1 + level) / 2)) * deviation / count**0.5
    return Interval(*np.round([value, value - half, value + half], 12).tolist())


def difference(here: np.ndarray, there: np.ndarray, level: float, comparisons: int = 1) -> Interval:
    """Of the mean of `here` less that of `there`, image by image.

    Args:
      here: [N] or [S, N], as in `interval`.
      there: [N] or [T, N], of the same images, other trainings.
      level: with which all of several intervals hold at once.
      comparisons: how many there are (Bonferroni).

    Raises:
      ValueError: as in `interval`.
    """
    return _interval([(1, here), (-1, there)], 1 - (1 - level) / comparisons)


def _interval(terms: list[tuple[int, np.ndarray]], level: float) -> Interval:
    """Of the sum of signs times means."""
    if not 0 < level < 1:
        raise ValueError(f"no interval at level {level}")
    of_images, least, most = 0.0, 0.0, 0.0
    parts: list[tuple[float, int]] = []  # of the variance, with their degrees of freedom
    for sign, values in terms:
        values = np.asarray(values, np.float64)
        if values.ndim not in (1, 2) or not values.size:
            raise ValueError(f"an interval needs values of at least one image, not {values.shape}")
        values = values.reshape(-1, values.shape[-1])
        of_images = of_images + sign * values.mean(axis=0)
        ends = np.sort([sign * values.min(), sign * values.max()])
        least, most = least + ends[0], most + ends[1]
        parts += _of_seeds(values)
    count = np.size(of_images)
    value = float(np.mean(of_images))
    if count == 1:
        return Interval(value, value, value)
    parts.append((float(np.var(of_images, ddof=1)) / count, count - 1))
    # What is subtracted is an estimate too: never below the largest part alone.
    variance = max(sum(part for part, _ in parts), *(part for part, _ in parts))
    half = 0.0
    if variance > 0:
        freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts)
        half = float(special.stdtrit(freedom, (1 + level) / 2)) * variance**0.5
    low, high = np.clip([value - half, value + half], least, most)
    # Sums that are zero but for rounding must not decide a sign.
    return Interval(*np.round([value, low, high], 12).tolist())


def _of_seeds(values: np.ndarray) -> list[tuple[float, int]]:
    """Parts of a mean's variance that several trainings [S, N] add to that of the images' means:
    how the trainings differ, less what an image's answers vary by themselves, which both hold."""
    seeds, images = values.shape
    if seeds == 1 or images == 1:
        return []
    of_seeds = values.mean(axis=1, keepdims=True)
    rest = values - values.mean(axis=0) - of_seeds + values.mean()
    freedom = (seeds - 1) * (images - 1)
    return [
        (float(of_seeds.var(ddof=1)) / seeds, seeds - 1),
        (-float((rest**2).sum()) / freedom / (seeds * images), freedom),
    ]
