"""Intervals of errors: they hold the truth as often as they say, with several seeds too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from zfnet_jax.studies.intervals import difference, interval, of_trainings


def trained(
    rng: np.random.Generator, seeds: int, images: np.ndarray, of_seeds: float
) -> np.ndarray:
    """Errors [S, N] of nets whose true error differs by `of_seeds` from seed to seed; `images` is
    how much harder each is than others."""
    harder = 0.4 + images + of_seeds * rng.standard_normal((seeds, 1))
    return (rng.random((seeds, len(images))) < harder).astype(float)


def slow_bootstrap(first: np.ndarray, second: np.ndarray, resamples: int) -> list[float]:
    """Draws images one by one, the same for both, and sorts the differences of the means."""
    rng, differences = np.random.default_rng(7), []
    for _ in range(resamples):
        drawn = rng.integers(0, len(first), len(first))
        differences.append(first[drawn].mean() - second[drawn].mean())
    differences.sort()
    return [differences[round(share * (resamples - 1))] for share in (0.025, 0.5, 0.975)]


@pytest.mark.parametrize("kind", ["errors", "losses"])
def test_of_one_training_it_is_that_of_drawing_image_by_image(kind):
    rng = np.random.default_rng(1)
    first = rng.random(200) < 0.3
    second = np.where(rng.random(200) < 0.8, first, rng.random(200) < 0.2)
    if kind == "losses":
        first, second = first + rng.random(200), second + rng.random(200)
    first, second = first.astype(float), second.astype(float)
    low, middle, high = slow_bootstrap(first, second, 6000)
    found = difference(first, second, 0.95)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.value == pytest.approx(middle, abs=0.005)
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))


def test_where_images_do_not_differ_it_is_students_of_the_seeds():
    means = np.array([0.2, 0.25, 0.4, 0.3])
    found = interval(np.repeat(means[:, None], 50, axis=1), 0.6)
    assert found == pytest.approx(
        (means.mean(), *stats.t.interval(0.6, 3, means.mean(), stats.sem(means)))
    )


@pytest.mark.parametrize(("seeds", "of_seeds"), [(1, 0.0), (3, 0.0), (3, 0.05), (5, 0.02)])
def test_it_holds_the_truth_as_often_as_it_says(seeds, of_seeds):
    rng, held, trials = np.random.default_rng(0), 0, 600
    for _ in range(trials):
        values = trained(rng, seeds, 0.25 * rng.uniform(-1, 1, 300), of_seeds)
        _, low, high = interval(values, 0.9)
        held += low <= 0.4 <= high
    assert 0.87 < held / trials < 0.97


def test_a_difference_holds_it_too_and_one_of_photos_alone_does_not():
    """Two rows of nets as good as each other, three seeds each, on the same images."""
    rng, counted, ignored, trials = np.random.default_rng(0), 0, 0, 600
    for _ in range(trials):
        images = 0.25 * rng.uniform(-1, 1, 300)
        here, there = (trained(rng, 3, images, 0.05) for _ in range(2))
        counted += not difference(here, there, 0.9).decided
        ignored += not difference(here[0], there[0], 0.9).decided
    assert 0.87 < counted / trials < 0.97
    assert ignored / trials < 0.75


def test_all_of_many_comparisons_hold_at_once():
    rng, held, trials, count = np.random.default_rng(0), 0, 400, 12
    for _ in range(trials):
        here, there = rng.random((count, 2, 200)).swapaxes(0, 1) < 0.3
        found = [difference(*pair, 0.9, comparisons=count) for pair in zip(here, there)]
        held += not any(one.decided for one in found)
    assert 0.87 < held / trials < 0.97


def test_a_difference_is_decided_only_where_zero_is_outside():
    rng = np.random.default_rng(0)

    def found(values: np.ndarray) -> bool:
        return interval(values, 0.95).decided

    assert found(rng.normal(1, 1, 100))
    assert found(rng.normal(-1, 1, 100))
    assert not found(np.tile([1.0, -1.0], 50))
    assert not found(np.zeros(10))
    # Thirds that cancel leave rounding, not a sign.
    assert not found(np.array([0.1 + 0.2 - 0.3] * 10))


def test_no_error_is_below_none_or_above_all():
    values = np.zeros(200)
    values[0] = 1
    found = interval(values, 0.95)
    assert found.low == 0
    assert interval(1 - values, 0.95).high == 1
    assert interval(np.ones(5), 0.95) == (1, 1, 1)
    assert interval(np.ones((2, 1)), 0.95) == (1, 1, 1)


@pytest.mark.parametrize(
    ("values", "level"), [(np.zeros(0), 0.95), (np.zeros((2, 2, 2)), 0.95), (np.zeros(3), 1.0)]
)
def test_an_interval_that_cannot_be_is_refused(values, level):
    with pytest.raises(ValueError, match="interval"):
        interval(values, level)


def test_of_trainings_is_students_t():
    found = of_trainings([1.0, 2.0, 4.0, 5.0], 0.9)
    expected = stats.t(3, loc=3, scale=np.std([1, 2, 4, 5], ddof=1) / 2).interval(0.9)
    assert found.value == 3
    np.testing.assert_allclose((found.low, found.high), expected)
    for few in ([], [1.0]):
        with pytest.raises(ValueError, match=f"two or more, not {len(few)}"):
            of_trainings(few, 0.9)
