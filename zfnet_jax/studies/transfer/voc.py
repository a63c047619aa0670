"""PASCAL VOC 2012 (Table 6): a softmax over its 20 classes on frozen features.

The paper trains one softmax although an image may show several classes; it does not say what an
image of several is trained as. Here each class that is present is one training example of the
image, and one whose objects are all marked difficult is none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax

from zfnet_jax import tasks
from zfnet_jax.data.prepared import PreparedSplit
from zfnet_jax.files import write_arrays
from zfnet_jax.runs import array_tree
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import saved
from zfnet_jax.studies.saved import Arrays, Result, Subject
from zfnet_jax.studies.transfer import features, gram, heads
from zfnet_jax.studies.transfer.average_precision import PRESENT, average_precisions
from zfnet_jax.studies.transfer.gram import Products
from zfnet_jax.studies.transfer.heads import Weights
from zfnet_jax.studies.transfer.options import VocOptions
from zfnet_jax.studies.transfer.scores import VOC

Annotated = tuple[PreparedSplit, np.ndarray]  # images, and the presence [N, K] of classes in them


def measured(
    run: Run,
    train: Annotated,
    validation: Annotated,
    options: VocOptions,
    *,
    given: Sequence[str],
    batch_size: int,
    progress: bool,
) -> Result:
    """Trains the softmax on the training split and judges it on the other, unless that is saved.

    The features of all images are held in memory. Of the grid cross-validation on the training
    split chooses the C of the highest mean average precision.

    Args:
      run: the net.
      train, validation: see `data.voc.open_split`.
      given: the flags that tell scripts.voc where the images are.
      batch_size: images per step.
      progress: whether to show bars.

    Returns:
      the saved result; its arrays are, of the N validation images, 'log_probabilities' [N, K]
      float64 and 'presence' [N, K] int8. It says 'class_names'; 'average_precision' of each, a
      share of 1, None where no validation image shows it; their 'mean'; 'split', that it is of the
      validation images; 'regularisation', the C chosen; 'cross_validation', the mean average
      precision of each C; 'setting', lines for a table.

    Raises:
      ValueError: the splits have other classes, the images another size, the net no such layer.
      FloatingPointError: a feature is not finite.
    """
    names = train[0].class_names
    if names != validation[0].class_names:
        raise ValueError("the training and validation images have other classes")
    layers = run.architecture.outputs
    layer = _layer(run, options)
    chosen = _settled(options, layer)
    if not chosen.grid:
        raise ValueError("--grid is empty: give values of C, such as 0.1,1,10")

    def make(folder: Path | None) -> dict[str, Any]:
        arrays, said = _measure(run, train, validation, layer, chosen, batch_size, progress)
        if folder is not None:
            write_arrays(folder / "arrays.npz", arrays)
        return said

    return saved.made_once(
        run,
        _subject(train, validation, chosen, layer),
        make,
        command=saved.command_of(run, VOC, options, *given),
        about={
            "weights": run.weights_digest,
            "layers": {str(number): name for number, name in layers.items()},
            "split": "validation",
            "class_names": list(names),
        },
    )


def load(run: Run, train: Annotated, validation: Annotated, options: VocOptions) -> Result:
    """What `measured` has saved of the same.

    FileNotFoundError: it is not there.
    """
    layer = _layer(run, options)
    subject = _subject(train, validation, _settled(options, layer), layer)
    return saved.load(saved.folder_of(run, subject))


def _layer(run: Run, options: VocOptions) -> str:
    net = run.architecture
    if options.layer:
        return run.layer(options.layer, net.activations)
    return net.outputs[max(net.outputs)]


def _settled(options: VocOptions, layer: str) -> VocOptions:
    """The options with nothing left for the net to decide."""
    return dataclasses.replace(options, layer=layer, grid=tuple(sorted(options.grid)))


def _subject(train: Annotated, validation: Annotated, options: VocOptions, layer: str) -> Subject:
    data = {
        name: {"images": split.fingerprint, "presence": array_tree.digest(presence)}
        for name, (split, presence) in (("train", train), ("validation", validation))
    }
    return Subject(VOC, options, ("voc2012", layer), data)


def _measure(
    run: Run,
    train: Annotated,
    validation: Annotated,
    layer: str,
    options: VocOptions,
    batch_size: int,
    progress: bool,
) -> tuple[Arrays, dict[str, Any]]:
    found = []
    for split, _ in (train, validation):
        path = features.extract(run, split, [layer], batch_size=batch_size, progress=progress)
        found.append(features.open_features(path[layer]))
    used = np.flatnonzero((train[1] == PRESENT).any(axis=1))
    tested = len(train[0]) + np.arange(len(validation[0]))
    inputs = gram.of_features(np.concatenate(found), used, tested)
    shown = train[1][used]
    scores = _cross_validate(inputs, shown, options)
    c = options.grid[int(scores.argmax())]
    (weights,) = heads.fit(
        "softmax", inputs.train, shown == PRESENT, [c], tolerance=options.tolerance
    )
    answers = _log_probabilities(inputs, weights)
    precisions = average_precisions(answers, validation[1])
    arrays = {"log_probabilities": answers, "presence": validation[1]}
    return arrays, {
        "average_precision": [None if np.isnan(value) else float(value) for value in precisions],
        "mean": float(np.nanmean(precisions)),
        "regularisation": c,
        "cross_validation": dict(zip(map(str, options.grid), scores.tolist())),
        "setting": [
            f"run {run.directory.resolve().name}, step {run.step}, softmax on {layer}",
            f"trained on {len(used)} images of the training split",
            f"measured on {len(tested)} images of the validation split",
        ],
    }


def _cross_validate(inputs: Products, presence: np.ndarray, options: VocOptions) -> np.ndarray:
    """Of each C the mean average precision on images that the softmax has not seen.

    The softmax is on every class present [N, K] in every image [N].
    """
    folds = options.cv_folds
    fold_of = np.random.default_rng(options.seed).permutation(len(presence)) % folds

    def of_fold(fold: int) -> list[float]:
        seen, held = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        part = inputs.part(seen, held)
        found = heads.fit(
            "softmax",
            part.train,
            presence[seen] == PRESENT,
            options.grid,
            tolerance=options.tolerance,
        )
        answers = [_log_probabilities(part, weights) for weights in found]
        return [float(np.nanmean(average_precisions(one, presence[held]))) for one in answers]

    return np.mean(list(tasks.dealt(range(folds), of_fold)), axis=0)


def _log_probabilities(inputs: Products, weights: Weights) -> np.ndarray:
    """[S, K] float64: unlike probabilities they do not tie where the softmax is saturated."""
    return log_softmax(heads.logits(inputs, weights).astype(np.float64), axis=1)
