"""The 'Non-pretrained convnet' of Tables 4 and 5: a net trained on the images of a fold alone.

WORKDIR/studies/transfer/scratch/DATA-scratch-N-foldF-DIGEST/ is a run like any other, named as its
score is; while it is trained it holds `images`, the fold's images as prepared splits. An
interrupted fold goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import parallel
from zfnet_jax.data.images import Split
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.subset import write_subset
from zfnet_jax.files import write_arrays
from zfnet_jax.runs import provenance, workdir
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.options import arguments, command
from zfnet_jax.studies.saved import Result, Subject, Wanted
from zfnet_jax.studies.transfer.folds import Classes, Fold, make_fold
from zfnet_jax.studies.transfer.measure import answers
from zfnet_jax.studies.transfer.options import FoldOptions, ScratchOptions, of_fold
from zfnet_jax.studies.transfer.scores import NAME
from zfnet_jax.training import preemption
from zfnet_jax.training.train import train_and_evaluate

IMAGES = "images"  # of a fold, in the folder of its run
_WATCHED = 500  # training images that are looked at after each epoch


def measured(
    run: Run,
    recipe: ConfigDict,
    split: Split,
    classes: Classes,
    options: ScratchOptions,
    *,
    given: Sequence[str],
    progress: bool,
) -> list[Result]:
    """Trains and tests a net on every fold that has no score yet of this recipe.

    Each device trains a net of its own, as in a sweep. Several processes train one net after the
    other together, and the recipe's batch must divide among their devices: only process 0 of a job
    can save checkpoints.

    Args:
      run: whose recipe it is, and whose folder keeps nets and results; its checkpoint is not used.
      recipe: config of the trainings; which data and which checkpoints does not matter.
      split, classes: N images prepared at the recipe's size, and the classes that count.
      options: folds and epochs; the recipe's epochs if None.
      given: the flags that tell scripts.scratch where the images are.
      progress: whether to tell of each fold.

    Returns:
      a result for each number of training images and fold, see `measure.answers`; it also says
      'epochs' and 'recipe_of', and what every result says of its net, here of the one trained.

    Raises:
      ValueError: see `train_fold`, or a class has too few images.
    """
    recipe = _recipe(recipe, options)
    folds = _wanted(classes, options)
    about = {
        "method": "scratch",
        "recipe_of": run.directory.resolve().name,
        "epochs": recipe.epochs,
    }

    def wanted(one: FoldOptions) -> Wanted:
        alone = dataclasses.replace(options, per_class=(one.per_class,), folds=one.fold + 1)
        its = command("scratch", f"--workdir={run.directory}", *given, *arguments(alone))
        return Wanted(_subject(one, split, recipe), its, about)

    def make(wanted: Wanted) -> saved.Measured:
        return _measured(run, recipe, split, classes, wanted, progress)

    every = list(map(wanted, folds))
    if parallel.process_count() > 1:
        made = (_made_together(run, one, make) for one in every)
    else:
        made = (result for _, result in saved.made_apart(run, [[one] for one in every], make))
    results = []
    with _heard():
        for one, result in zip(folds, made):
            results.append(result)
            if parallel.is_writer():
                shutil.rmtree(_net(result.folder) / IMAGES, ignore_errors=True)
                if progress:
                    print(
                        f"{one.per_class} images per class, fold {one.fold + 1} of {options.folds}:"
                        f" mean accuracy of the classes {result.about['accuracy']:.1%}"
                    )
    return results


def _made_together(run: Run, wanted: Wanted, measure: Callable[[Wanted], saved.Measured]) -> Result:
    """The score of a net that all processes train, unless it is there."""

    def make(folder: Path | None) -> Mapping[str, Any]:
        arrays, said = measure(wanted)
        if folder is not None:
            write_arrays(folder / "arrays.npz", arrays)
        return said

    return saved.made_once(run, wanted.subject, make, command=wanted.command, about=wanted.about)


def _heard() -> contextlib.AbstractContextManager[object]:
    """So that nets that are trained at once, in threads, learn of signals."""
    at_once = parallel.process_count() == 1 and parallel.device_count() > 1
    return preemption.Watch() if at_once else contextlib.nullcontext()


def load(
    run: Run, recipe: ConfigDict, split: Split, classes: Classes, options: ScratchOptions
) -> list[Result]:
    """What `measured` has saved of the same.

    FileNotFoundError: some of it is not there.
    """
    recipe = _recipe(recipe, options)
    subjects = [_subject(one, split, recipe) for one in _wanted(classes, options)]
    return parallel.by_writer(lambda: [saved.load(saved.folder_of(run, one)) for one in subjects])


def _recipe(recipe: ConfigDict, options: ScratchOptions) -> ConfigDict:
    """The recipe with all the epochs that are asked for, from nothing."""
    recipe = recipe.copy_and_resolve_references()
    recipe.init_from, recipe.init_layers, recipe.frozen = "", (), ()
    recipe.rules = ()  # of other images
    recipe.early_stopping = 0  # no image is left to validate on, see `_WATCHED`
    recipe.epochs = options.epochs or recipe.epochs
    return recipe


def _wanted(classes: Classes, options: ScratchOptions) -> list[FoldOptions]:
    return [
        FoldOptions(**of_fold(options, classes.left_out, count, number))
        for count in options.per_class
        for number in range(options.folds)
    ]


def _subject(one: FoldOptions, split: Split, recipe: ConfigDict) -> Subject:
    data = {"fingerprint": split.fingerprint, "recipe": recipe_digest(recipe)}
    words = (one.data, "scratch", str(one.per_class), f"fold{one.fold}")
    return Subject(NAME, one, words, data, of_checkpoint=False)


def _measured(
    run: Run, recipe: ConfigDict, split: Split, classes: Classes, wanted: Wanted, progress: bool
) -> saved.Measured:
    one = cast(FoldOptions, wanted.subject.options)
    fold = make_fold(
        classes, one.per_class, one.fold, seed=one.seed, test_per_class=one.test_per_class
    )
    net = _net(saved.folder_of(run, wanted.subject))
    predicted = train_fold(recipe, split, classes, fold, net, progress=progress)
    arrays, said = answers(fold, classes, predicted)
    return arrays, said | provenance.of_run(open_run(net))


def _net(result: Path) -> Path:
    """The folder of the net whose score lies in a folder."""
    return result.parent / "scratch" / result.name


def recipe_digest(recipe: ConfigDict) -> str:
    """Short digest of all of a recipe that decides what it trains; a field that came later, and is
    left as it was, makes no other recipe."""
    fields = workdir.without_later(workdir.as_json(recipe))
    counting = {name: value for name, value in fields.items() if name not in workdir.FREE_FIELDS}
    text = json.dumps(counting | {"epochs": recipe.epochs}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
      folder: of the run, for this fold alone.
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
    images = folder / IMAGES
    watched = fold.train[_spread(len(fold.train), _WATCHED)]
    splits = {"train": fold.train, "validation": watched, "test": fold.test}
    for name, rows in splits.items():
        write = functools.partial(
            write_subset,
            split,
            rows,
            images / name,
            labels=classes.labels[rows],
            class_names=classes.names,
            with_mean=name == "train",
        )
        parallel.by_writer(write)
    train_and_evaluate(_config(recipe, images), folder)
    found = predict(
        open_run(folder),
        open_prepared(images, "test"),
        crops=1,
        batch_size=recipe.eval_batch_size,
        probabilities=False,
        progress=progress,
    )
    return found["predicted"]


def _config(recipe: ConfigDict, images: Path) -> ConfigDict:
    config = recipe.copy_and_resolve_references()
    config.data.source, config.data.streaming = "prepared", False
    config.data.prepared_dir = str(images)
    config.data.exclude = ""  # of the run's own pictures
    # Enough to resume from; more of the many nets of a study would fill disks.
    config.checkpoint.keep_latest, config.checkpoint.keep_best = 2, 0
    config.checkpoint.keep_epochs = ()
    return config


def _spread(count: int, wanted: int) -> np.ndarray:
    """At most `wanted` places among `count`, at equal distances: some of every class."""
    wanted = min(count, wanted)
    return np.arange(wanted) * count // wanted
