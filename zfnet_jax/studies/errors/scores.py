"""Numbers that sum up predictions: errors with intervals, loss, calibration, classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from zfnet_jax.names import unique
from zfnet_jax.studies.errors.options import ScoreOptions
from zfnet_jax.studies.errors.predictions import Predictions
from zfnet_jax.studies.intervals import interval
from zfnet_jax.studies.options import identity


def scores(predictions: Predictions, options: ScoreOptions) -> dict[str, Any]:
    """All numbers of a set of predictions, as JSON values.

    Args:
      predictions: of N images.
      options: see there.

    Returns:
      'images'; 'loss'; 'top1' and 'top5', errors as shares of 1, each [value, low, high];
      'calibration_error'; 'per_class', the share of each class's images whose most probable class
      is theirs, by its name, None where there is no image; and 'options'.
    """
    names = predictions.info["class_names"]
    accuracies = class_accuracies(confusion_matrix(predictions))

    return {
        "images": len(predictions),
        "loss": float(predictions.loss.mean(dtype=np.float64)),
        "top1": list(interval(predictions.errors(1), options.level)),
        "top5": list(interval(predictions.errors(5), options.level)),
        "calibration_error": calibration_error(
            predictions.confidence, predictions.rank == 0, options.bins
        ),
        "per_class": {
            name: None if np.isnan(accuracy) else float(accuracy)
            for name, accuracy in zip(unique(names), accuracies, strict=True)
        },
        "options": identity(options),
    }


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    """The expected calibration error (Guo et al. 2017).

    Images are sorted into equally wide bins of confidence, (0, 1/bins], (1/bins, 2/bins], ...; the
    error is the mean over images of the gap between their bin's accuracy and mean confidence.

    Args:
      confidence: [N], probability of the most probable class.
      right: [N] bool, whether that is the true one.
      bins: at least 1.
    """
    if bins < 1:
        raise ValueError(f"a calibration error needs at least 1 bin, not {bins}")
    confidence = confidence.astype(np.float64)
    edges = np.arange(1, bins) / bins
    place = np.searchsorted(edges, confidence, side="left")
    gaps = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """[C, C] int64: images by true class (rows) and most probable class (columns)."""
    classes = len(predictions.info["class_names"])
    cells = predictions.labels.astype(np.int64) * classes + predictions.predicted
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def class_accuracies(confusion: np.ndarray) -> np.ndarray:
    """[C] float64: the share of each class's images that are right; NaN where there is none."""
    images = confusion.sum(axis=1)
    return np.divide(
        np.diag(confusion), images, out=np.full(len(confusion), np.nan), where=images > 0
    )
