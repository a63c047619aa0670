"""The transfer study: what frozen features are worth on other data (Section 5.2)."""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from zfnet_jax.data.images import Split
from zfnet_jax.files import whole_file
from zfnet_jax.runs import provenance
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.transfer import cross_validation, features, folds, gram, heads
from zfnet_jax.studies.transfer import scores as transfer_scores
from zfnet_jax.studies.transfer.folds import Classes
from zfnet_jax.studies.transfer.heads import Head, Weights
from zfnet_jax.studies.transfer.scores import Score, Study, TransferScores

_ROUGHER = 10  # times the tolerance, in cross-validation


@dataclasses.dataclass(frozen=True)
class Options:
    """What decides the scores beside net and data.

    Attributes:
      grids: of each head the values of C, ascending, that cross-validation chooses from.
      parts: of the cross-validation.
      tolerance: see `heads.fit`; cross-validation, which only counts right answers, has ten times
        as much.
    """

    grids: dict[Head, tuple[float, ...]]
    parts: int
    tolerance: float


def make_study(
    split: Split, classes: Classes, *, data: str, seed: int, test_per_class: int
) -> Study:
    """The study of a data set, the same for every method."""
    return Study(
        data=data,
        fingerprint=split.fingerprint,
        class_names=classes.names,
        images=classes.images,
        left_out=classes.left_out,
        test_per_class=test_per_class,
        seed=seed,
    )


def run_study(
    run: Run,
    split: Split,
    classes: Classes,
    study: Study,
    *,
    layers: Sequence[str],
    head_names: Sequence[Head],
    per_class: Sequence[int],
    fold_count: int,
    options: Options,
    batch_size: int,
    replace: bool = False,
    progress: bool,
) -> TransferScores:
    """Scores every layer, head, number of training images and fold; those there are stay.

    Features, inner products and scores go to the run's folder, each score as soon as it is known:
    the same study again goes on where it was stopped.

    Args:
      run: the net.
      split, classes: the images, at the run's image size, and the classes that count.
      study: of `make_study`.
      layers: names of activations.
      head_names: 'softmax', 'svm'.
      per_class: numbers of training images of each class.
      fold_count: folds of each.
      options, batch_size, progress: see `Options` and `features.extract`.
      replace: see `transfer_scores.begin`.

    Returns:
      all scores of the folder, see `transfer_scores`.

    Raises:
      ValueError: a class has too few images, the images have another size, there is no such layer,
        or the folder holds another study, or scores made otherwise that are not to be replaced.
      FloatingPointError: a feature is not finite.
    """
    folder = transfer_scores.folder_of(run.directory, study.data)
    made_from = provenance.of_run(run) | {
        "layers": {str(number): name for number, name in features.layers_of(run).items()},
        "stages": _stages(folder),
    }
    scores = transfer_scores.begin(
        folder, study, "pretrained", made_from, _options_as_json(run, options), replace=replace
    )
    parts = {
        (n, number): folds.make_fold(
            classes, n, number, seed=study.seed, test_per_class=study.test_per_class
        )
        for n in per_class
        for number in range(fold_count)
    }
    there = scores.keys()
    wanted = {
        layer: [
            (n, number, head)
            for n, number in parts
            for head in head_names
            if ("pretrained", layer, head, n, number) not in there
        ]
        for layer in layers
    }
    products = _inner_products(
        run,
        split,
        [layer for layer in layers if wanted[layer]],
        scores,
        batch_size=batch_size,
        progress=progress,
    )
    total = sum(map(len, wanted.values()))
    with tqdm(total=total, desc="heads", unit=" fits", disable=None if progress else True) as bar:
        for layer, path in products.items():
            matrix = np.load(path, mmap_mode="r")
            for n, number in dict.fromkeys(place[:2] for place in wanted[layer]):
                fold = parts[n, number]
                with _stage(scores, layer, "coordinates"):
                    found = gram.coordinates(matrix, fold.train, fold.test)
                labels = classes.labels[fold.train]
                for head in head_names:
                    if (n, number, head) not in wanted[layer]:
                        continue
                    with _stage(scores, layer, head):
                        c, weights = train_head(head, found.train, labels, n, options)
                    truth, predicted = classes.labels[fold.test], weights.predict(found.test)
                    score = Score(
                        method="pretrained",
                        layer=layer,
                        head=head,
                        per_class=n,
                        fold=number,
                        accuracy=transfer_scores.class_mean_accuracy(truth, predicted),
                        regularisation=c,
                        test_images=len(truth),
                    )
                    scores = transfer_scores.add(folder, scores, score, fold.test, truth, predicted)
                    bar.set_postfix_str(f"{layer} {head} {n}/class: {score.accuracy:.1%}")
                    bar.update()
    return scores


def train_head(
    head: Head, inputs: np.ndarray, labels: np.ndarray, per_class: int, options: Options
) -> tuple[float, Weights[np.ndarray]]:
    """Chooses C by cross-validation and trains on all inputs: (C, weights).

    Args:
      head: 'softmax' or 'svm'.
      inputs, labels, per_class: see `cross_validation.choose_c`.
    """
    c = cross_validation.choose_c(
        head,
        inputs,
        labels,
        per_class,
        options.grids[head],
        parts=options.parts,
        tolerance=_ROUGHER * options.tolerance,
    )
    if head == "svm":
        return c, heads.fit_svm(inputs, labels, c)
    classes = len(labels) // per_class
    return c, heads.fit(head, inputs, labels, classes, c, tolerance=options.tolerance)


def _inner_products(
    run: Run,
    split: Split,
    layers: Sequence[str],
    scores: TransferScores,
    *,
    batch_size: int,
    progress: bool,
) -> dict[str, Path]:
    """Of each layer the file of its Gram matrix [N, N] float64, made where it is missing."""
    paths = {
        layer: (path := features.path_of(run, split, layer)).with_name(f"{path.stem}-gram.npy")
        for layer in layers
    }
    missing = [layer for layer in layers if not paths[layer].exists()]
    if missing:
        with _stage(scores, "all", "features"):
            made = features.extract(run, split, missing, batch_size=batch_size, progress=progress)
        for layer in missing:
            with _stage(scores, layer, "inner products"):
                matrix = gram.gram_matrix(
                    features.open_features(made[layer]),
                    desc=f"inner products, {layer}",
                    progress=progress,
                )
            with whole_file(paths[layer]) as file:
                np.save(file, matrix)
    return paths


def _options_as_json(run: Run, options: Options) -> dict[str, Any]:
    return {
        "run": run.directory.resolve().name,
        "step": run.step,
        "weights": run.weights_digest,
        "grids": {head: list(grid) for head, grid in options.grids.items()},
        "cross_validation_parts": options.parts,
        "tolerance": options.tolerance,
        "cross_validation_tolerance": _ROUGHER * options.tolerance,
        "eigenvalue_threshold": gram.THRESHOLD,
        "features": "less the training images' mean, divided by their root mean square distance",
    }


def _stages(folder: Path) -> dict[str, Any]:
    """What earlier sessions of the same study took."""
    try:
        found = transfer_scores.load(folder)
    except FileNotFoundError:
        return {}
    return found.provenance.get("pretrained", {}).get("stages", {})


@contextmanager
def _stage(scores: TransferScores, layer: str, name: str) -> Iterator[None]:
    """Adds the seconds of a stage to the provenance, with the most memory this process has had."""
    began = time.perf_counter()
    yield
    stages = scores.provenance["pretrained"]["stages"]
    seconds = stages.setdefault("seconds", {}).setdefault(layer, {})
    seconds[name] = round(seconds.get(name, 0) + time.perf_counter() - began, 2)
    stages["peak_memory_mb"] = max(stages.get("peak_memory_mb", 0), peak_memory_mb())


def peak_memory_mb() -> int:
    """The most memory that this process has had, MB of 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6) if sys.platform == "darwin" else round(peak * 1024 / 1e6)
