"""Bootstrap confidence intervals of a mean over images.

They say how much a number would change with other images of the same kind. They do not say how
much it would change with another training seed: that takes several trained nets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zfnet_jax.studies.errors.options import Bootstrap

_AT_ONCE = 10_000_000  # counts drawn at once, which bounds the memory


class Interval(NamedTuple):
    """A mean and its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Of a difference: whether the interval leaves no doubt of its sign."""
        return self.low > 0 or self.high < 0


def interval(values: np.ndarray, options: Bootstrap) -> Interval:
    """The percentile bootstrap of the mean of values, one per image (Efron and Tibshirani 1993).

    A paired difference between two sets of predictions is the interval of the images'
    differences: each resample has the same images in both.

    Resampled is how often each distinct value occurs, a multinomial draw: the same distribution as
    drawing image by image, and of values such as 0 and 1 far quicker.

    Args:
      values: [N].
      options: level, such as 0.95; resamples, how many data sets are drawn; seed of the draws.

    Raises:
      ValueError: there is no value, or the level is not between 0 and 1.
    """
    level, resamples = options.level, options.resamples
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"an interval needs values [N] of at least one image, not {values.shape}")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"no interval at level {level} from {resamples} resamples")
    distinct, counts = np.unique(values, return_counts=True)
    rng = np.random.default_rng(options.seed)
    means = []
    chunk = max(1, _AT_ONCE // len(distinct))
    for first in range(0, resamples, chunk):
        size = min(chunk, resamples - first)
        drawn = rng.multinomial(values.size, counts / values.size, size=size)
        means.append(drawn @ distinct / values.size)
    ends = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    # Sums that are zero but for rounding must not decide a sign.
    value, low, high = np.round([values.mean(), *ends], 12).tolist()
    return Interval(value, low, high)
