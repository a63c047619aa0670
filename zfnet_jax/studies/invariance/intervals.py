"""How far the numbers behind Fig. 5 would move with other photos of the same kind.

Medians and fits have no formula for that: photos are drawn anew, with replacement, and all is
computed again (the percentile bootstrap, Efron and Tibshirani 1993). Of the net it is one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zfnet_jax.report.table import Number
from zfnet_jax.studies.invariance.statistics import statistics


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """Of the intervals: their level, how often photos are drawn, and the seed of that."""

    level: float = 0.95
    resamples: int = 400
    seed: int = 0


def with_intervals(arrays: Mapping[str, np.ndarray], options: Bootstrap) -> list[dict[str, Any]]:
    """What `statistics` finds, what depends on the photos as a Number with its interval.

    Args:
      arrays: of N images, as there; of one image nothing varies.
    """
    rng = np.random.default_rng(options.seed)
    count = len(arrays["labels"])
    drawn = [
        statistics(_of_images(arrays, rng.integers(0, count, count)))
        for _ in range(options.resamples)
    ]
    ends = (1 - options.level) / 2, (1 + options.level) / 2
    return _with(statistics(arrays), drawn, ends)


def _of_images(arrays: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """What `statistics` reads, of some images."""
    of_images = ("labels", "class", "probability")
    of_kinds = ("kinds", "layers", "amount")
    result = {}
    for name, array in arrays.items():
        kind = name.rpartition("/")[2]
        if kind in of_images or "/relative/" in name:
            result[name] = array[chosen]
        elif kind in of_kinds:
            result[name] = array
    return result


def _with(found: Any, drawn: Sequence[Any], ends: tuple[float, float]) -> Any:
    if isinstance(found, dict):
        return {
            name: _with(one, [each[name] for each in drawn], ends) for name, one in found.items()
        }
    if isinstance(found, list):
        return [_with(one, [each[at] for each in drawn], ends) for at, one in enumerate(found)]
    if not isinstance(found, float):
        return found
    values = [one for one in drawn if one is not None]  # None: nothing to measure in that draw
    if not np.ptp(values) > 0:
        return found
    low, high = np.quantile(values, ends)
    return Number(found, low=float(low), high=float(high))
