"""Predictions of a net for every image of a split, as arrays."""

from __future__ import annotations

from typing import BinaryIO

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
    file: BinaryIO | None = None,
    progress: bool,
) -> Arrays:
    """Shows every image to the net once, shared by all devices and processes.

    Batch size and devices do not matter, but for what they change in how a convolution rounds.

    Args:
      run, images, crops, batch_size, progress: see `evaluation.probabilities`.
      probabilities: whether they are kept: returned or written to the file, if one is given. For
        many images of many classes they are large: 5 GB for ImageNet's training images.
      file: becomes a .npy file of them.

    Returns:
      the arrays of `predictions.outcomes`, and 'probabilities' [N, classes] float32 if they are
      kept and not written.

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
        if probabilities and file is None:
            new["probabilities"] = answers
        elif probabilities and file is not None:
            _append(file, rows, len(images), answers)
        for name, values in new.items():
            if name not in result:
                result[name] = np.empty((len(images), *values.shape[1:]), values.dtype)
            result[name][here] = values
    return result


def _append(file: BinaryIO, rows: range, count: int, answers: np.ndarray) -> None:
    """Writes a batch's rows [b, C] of a .npy file [count, C] float32; the batches come in order."""
    if not rows.start:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, answers.shape[1])}
        np.lib.format.write_array_header_1_0(file, header)
    file.write(np.ascontiguousarray(answers, "<f4").data)


def _check_finite(answers: np.ndarray, rows: range) -> None:
    wrong = ~np.isfinite(answers).all(axis=1)
    if wrong.any():
        raise FloatingPointError(
            f"image {rows[int(wrong.argmax())]} gives probabilities that are not finite: the net's "
            "weights or the image's are damaged"
        )
