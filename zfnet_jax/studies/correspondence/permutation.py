"""Permutation tests of distances between pairs of images.

Pairs are not exchangeable, as each image is in many of them: what is permuted are an image's
squares, or whole draws.
"""

from __future__ import annotations

import numpy as np


def permute_in_images(
    table: np.ndarray, pairs: np.ndarray, part: int, parts: int, permutations: int, seed: int
) -> float:
    """Permutes the part with the random squares of its own image, in every image apart.

    Args:
      table: [pairs, P + R, P + R], distances of each square in one image to each in the other.
    """
    names = np.array([part, *range(parts, table.shape[1])])
    rng = np.random.default_rng((seed, 1))
    taken = names[rng.integers(0, len(names), (permutations, pairs.max() + 1))]
    total, counted = np.zeros(permutations), np.zeros(permutations)
    for (i, j), distances in zip(pairs, table):
        values = distances[taken[:, i], taken[:, j]]
        there = ~np.isnan(values)
        total += np.where(there, values, 0)
        counted += there
    permuted = np.divide(total, counted, out=np.full(permutations, np.nan), where=counted > 0)
    return p_value(mean_over_pairs(table[:, part, part]), permuted)


def p_value(observed: float | np.ndarray, null: np.ndarray) -> float:
    """Two-sided: twice the share of the null values [K] at or beyond the observed one, at most 1.

    The observed one, a number or [], counts as one of them, so that the test is exact. NaN if
    it, or all of them, are NaN.
    """
    null = null[~np.isnan(null)]
    if np.isnan(observed) or not len(null):
        return float("nan")
    slack = 1e-9  # equal sums may differ by rounding
    below, above = np.sum(null <= observed + slack), np.sum(null >= observed - slack)
    return min(1.0, 2 * (1 + int(min(below, above))) / (1 + len(null)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values [K] of a family of tests, so corrected that the chance of even one below alpha is at
    most alpha where nothing is to be found (Holm 1979). NaN is no test and stays NaN."""
    result = np.full(p_values.shape, np.nan)
    order = np.argsort(p_values)[: np.sum(~np.isnan(p_values))]
    left = np.arange(len(order), 0, -1)
    result[order] = np.minimum(1, np.maximum.accumulate(left * p_values[order]))
    return result


def mean_over_pairs(distances: np.ndarray) -> np.ndarray:
    """Over pairs [..., pairs], leaving NaN out, in float64."""
    there = ~np.isnan(distances)
    total, count = np.where(there, distances, 0).sum(-1, dtype=np.float64), there.sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
