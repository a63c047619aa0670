"""The 'Non-pretrained convnet' of Tables 4 and 5: a net trained on the images of a fold alone.

WORKDIR/analysis/transfer/DATA/scratch/N-FOLD/ holds `run`, a run like any other, and while it is
trained `data`, the fold's images as prepared splits. An interrupted fold goes on where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax.data.images import Split
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.subset import write_subset
from zfnet_jax.runs import workdir
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.transfer import scores as transfer_scores
from zfnet_jax.studies.transfer.folds import Classes, Fold, choose_classes, make_fold
from zfnet_jax.studies.transfer.scores import Score, TransferScores
from zfnet_jax.training.train import train_and_evaluate

_WATCHED = 500  # training images that are looked at after each epoch


def train_folds(
    recipe: ConfigDict,
    split: Split,
    folder: Path,
    *,
    run: str,
    per_class: Sequence[int],
    folds: int,
    replace: bool = False,
    progress: bool,
) -> TransferScores:
    """Trains a net on every fold that has no score yet, and adds its score to the folder's.

    Args:
      recipe: config of the trainings; which data and which checkpoints does not matter.
      split: N images prepared at the recipe's size.
      folder: of the data set's transfer scores, which name the study; see `transfer_scores`.
      run: name of the run whose recipe it is, for the provenance.
      per_class: numbers of training images of each class.
      folds: how many folds of each.
      replace: drop scores from scratch of another recipe, and what was trained by it, in place of
        an error.
      progress: whether to tell of each fold.

    Raises:
      FileNotFoundError: there are no transfer scores, whose folds these are.
      ValueError: they are of other images; scores from scratch are there of another recipe; or
        see `train_fold`.
    """
    study = transfer_scores.load(folder).study
    if split.fingerprint != study.fingerprint:
        raise ValueError(
            f"the transfer scores in {folder} are of other images: name the same prepared ones"
        )
    classes = choose_classes(split.labels, split.class_names, study.left_out)
    made = {"run": run, "epochs": recipe.epochs, "versions": workdir.versions()}
    fields = workdir.as_json(recipe)
    options = {k: v for k, v in fields.items() if k not in workdir.FREE_FIELDS}
    options["epochs"] = recipe.epochs
    before = transfer_scores.load(folder).provenance.get("scratch", {}).get("options")
    scores = transfer_scores.begin(folder, study, "scratch", made, options, replace=replace)
    if replace and before != options:  # the same command again goes on with what it trained
        shutil.rmtree(folder / "scratch", ignore_errors=True)
    done = scores.keys()
    for count in per_class:
        for number in range(folds):
            if ("scratch", None, None, count, number) in done:
                continue
            fold = make_fold(
                classes, count, number, seed=study.seed, test_per_class=study.test_per_class
            )
            place = folder / "scratch" / f"{count}-{number}"
            if progress:
                print(f"{count} images per class, fold {number + 1} of {folds}")
            predicted = train_fold(recipe, split, classes, fold, place, progress=progress)
            labels = classes.labels[fold.test]
            accuracy = transfer_scores.class_mean_accuracy(labels, predicted)
            score = Score("scratch", None, None, count, number, accuracy, None, len(labels))
            scores = transfer_scores.add(folder, scores, score, fold.test, labels, predicted)
            shutil.rmtree(place / "data")
            if progress:
                print(f"mean accuracy of the classes {accuracy:.1%}")
    return scores


def train_fold(
    recipe: ConfigDict, split: Split, classes: Classes, fold: Fold, folder: Path, *, progress: bool
) -> np.ndarray:
    """Trains a net on a fold's training images; its answers for the test images.

    The mean is that of the training images. Training never sees a test image: what it looks at
    after each epoch, and what a plateau is judged by, are training images, and it ends after the
    recipe's number of epochs.

    Args:
      recipe: config of the training; which data and which checkpoints does not matter.
      split: N images prepared at the recipe's size.
      classes: the classes that count.
      fold: rows of the split.
      folder: for this fold alone.
      progress: whether to show a bar while testing.

    Returns:
      [T] int32, the most probable class of each test image, a centre crop.

    Raises:
      ValueError: the images have another size, or the folder holds a training of another recipe.
      FloatingPointError: the loss is no longer finite.
    """
    if split.image_size != recipe.data.image_size:
        raise ValueError(
            f"the images are prepared at {split.image_size} pixels, but the recipe wants "
            f"{recipe.data.image_size}: prepare them at that size"
        )
    data = folder / "data"
    watched = fold.train[_spread(len(fold.train), _WATCHED)]
    parts = {"train": fold.train, "validation": watched, "test": fold.test}
    for name, rows in parts.items():
        write_subset(
            split,
            rows,
            data / name,
            labels=classes.labels[rows],
            class_names=classes.names,
            with_mean=name == "train",
        )
    train_and_evaluate(_config(recipe, data), folder / "run")
    answers = predict(
        open_run(folder / "run"),
        open_prepared(data, "test"),
        crops=1,
        batch_size=recipe.eval_batch_size,
        probabilities=False,
        progress=progress,
    )
    return answers["predicted"]


def _config(recipe: ConfigDict, data: Path) -> ConfigDict:
    config = recipe.copy_and_resolve_references()
    config.data.source, config.data.streaming = "prepared", False
    config.data.prepared_dir = str(data)
    config.data.exclude = ""  # of the run's own pictures
    # Enough to resume from; more of the many nets of a study would fill disks.
    config.checkpoint.keep_latest, config.checkpoint.keep_best = 2, 0
    config.checkpoint.keep_epochs = ()
    return config


def _spread(count: int, wanted: int) -> np.ndarray:
    """At most `wanted` places among `count`, at equal distances: some of every class."""
    wanted = min(count, wanted)
    return np.arange(wanted) * count // wanted
