"""Heads on the frozen features of a net, measured and saved: a result for each (Section 5.2)."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

from zfnet_jax import heap, parallel, passes
from zfnet_jax.data.images import Split
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import saved
from zfnet_jax.studies.saved import Result, Subject, Wanted
from zfnet_jax.studies.transfer import features, folds, measure
from zfnet_jax.studies.transfer.folds import Classes, Fold
from zfnet_jax.studies.transfer.gram import Products
from zfnet_jax.studies.transfer.options import HeadOptions, Options, of_fold
from zfnet_jax.studies.transfer.scores import NAME


def head_options(options: Options, left_out: tuple[str, ...]) -> list[HeadOptions]:
    """What is asked for, one by one.

    Args:
      options: with layers, heads and numbers of training images.
      left_out: the classes of the data set that do not count.
    """
    return [
        HeadOptions(
            **of_fold(options, left_out, per_class, fold),
            layer=layer,
            head=head,
            grid=options.grid(head),
            cv_folds=options.cv_folds,
            tolerance=options.tolerance,
        )
        for layer in options.layers
        for per_class in options.per_class
        for fold in range(options.folds)
        for head in options.heads
    ]


def measured(
    run: Run,
    split: Split,
    classes: Classes,
    options: Sequence[Options],
    *,
    given: Sequence[str],
    batch_size: int,
    progress: bool,
) -> list[Result]:
    """Scores every layer, head, number of training images and fold, but for those that are saved.

    Results are saved as soon as they are known: the same again goes on where it was stopped.
    Features and inner products of a layer are computed once, on all devices; each fold then has a
    device of its own, and its inner products serve all its heads. Of two at work on one run, one
    computes and one waits for what both need.

    Args:
      run: the net.
      split, classes: N images, at the run's image size, and the classes that count.
      options: with layers, heads and numbers of training images; several to share features.
      given: the flags that tell scripts.transfer where the images are.
      batch_size, progress: see `features.extract`.

    Returns:
      a result for each of `head_options`. Its arrays are, for T test images, 'rows' [T] of the
      split, 'labels' [T] and 'predicted' [T], all int32; `about` has 'accuracy', the mean of the
      accuracies of the classes, as a share of 1, the C that was chosen ('regularisation'),
      'test_images', 'class_names', 'images' of each class and the net's 'layers'.

    Raises:
      ValueError: a class has too few images, the images have another size, or there is no such
        layer.
      FloatingPointError: a feature is not finite.
    """
    wanted = _wanted(classes, options)
    subjects = {one: _subject(one, split) for one in wanted}
    missing = not_there(run, split, classes, options)
    layers = list(dict.fromkeys(one.layer for one in missing))
    products = features.products(run, split, layers, batch_size=batch_size, progress=progress)

    groups = _of_one_fold(missing)
    first_of = {one: group[0] for group in groups for one in group}

    def prepared(first: HeadOptions) -> tuple[Fold, Products]:
        if getattr(held, "first", None) != first:
            held.__dict__.clear()  # two of them would take twice the memory
            heap.give_back()
            fold = fold_of(classes, first)
            held.inputs = fold, products[first.layer](fold.train, fold.test)
            held.first = first
        return held.inputs

    held = threading.local()  # of the device that a thread is of

    def make(one: Wanted) -> saved.Measured:
        head = _head_of(one)
        fold, inputs = prepared(first_of[head])
        return measure.score(inputs, fold, classes, head)

    asked = [
        [
            Wanted(subjects[one], _command(run, one, wanted[one], given), _about(run, one))
            for one in group
        ]
        for group in groups
    ]
    with passes.bar(len(missing), "heads", "fits", progress) as bar:
        for one, result in saved.made_apart(run, asked, make):
            head, accuracy = _head_of(one), result.about["accuracy"]
            bar.set_postfix_str(f"{head.layer} {head.head} {head.per_class}/class: {accuracy:.1%}")
            bar.update()
    return load(run, split, classes, options)


def not_there(
    run: Run, split: Split, classes: Classes, options: Sequence[Options]
) -> list[HeadOptions]:
    """What of that is not saved yet.

    ValueError: a class has too few images for it.
    """
    wanted = {one: _subject(one, split) for one in _wanted(classes, options)}
    missing = parallel.by_writer(
        lambda: [one for one, subject in wanted.items() if not saved.is_there(run, subject)]
    )
    for one in missing:
        fold_of(classes, one)
    return missing


def load(run: Run, split: Split, classes: Classes, options: Sequence[Options]) -> list[Result]:
    """What `measured` has saved of the same.

    FileNotFoundError: some of it is not there.
    """
    subjects = [_subject(one, split) for one in _wanted(classes, options)]
    return parallel.by_writer(lambda: [saved.load(saved.folder_of(run, one)) for one in subjects])


def _wanted(classes: Classes, options: Sequence[Options]) -> dict[HeadOptions, Options]:
    """Each head once, with the options that ask for it."""
    return {one: asked for asked in options for one in head_options(asked, classes.left_out)}


def _head_of(wanted: Wanted) -> HeadOptions:
    assert isinstance(wanted.subject.options, HeadOptions)
    return wanted.subject.options


def _of_one_fold(scores: Sequence[HeadOptions]) -> list[list[HeadOptions]]:
    """Those that have the same inner products: of one layer and the same images."""
    groups: dict[tuple[str, int, int, int, int], list[HeadOptions]] = {}
    for one in scores:
        key = (one.layer, one.per_class, one.fold, one.seed, one.test_per_class)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _about(run: Run, one: HeadOptions) -> dict[str, Any]:
    return {
        "method": "pretrained",
        "weights": run.weights_digest,
        "layers": {str(number): name for number, name in run.architecture.outputs.items()},
        "features": "less the training images' mean, divided by their root mean square distance",
        "cv_tolerance": measure.ROUGHER * one.tolerance,
    }


def _command(run: Run, one: HeadOptions, asked: Options, given: Sequence[str]) -> str:
    alone = dataclasses.replace(
        asked,
        layers=(one.layer,),
        heads=(one.head,),
        per_class=(one.per_class,),
        folds=one.fold + 1,
    )
    return saved.command_of(run, NAME, alone, *given)


def _subject(one: HeadOptions, split: Split) -> Subject:
    words = (one.data, one.layer, one.head, str(one.per_class), f"fold{one.fold}")
    return Subject(NAME, one, words, {"fingerprint": split.fingerprint})


def fold_of(classes: Classes, one: HeadOptions) -> Fold:
    """The images that a head is trained and tested on."""
    return folds.make_fold(
        classes, one.per_class, one.fold, seed=one.seed, test_per_class=one.test_per_class
    )
