"""A training run from a config: train, validate each epoch, anneal, checkpoint, resume."""

from __future__ import annotations

import collections
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from ml_collections import ConfigDict

from zfnet_jax import distributed, failures, model, parallel, passes
from zfnet_jax.data import augment, batches, colour, splits
from zfnet_jax.data.images import Split
from zfnet_jax.runs import array_tree, workdir
from zfnet_jax.runs.checkpoint import Checkpoints, newest_step
from zfnet_jax.training import (
    class_weights,
    early_stopping,
    health,
    layers,
    nonfinite,
    optimizer,
    preemption,
)
from zfnet_jax.training.evaluation import Evaluator, make_evaluator
from zfnet_jax.training.metrics import MetricsWriter, read_metrics, top_ks
from zfnet_jax.training.nonfinite import NonFiniteError
from zfnet_jax.training.optimizer import Params
from zfnet_jax.training.profile import StepProfile
from zfnet_jax.training.progress import Progress, Waiting, epoch_line, step_line
from zfnet_jax.training.standing import Watch, at_chance, reasons
from zfnet_jax.training.start import from_net, in_our_names
from zfnet_jax.training.step import TrainState, initial_state, make_train_step
from zfnet_jax.training.step_log import StepLog, Sums

_AHEAD = 2  # steps that the devices have to do while the host starts the next one
# Reading a number from a device takes a moment. All processes look after the same steps, or those
# that go on would wait for the one that stops.
_CHECKED_EVERY = 8
# Raised by all processes, if by one.
_AGREED = (NonFiniteError, preemption.PreemptedError, distributed.DisagreementError)


def train_and_evaluate(
    config: ConfigDict,
    directory: Path,
    stop_after_steps: int | None = None,
    filters_picture: Callable[[np.ndarray], np.ndarray] | None = None,
    profile_steps: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Trains the net of a config, or goes on where an earlier call on the folder stopped.

    Everything of the run lies in `directory`: config, versions and data fingerprint, metrics,
    TensorBoard, checkpoints.

    Args:
      config: see configs/zfnet.py for every field.
      directory: the run's folder; made if missing.
      stop_after_steps: save a checkpoint and return when this many updates have been done; the
        same call without it goes on from there.
      filters_picture: draws the filters of the first layer [M, k, k, C] as [H, W, 3] in [0, 1],
        for TensorBoard; without it they are not shown.
      profile_steps: the first and the last step of those to profile; the profile goes to the folder
        `profile` of the run's.

    Returns:
      the metrics of the last epoch that ended in this call ('val/top1', ...), if one did.

    Raises:
      DisagreementError: the processes of the job differ in config, data, folder or start.
      ValueError: the config does not fit the data, the devices or the run in the folder, another
        process trains there, or this call makes not all of the steps to profile.
      NonFiniteError: a loss, gradient or parameter is no longer finite and `config.on_nonfinite`
        allows no (further) way back; the checkpoints are from before.
      PreemptedError: a signal told the process to stop (see `preemption.Watch`); all is saved.
      OSError: a file cannot be written; the checkpoints from before are whole.
    """
    distributed.agree({"config": workdir.without_data(config), "steps": stop_after_steps})
    nonfinite.check_config(config)
    optimizer.check_drops(config.optimizer.drops)
    augment.check(config)
    parallel.check_batch(config.batch_size, config.optimizer.accumulation)
    train = splits.open_split(config.data, "train")
    validation = splits.open_split(config.data, "validation")
    if train.class_names != validation.class_names:
        raise ValueError(f"{config.data.prepared_dir}: train and validation have other classes")
    if len(train.class_names) < 2:
        raise ValueError(
            f"{config.data.prepared_dir} holds one class only, of which no net learns anything:"
            " prepare photos in one folder for each of two classes or more"
        )
    if train.fingerprint == validation.fingerprint and parallel.is_writer():
        logging.warning(splits.SAME_PHOTOS)
    distributed.agree({"data": workdir.fingerprints(train, validation)})
    steps_per_epoch = batches.train_steps_per_epoch(len(train), config.batch_size)

    if config.model.get("classifier") == "none":
        raise ValueError(
            "model.classifier is 'none': a net without classes cannot be trained; to give it some:"
            " --config.model.classifier=dense"
        )
    net = model.from_config(config.model, classes=len(train.class_names))
    config = in_our_names(config, net.architecture, directory)
    layers.check_frozen(net.architecture, config.frozen)
    weights = class_weights.of_classes(
        config.optimizer.class_weights, train.labels, len(train.class_names)
    )
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
    steps_made = newest_step(directory / "checkpoints")

    def first_params() -> Params:
        return model.initial_params(net, config.seed, crop, channels)

    start = None
    if config.init_from and steps_made is None:  # a run that has begun needs no other
        start = from_net(
            config, net.architecture, jax.eval_shape(first_params), train.class_names, train.mean
        )
    distributed.agree({"init_from": start.record if start else None})

    def initial() -> TrainState:
        params = first_params() | (start.params if start else {})
        return initial_state(params, transform, frozen)

    step = make_train_step(
        net,
        config,
        transform,
        schedule,
        steps_per_epoch,
        class_weights=weights,
        colours=_colours(config, train),
    )
    job = _Job(
        config=config,
        directory=directory,
        net=net,
        train=train,
        stop_after_steps=stop_after_steps,
        steps_per_epoch=steps_per_epoch,
        schedule=schedule,
        chance=health.chance(
            train.labels, len(train.class_names), config.optimizer.label_smoothing, weights
        ),
        initial=initial,
        mean=start.mean if start else train.mean,
        train_step=parallel.map_over_devices(
            nonfinite.watched(step), in_axes=(None, None, None, 0), donate=(0,)
        ),
        evaluate=make_evaluator(net, config, validation),
        filters_picture=filters_picture,
    )
    jax.eval_shape(job.initial)  # a net that its images do not fit fails with nothing written
    with workdir.held(directory), preemption.Watch() as watch:
        epochs_begun = -(-(steps_made or 0) // steps_per_epoch)
        workdir.claim(
            directory,
            config,
            train,
            validation,
            start=start.record if start else None,
            check_resumed=lambda earlier: optimizer.check_resumed(earlier, config, epochs_begun),
        )
        if parallel.speaks():
            for line in (*config.rules, *([start.words] if start else [])):
                print(line, flush=True)
        checkpoints = Checkpoints(
            directory / "checkpoints",
            keep_latest=config.checkpoint.keep_latest,
            keep_best=config.checkpoint.keep_best,
            keep_steps=[epoch * steps_per_epoch for epoch in config.checkpoint.keep_epochs],
        )
        # Before and after the checkpoints close: closing waits for the other processes.
        with distributed.together(_AGREED), checkpoints, distributed.together(_AGREED):
            rollbacks = 0
            profile = StepProfile(
                profile_steps, directory / "profile", is_writer=parallel.is_writer()
            )
            while True:
                try:
                    return _train(job, checkpoints, watch, profile, rollbacks)
                except NonFiniteError as error:
                    rollbacks = nonfinite.next_rollback(error, config)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What does not change from one rollback to the next."""

    config: ConfigDict
    directory: Path
    net: model.ZFNet
    train: Split
    stop_after_steps: int | None
    steps_per_epoch: int
    schedule: optax.Schedule
    chance: float
    initial: Callable[[], TrainState]
    mean: np.ndarray
    train_step: Callable[..., Any]
    evaluate: Evaluator
    filters_picture: Callable[[np.ndarray], np.ndarray] | None


class _Started(NamedTuple):
    """A step that the devices were given; `healthy`: see `nonfinite.watched`."""

    step: int
    loss: jax.Array
    healthy: jax.Array


def _train(
    job: _Job,
    checkpoints: Checkpoints,
    watch: preemption.Watch,
    profile: StepProfile,
    rollbacks: int,
) -> dict[str, float]:
    """Trains from the newest checkpoint, or the start, to the end. See `train_and_evaluate`."""
    config, train, steps_per_epoch = job.config, job.train, job.steps_per_epoch
    total_steps = config.epochs * steps_per_epoch
    state, mean, plateau = job.initial(), job.mean, optimizer.Plateau()
    logged: Sums = {}
    restored = checkpoints.restore_latest({"state": state, "mean": mean})
    if restored:
        _, arrays, record = restored
        state, mean = arrays["state"], arrays["mean"]
        plateau = optimizer.Plateau(**record["plateau"])
        logged = record.get("logged", {})
    if rollbacks > plateau.rollbacks:
        plateau = plateau.rolled_back(rollbacks, config.rollback.rate_factor)

    def rate_scale(epoch: int) -> float:
        """What the scheduled rate is multiplied by in an epoch, the first being 0."""
        return plateau.scale * optimizer.dropped(config.optimizer.drops, epoch)

    step = int(state.step)
    state = dataclasses.replace(state, rate_scale=jnp.float32(rate_scale(step // steps_per_epoch)))
    end = min(total_steps, job.stop_after_steps or total_steps)
    errors = _validation_errors(job, step)
    if early_stopping.ends(errors, config.early_stopping):
        end = step
    profile.check(step, end)
    digest = array_tree.tree_digest(state) if restored and parallel.process_count() > 1 else None
    distributed.agree({"step": step, "restored state": digest})
    if step < end:
        workdir.begin_segment(job.directory, step)
    state, healthy, mean = parallel.replicate((state, np.bool_(True), mean))
    metrics = MetricsWriter(
        job.directory, resume_step=step if restored else -1, is_writer=parallel.is_writer()
    )
    progress = Progress(
        total_steps=total_steps,
        start_step=step,
        batch_size=config.batch_size,
        enabled=parallel.speaks(),
    )

    def save(error: float | None) -> None:
        checkpoints.save(
            step,
            {"state": state, "mean": mean},
            workdir.record(config, train, plateau=dataclasses.asdict(plateau), logged=log.sums),
            error,
        )

    def rate() -> float:
        """The learning rate of the last step."""
        scheduled = float(np.asarray(job.schedule(step - 1)))
        return scheduled * rate_scale((step - 1) // steps_per_epoch)

    def look(totals: dict[str, jax.Array], *, epoch_ends: bool) -> dict[str, float]:
        """The sums of this epoch as numbers; says so, if the loss stands at chance."""
        numbers = {name: float(value) for name, value in totals.items()}
        stands = standing.stands(numbers, epoch_ends=epoch_ends)
        if stands and parallel.is_writer():
            params, seen = parallel.here((state.params, mean))
            try:
                found = reasons(
                    health.of_run(job.net, config, params, train, np.asarray(seen), rate())
                )
            except (RuntimeError, MemoryError) as error:
                if not failures.is_out_of_memory(error):
                    raise
                found = ["no memory is left to look why: fewer config.check.images need less"]
            logging.warning("%s", at_chance(*stands, standing.chance, found))
        return numbers

    def check(keep: int) -> None:
        """NonFiniteError unless all steps that were started, but the last `keep`, are finite."""
        done = [unchecked.popleft() for _ in range(len(unchecked) - keep)]
        if not done or done[-1].healthy:
            return
        bad = next(one for one in done if not one.healthy)
        names = layers.in_order(job.net.architecture)
        clipped = config.optimizer.clip_norm > 0
        tensor = nonfinite.culprit_of(state, bad.loss, names, clipped=clipped)
        raise nonfinite.error_of_step(
            bad.step, tensor, job.directory, train, config, plateau.rollbacks
        )

    standing = Watch(job.chance, config.check.standing_steps)
    every = config.checkpoint.every_steps
    mid_epoch_saves = range(0, total_steps, every) if every else ()
    unchecked: collections.deque[_Started] = collections.deque()
    result: dict[str, float] = {}
    told = False
    measured = ["loss", *(f"top{k}" for k in top_ks(len(train.class_names)))]
    with metrics, progress, profile:
        while step < end:
            epoch = step // steps_per_epoch
            title, began, first = f"epoch {epoch + 1}/{config.epochs}", time.monotonic(), step
            fed = Waiting(_batches_of(train, config, epoch, step % steps_per_epoch))
            log = StepLog(
                every=config.log_every_steps,
                batch_size=config.batch_size,
                fed=fed,
                step=step,
                sums=logged if step % steps_per_epoch else {},
            )
            for batch in fed:
                with profile.step(step + 1):
                    state, healthy, loss = job.train_step(state, healthy, mean, batch)
                step += 1
                if told_where := profile.ended(step, loss):
                    progress.line(told_where)
                unchecked.append(_Started(step, loss, healthy))
                if log.due(step):
                    line, times = log.record(step, state.sums, rate())
                    metrics.write(step, line, time_fields=times)
                    progress.line(step_line({"step": step, **line, **times}, title))
                if standing.due(step) and step % steps_per_epoch:
                    look(state.sums, epoch_ends=False)
                if len(unchecked) > _AHEAD:
                    latest = unchecked[-1 - _AHEAD]
                    latest.loss.block_until_ready()
                    progress.update(latest.step, title=title, loss=latest.loss)
                if step % _CHECKED_EVERY == 0:
                    check(keep=_AHEAD)
                told = watch.told(step)
                at_epoch_end = step % steps_per_epoch == 0
                stopping = told or step == end
                if not at_epoch_end and (stopping or step in mid_epoch_saves):
                    check(keep=0)
                    save(None)
                    if told:
                        raise watch.preempted(step)
                    if stopping:
                        return result
            if unchecked:
                progress.update(step, title=title, loss=unchecked[-1].loss)
            check(keep=0)

            sums = look(state.sums, epoch_ends=True)
            seconds = time.monotonic() - began
            validated = job.evaluate(state.params, mean)
            nonfinite.check_validation(step, validated["loss"], plateau.rollbacks)
            result = {
                "epoch": epoch + 1,
                **{f"train/{k}": sums[k] / sums["steps"] for k in measured},
                **{f"val/{k}": validated[k] for k in measured},
                "learning_rate": rate(),
                "clipped": sums["clipped"] / sums["steps"],
            }
            times = {
                "images_per_second": (step - first) * config.batch_size / seconds,
                "waiting": fed.seconds / seconds,
                "epoch_seconds": time.monotonic() - began,
            }
            metrics.write(step, result, time_fields=times)
            layer = config.model.layers[0]
            if job.filters_picture:
                filters = np.moveaxis(np.asarray(state.params[layer]["kernel"]), 3, 0)
                pixels = np.round(255 * job.filters_picture(filters)).astype(np.uint8)
                metrics.image(f"filters/{layer}", pixels, step)
            progress.line(epoch_line({"step": step, **result, **times}, config.epochs))

            error = 1 - validated["top1"]
            if config.optimizer.schedule == "plateau":
                plateau = plateau.after(error, config.optimizer.plateau)
            if config.optimizer.schedule == "plateau" or config.optimizer.drops:
                scale = parallel.replicate(jnp.float32(rate_scale(epoch + 1)))
                state = state.replace(rate_scale=scale)
            save(error)
            errors.append(error)
            if early_stopping.ends(errors, config.early_stopping):
                progress.line(early_stopping.words(errors, steps_per_epoch))
                break
            if step < end and (told or watch.told(step)):
                raise watch.preempted(step)
    return result


def _validation_errors(job: _Job, step: int) -> list[float]:
    """The top-1 errors of the epochs that are done, where the run may end early because of them;
    those of the writing process, whose file has them."""

    def read() -> list[float]:
        records = read_metrics(job.directory) if step else []
        return [1 - record["val/top1"] for record in records if record["step"] <= step]

    return parallel.by_writer(read) if job.config.early_stopping else []


def _colours(config: ConfigDict, train: Split) -> np.ndarray | None:
    """What the step's noise of colours is made of, if it has any, the same in all processes."""
    if not config.augment.colour:
        return None
    components = parallel.by_writer(lambda: colour.components(colour.covariance(train)))
    return np.float32(config.augment.colour) * components


def _batches_of(
    split: Split, config: ConfigDict, epoch: int, start: int
) -> Iterator[batches.Batch[jax.Array]]:
    """The batches of an epoch from one on, on the devices."""
    rows = batches.train_rows(
        len(split),
        seed=config.seed,
        epoch=epoch,
        start=start,
        batch_size=config.batch_size,
        process_index=parallel.process_index(),
        process_count=parallel.process_count(),
    )
    return passes.on_devices(functools.partial(batches.read, split), rows)
