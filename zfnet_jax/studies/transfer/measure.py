"""A head trained and tested on one fold: from inner products of its images to accuracy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from zfnet_jax.studies.saved import Arrays
from zfnet_jax.studies.transfer import cross_validation, heads
from zfnet_jax.studies.transfer.folds import Classes, Fold
from zfnet_jax.studies.transfer.gram import Products
from zfnet_jax.studies.transfer.options import Head, HeadOptions
from zfnet_jax.training import estimate

ROUGHER = 10  # times the tolerance, in cross-validation, which only counts right answers


def score(
    inputs: Products, fold: Fold, classes: Classes, options: HeadOptions
) -> tuple[Arrays, dict[str, Any]]:
    """A head on one layer, trained and tested on one fold.

    Args:
      inputs: of the fold's images.
      options: of the same fold.

    Returns:
      those of `answers`, with 'regularisation', the C that was chosen, 'seconds' that it took and
      'peak_memory_mb'.
    """
    began = time.perf_counter()
    c, predicted = try_head(
        options.head,
        inputs,
        classes.labels[fold.train],
        options.per_class,
        options.grid,
        cv_folds=options.cv_folds,
        tolerance=options.tolerance,
    )
    seconds = round(time.perf_counter() - began, 2)
    arrays, said = answers(fold, classes, predicted)
    said |= {"regularisation": c, "seconds": seconds, "peak_memory_mb": peak_memory_mb()}
    return arrays, said


def answers(fold: Fold, classes: Classes, predicted: np.ndarray) -> tuple[Arrays, dict[str, Any]]:
    """What is kept of the classes [T] that were said of a fold's test images.

    Returns:
      'rows' in the split, 'labels' and 'predicted', [T] int32; and as JSON values 'accuracy' (see
      `class_mean_accuracy`), 'test_images', 'class_names' and 'images', how many each class has.
    """
    labels = classes.labels[fold.test]
    arrays = {"rows": fold.test, "labels": labels, "predicted": predicted}
    said = {
        "accuracy": class_mean_accuracy(labels, predicted),
        "test_images": len(labels),
        "class_names": list(classes.names),
        "images": list(classes.images),
    }
    return {name: np.asarray(array, np.int32) for name, array in arrays.items()}, said


def class_mean_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes of the share of their images [T] that are answered rightly."""
    right = np.bincount(labels, weights=labels == predicted)
    count = np.bincount(labels)
    present = count > 0
    return float(np.mean(right[present] / count[present]))


def try_head(
    head: Head,
    inputs: Products,
    labels: np.ndarray,
    per_class: int,
    grid: Sequence[float],
    *,
    cv_folds: int,
    tolerance: float,
) -> tuple[float, np.ndarray]:
    """Chooses C by cross-validation and trains on all training images.

    Args:
      head, inputs, labels, per_class, grid: see `cross_validation.choose_c`.
      cv_folds: of the cross-validation.
      tolerance: see `heads.fit`.

    Returns:
      C, and the most probable class [S] of the test images.
    """
    c = cross_validation.choose_c(
        head, inputs, labels, per_class, grid, folds=cv_folds, tolerance=ROUGHER * tolerance
    )
    targets = heads.one_hot(labels, len(labels) // per_class)
    (weights,) = heads.fit(head, inputs.train, targets, [c], tolerance=tolerance)
    return c, heads.logits(inputs, weights).argmax(axis=1)


def peak_memory_mb() -> int:
    """The most memory that this process has had, MB of 10^6 bytes."""
    return round(estimate.host_memory().most / 1e6)
