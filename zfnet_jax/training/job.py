"""A training as a config describes it, ready to begin: its data, net, step, rates and first state.

Nothing is written here, and nothing trained: `train` does both, `check` and `dry_run` look.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import optax
from absl import logging
from ml_collections import ConfigDict

from zfnet_jax import distributed, model, parallel, passes
from zfnet_jax.data import augment, batches, colour, splits
from zfnet_jax.data.images import Split
from zfnet_jax.runs import workdir
from zfnet_jax.runs.checkpoint import newest_step
from zfnet_jax.training import class_weights, health, layers, nonfinite, optimizer
from zfnet_jax.training.evaluation import Evaluator, make_evaluator
from zfnet_jax.training.start import Start, from_net, in_our_names
from zfnet_jax.training.step import TrainState, initial_state, make_train_step


@dataclasses.dataclass(frozen=True)
class Job:
    """What does not change while a net trains.

    Attributes:
      config: with layers called as we call them.
      train, validation: the data.
      schedule: learning rate by step, without plateau and drops.
      class_weights: [classes], see `class_weights.of_classes`.
      chance: see `health.chance`.
      start: the net that it starts from, if any.
      steps_made: of the newest checkpoint in its folder; None where nothing is trained yet.
      initial: makes the state before the first step.
      mean: [S, S, C] float32, what is subtracted from images.
      train_step: `step` mapped over the devices, see `nonfinite.watched`: (state, healthy, mean,
        batch) -> (state, healthy, loss).
      evaluate: measures a net on `validation`.
    """

    config: ConfigDict
    net: model.ZFNet
    train: Split
    validation: Split
    steps_per_epoch: int
    schedule: optax.Schedule
    class_weights: np.ndarray | None
    chance: float
    start: Start | None
    steps_made: int | None
    initial: Callable[[], TrainState]
    mean: np.ndarray
    train_step: jax.stages.Wrapped
    evaluate: Evaluator

    def batches(self, epoch: int, start: int) -> Iterator[batches.Batch[jax.Array]]:
        """The batches of an epoch from one on, on the devices."""
        rows = batches.train_rows(
            len(self.train),
            seed=self.config.seed,
            epoch=epoch,
            start=start,
            batch_size=self.config.batch_size,
            process_index=parallel.process_index(),
            process_count=parallel.process_count(),
        )
        return passes.on_devices(functools.partial(batches.read, self.train), rows)


def set_up(
    config: ConfigDict,
    directory: Path | None = None,
    data: tuple[Split, Split] | None = None,
) -> Job:
    """Reads what a training needs, and checks that it fits together.

    Args:
      config: see configs/zfnet.py for every field.
      directory: the run's folder, where it may have begun.
      data: what to train and to validate on; without it, what `config.data` names.

    Raises:
      DisagreementError: the processes of the job differ in data or start.
      ValueError: the config does not fit the data or the devices.
      FileNotFoundError: the data are not prepared.
    """
    nonfinite.check_config(config)
    optimizer.check_drops(config.optimizer.drops)
    augment.check(config)
    parallel.check_batch(config.batch_size, config.optimizer.accumulation)
    train, validation = data or (
        splits.open_split(config.data, "train"),
        splits.open_split(config.data, "validation"),
    )
    classes = len(train.class_names)
    if train.class_names != validation.class_names:
        raise ValueError(f"{config.data.prepared_dir}: train and validation have other classes")
    if classes < 2:
        raise ValueError(
            f"{config.data.prepared_dir} holds one class only, of which no net learns anything:"
            " prepare photos in one folder for each of two classes or more"
        )
    # Whoever prepares splits himself, as folds of a study, knows what he validates on.
    chosen = data is None and config.data.source != "prepared"
    if chosen and train.fingerprint == validation.fingerprint and parallel.is_writer():
        logging.warning(splits.SAME_PHOTOS)
    distributed.agree({"data": workdir.fingerprints(train, validation)})
    steps_per_epoch = batches.train_steps_per_epoch(len(train), config.batch_size)

    if config.model.get("classifier") == "none":
        raise ValueError(
            "model.classifier is 'none': a net without classes cannot be trained; to give it some:"
            " --config.model.classifier=dense"
        )
    net = model.from_config(config.model, classes=classes)
    config = in_our_names(config, net.architecture, directory)
    layers.check_frozen(net.architecture, config.frozen)
    weights = class_weights.of_classes(config.optimizer.class_weights, train.labels, classes)
    transform = optimizer.momentum(config.optimizer)
    schedule = optimizer.learning_rate_schedule(
        config.optimizer,
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
    )
    assert train.mean is not None  # training splits have one
    crop, channels = config.augment.crop, train.mean.shape[2]
    frozen = layers.params_of(net.architecture, config.frozen)
    steps_made = newest_step(directory / "checkpoints") if directory else None

    shapes = model.parameter_shapes(net, crop, channels)  # fails if its images do not fit the net
    start = None
    if config.init_from and steps_made is None:  # a run that has begun needs no other
        start = from_net(config, net.architecture, shapes, train.class_names, train.mean)
    distributed.agree({"init_from": start.record if start else None})

    def initial() -> TrainState:
        params = model.initial_params(net, config.seed, crop, channels)
        return initial_state(params | (start.params if start else {}), transform, frozen)

    step = make_train_step(
        net,
        config,
        transform,
        schedule,
        steps_per_epoch,
        class_weights=weights,
        colours=_colours(config, train),
    )
    return Job(
        config=config,
        net=net,
        train=train,
        validation=validation,
        steps_per_epoch=steps_per_epoch,
        schedule=schedule,
        class_weights=weights,
        chance=health.chance(train.labels, classes, config.optimizer.label_smoothing, weights),
        start=start,
        steps_made=steps_made,
        initial=initial,
        mean=start.mean if start else train.mean,
        train_step=parallel.map_over_devices(
            nonfinite.watched(step), in_axes=(None, None, None, 0), donate=(0,)
        ),
        evaluate=make_evaluator(net, config, validation),
    )


def _colours(config: ConfigDict, train: Split) -> np.ndarray | None:
    """What the step's noise of colours is made of, if it has any, the same in all processes."""
    if not config.augment.colour:
        return None
    components = parallel.by_writer(lambda: colour.components(colour.covariance(train)))
    return np.float32(config.augment.colour) * components
