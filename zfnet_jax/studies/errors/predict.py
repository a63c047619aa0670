"""Predictions of a net for every image of a split, as arrays."""

from __future__ import annotations

import numpy as np

from zfnet_jax.data.images import Crops, Images
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.errors.predictions import outcomes
from zfnet_jax.training import evaluation

Arrays = dict[str, np.ndarray]


def predict(
    run: Run,
    images: Images,
    *,
    crops: Crops,
    batch_size: int,
    probabilities: bool,
    progress: bool,
) -> Arrays:
    """Shows every image to the net once, shared by all devices and processes.

    Batch size and devices do not matter, but for what they change in how a convolution rounds.

    Args:
      run, images, crops, batch_size, progress: see `evaluation.probabilities`.
      probabilities: whether to return them; for many images of many classes they are large.

    Returns:
      the arrays of `predictions.outcomes`, and 'probabilities' [N, classes] float32 if asked for.

    Raises:
      ValueError: there is no image.
      FloatingPointError: a probability is not finite.
    """
    if not len(images):
        raise ValueError("there is no image to evaluate")
    labels, result = np.asarray(images.labels), {}
    for rows, answers in evaluation.probabilities(
        run, images, crops=crops, batch_size=batch_size, progress=progress
    ):
        _check_finite(answers, rows)
        here = slice(rows.start, rows.stop)
        new = outcomes(answers, labels[here])
        if probabilities:
            new["probabilities"] = answers
        for name, values in new.items():
            if name not in result:
                result[name] = np.empty((len(images), *values.shape[1:]), values.dtype)
            result[name][here] = values
    return result


def _check_finite(answers: np.ndarray, rows: range) -> None:
    wrong = ~np.isfinite(answers).all(axis=1)
    if wrong.any():
        raise FloatingPointError(
            f"image {rows[int(wrong.argmax())]} gives probabilities that are not finite: the net's "
            "weights or the image's are damaged"
        )
