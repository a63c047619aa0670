"""PASCAL VOC 2012 (Table 6): a softmax over its 20 classes on frozen features.

The paper trains one softmax although an image may show several classes; it does not say what an
image of several is trained as. Here each class that is present is one training example of the
image, and one whose objects are all marked difficult is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax

from zfnet_jax.data.prepared import PreparedSplit
from zfnet_jax.runs import provenance
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.transfer import features, gram, heads
from zfnet_jax.studies.transfer.average_precision import PRESENT, average_precisions
from zfnet_jax.studies.transfer.heads import Weights

Part = tuple[PreparedSplit, np.ndarray]  # images, and the presence [N, K] of classes in them


def voc_study(
    run: Run,
    train: Part,
    validation: Part,
    *,
    layer: str,
    grid: Sequence[float],
    parts: int,
    tolerance: float,
    seed: int,
    batch_size: int,
    progress: bool,
) -> dict[str, Any]:
    """Trains the softmax on the training part and judges it on the validation part.

    Args:
      run: the net.
      train, validation: see `data.voc.open_part`.
      layer: name of the activation, such as 'fc7'; its features of all images are held in memory.
      grid: values of C, ascending, from which cross-validation on the training part chooses the one
        of the highest mean average precision.
      parts: of the cross-validation, at least 2.
      tolerance: see `heads.fit`.
      seed: of the cross-validation's random parts.
      batch_size: images per step.
      progress: whether to show bars.

    Returns:
      JSON values: 'class_names'; 'average_precision' of each, a share of 1, None where no
      validation image shows it; their 'mean'; 'part', that it is of the validation images;
      'regularisation', the C chosen; 'cross_validation', the mean average precision of each C;
      'setting', lines for a table; 'provenance'.

    Raises:
      ValueError: the parts have other classes, the images another size, the net no such layer.
      FloatingPointError: a feature is not finite.
    """
    names = train[0].class_names
    if names != validation[0].class_names:
        raise ValueError("the training and validation parts have other classes")
    found = []
    for split, _ in (train, validation):
        path = features.extract(run, split, [layer], batch_size=batch_size, progress=progress)
        found.append(features.open_features(path[layer]))
    used = np.flatnonzero((train[1] == PRESENT).any(axis=1))
    products = gram.gram_matrix(np.concatenate(found), progress=progress, desc="inner products")
    tested = len(train[0]) + np.arange(len(validation[0]))
    inputs = gram.coordinates(products, used, tested)
    presence = train[1][used]
    scores = _cross_validate(inputs.train, presence, grid, parts, tolerance, seed)
    c = grid[int(scores.argmax())]
    weights = _fit(inputs.train, presence, c, tolerance, _examples(presence))
    precisions = average_precisions(_log_probabilities(weights, inputs.test), validation[1])
    name = run.directory.resolve().name
    return {
        "part": "validation",
        "class_names": list(names),
        "average_precision": [None if np.isnan(value) else float(value) for value in precisions],
        "mean": float(np.nanmean(precisions)),
        "regularisation": c,
        "cross_validation": dict(zip(map(str, grid), scores.tolist())),
        "setting": [
            f"run {name}, step {run.step}, softmax on {layer}",
            f"trained on {len(used)} images of the training part",
            f"measured on {len(tested)} images of the validation part",
        ],
        "provenance": provenance.of_run(run)
        | {
            "layer": layer,
            "data": {"train": train[0].fingerprint, "validation": validation[0].fingerprint},
            "options": {"parts": parts, "tolerance": tolerance, "seed": seed},
        },
    }


def _cross_validate(
    inputs: np.ndarray,
    presence: np.ndarray,
    grid: Sequence[float],
    parts: int,
    tolerance: float,
    seed: int,
) -> np.ndarray:
    """Of each C the mean average precision on images that the softmax has not seen."""
    part_of = np.random.default_rng(seed).permutation(len(inputs)) % parts
    size = _examples(presence)  # of the whole part, so that all fits share a program
    result = np.zeros((len(grid), parts))
    for part in range(parts):
        seen, held = part_of != part, part_of == part
        weights = None
        for place, c in enumerate(grid):
            weights = _fit(inputs[seen], presence[seen], c, tolerance, size, weights)
            answers = _log_probabilities(weights, inputs[held])
            result[place, part] = np.nanmean(average_precisions(answers, presence[held]))
    return result.mean(axis=1)


def _fit(
    inputs: np.ndarray,
    presence: np.ndarray,
    c: float,
    tolerance: float,
    size: int,
    start: Weights[np.ndarray] | None = None,
) -> Weights[np.ndarray]:
    """The softmax on every class present [N, K] in every image [N, R]."""
    rows, labels = np.nonzero(presence == PRESENT)
    return heads.fit(
        "softmax",
        inputs[rows],
        labels,
        presence.shape[1],
        c,
        tolerance=tolerance,
        size=size,
        start=start,
    )


def _examples(presence: np.ndarray) -> int:
    return int(np.sum(presence == PRESENT))


def _log_probabilities(weights: Weights[np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """[N, K] float64: unlike probabilities they do not tie where the softmax is saturated."""
    return log_softmax(inputs @ weights.kernel + weights.bias, axis=1)
