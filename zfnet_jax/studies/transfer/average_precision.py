"""Average precision as the PASCAL VOC devkit defines it since 2010: NumPy alone."""

from __future__ import annotations

import numpy as np

PRESENT, DIFFICULT, ABSENT = 1, 0, -1  # the devkit's codes for a class in an image


def average_precision(scores: np.ndarray, presence: np.ndarray) -> float:
    """Average precision of one class: the area under the decreasing envelope of precision.

    Images are ranked by score. At each recall that the ranking reaches, precision counts as the
    highest at that recall or any higher one; the area is the sum over the steps of recall (VOCap).
    Images where the class is only present as difficult objects are left out (VOCevalcls). Images
    of equal score enter the ranking together, so that the order of images never matters; the devkit
    ranks them as they stand in its list.

    Args:
      scores: [N] of each image, higher is surer.
      presence: [N], `PRESENT`, `DIFFICULT` or `ABSENT`.

    Returns:
      between 0 and 1; NaN where the class is present in no image.

    Raises:
      ValueError: a score is NaN, a code is none of the three, or the lengths differ.
    """
    scores, presence = np.asarray(scores, np.float64), np.asarray(presence)
    if scores.shape != presence.shape or scores.ndim != 1:
        raise ValueError(
            f"scores {list(scores.shape)} do not match presence {list(presence.shape)}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"{np.isnan(scores).sum()} of {len(scores)} scores are NaN")
    if not np.isin(presence, (PRESENT, DIFFICULT, ABSENT)).all():
        raise ValueError("presence must be 1 (present), 0 (only difficult) or -1 (absent)")
    judged = presence != DIFFICULT
    scores, positive = scores[judged], presence[judged] == PRESENT
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(positive[order])
    last = np.append(scores[1:] != scores[:-1], True)  # of the images of equal score
    found, ranked = found[last], np.flatnonzero(last) + 1
    envelope = np.maximum.accumulate((found / ranked)[::-1])[::-1]
    steps = np.diff(found, prepend=0) / found[-1]
    return float(np.sum(steps * envelope))


def average_precisions(scores: np.ndarray, presence: np.ndarray) -> np.ndarray:
    """[K] float64: `average_precision` of each class, from scores and presence [N, K]."""
    return np.array([average_precision(*pair) for pair in zip(scores.T, presence.T, strict=True)])
