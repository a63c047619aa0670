"""Average precision against the devkit's own steps in plain loops, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from zfnet_jax.studies.transfer.average_precision import average_precision, average_precisions


def slow(scores, presence) -> float:
    """VOCevalcls and VOCap in loops, one threshold after the other instead of one image."""
    total = sum(code == 1 for code in presence)
    recall, precision = [0.0], [0.0]
    for threshold in sorted(set(scores), reverse=True):
        right = sum(s >= threshold and code == 1 for s, code in zip(scores, presence))
        wrong = sum(s >= threshold and code == -1 for s, code in zip(scores, presence))
        if right + wrong:
            recall.append(right / total)
            precision.append(right / (right + wrong))
    recall.append(1.0)
    precision.append(0.0)
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    return sum(
        (recall[place] - recall[place - 1]) * precision[place]
        for place in range(1, len(recall))
        if recall[place] != recall[place - 1]
    )


def random_case(seed: int, levels: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores, of a few levels where they shall tie, and the presence of a class."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 60))
    presence = rng.choice([1, 0, -1], count, p=[0.3, 0.1, 0.6])
    presence[rng.integers(count)] = 1
    scores = rng.normal(size=count) + presence
    return (scores if levels is None else np.round(scores * levels) / levels), presence


@pytest.mark.parametrize("levels", [None, 1, 3], ids=["distinct", "many ties", "some ties"])
def test_equals_the_devkit_in_loops(levels):
    for seed in range(60):
        scores, presence = random_case(seed, levels)
        assert average_precision(scores, presence) == pytest.approx(slow(scores, presence))


def test_equals_the_envelope_of_scikit_learns_curve():
    for seed in range(60):
        scores, presence = random_case(seed, levels=3)
        judged = presence != 0
        truth = presence[judged] == 1
        precision, recall, _ = precision_recall_curve(truth, scores[judged])  # recall descending
        # Its last point, precision 1 at recall 0, is no threshold: the devkit has 0 there.
        envelope = np.maximum.accumulate(precision[:-1])
        area = np.sum(-np.diff(recall) * envelope)
        found = average_precision(scores, presence)
        assert found == pytest.approx(area)
        assert found >= average_precision_score(truth, scores[judged]) - 1e-12


def test_known_cases():
    assert average_precision([0.9, 0.8, 0.1], [1, 1, -1]) == 1
    assert average_precision([0.9, 0.8, 0.7], [-1, 1, 1]) == pytest.approx(2 / 3)  # the envelope
    assert average_precision([0.5, 0.5, 0.5, 0.5], [1, -1, -1, -1]) == pytest.approx(1 / 4)
    assert np.isnan(average_precision([0.5, 0.4], [-1, 0]))


def test_neither_the_order_of_images_nor_difficult_ones_matter():
    scores, presence = random_case(5, levels=1)
    found = average_precision(scores, presence)
    order = np.random.default_rng(0).permutation(len(scores))
    assert average_precision(scores[order], presence[order]) == found
    more = np.append(scores, [9, -9, 0]), np.append(presence, [0, 0, 0])
    assert average_precision(*more) == found


def test_each_class_is_a_column():
    rng = np.random.default_rng(1)
    scores, presence = rng.normal(size=(30, 4)), rng.choice([1, -1], (30, 4))
    expected = [slow(scores[:, column], presence[:, column]) for column in range(4)]
    np.testing.assert_allclose(average_precisions(scores, presence), expected)


@pytest.mark.parametrize(
    ("scores", "presence", "error"),
    [
        ([0.1, np.nan], [1, -1], "1 of 2 scores are NaN"),
        ([0.1, 0.2], [1, 2], "presence must be 1"),
        ([0.1, 0.2], [1], "do not match"),
    ],
)
def test_bad_input_is_refused(scores, presence, error):
    with pytest.raises(ValueError, match=error):
        average_precision(np.array(scores), np.array(presence))
