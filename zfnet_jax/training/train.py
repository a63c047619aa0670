"""A training run from a config: train, validate each epoch, anneal, checkpoint, resume."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from zfnet_jax import distributed, failures, parallel
from zfnet_jax.runs import array_tree, workdir
from zfnet_jax.runs.checkpoint import Checkpoints
from zfnet_jax.training import early_stopping, health, layers, nonfinite, optimizer, preemption
from zfnet_jax.training.job import Job, set_up
from zfnet_jax.training.metrics import MetricsWriter, read_metrics, top_ks
from zfnet_jax.training.nonfinite import NonFiniteError
from zfnet_jax.training.profile import StepProfile
from zfnet_jax.training.progress import Progress, Waiting, epoch_line, step_line
from zfnet_jax.training.standing import Watch, at_chance, reasons
from zfnet_jax.training.step_log import StepLog, Sums

_AHEAD = 2  # steps that the devices have to do while the host starts the next one
# Reading a number from a device takes a moment. All processes look after the same steps, or those
# that go on would wait for the one that stops.
_CHECKED_EVERY = 8
# Raised by all processes, if by one.
_AGREED = (NonFiniteError, preemption.PreemptedError, distributed.DisagreementError)

Picture = Callable[[np.ndarray], np.ndarray]  # filters [M, k, k, C] to [H, W, 3] in [0, 1]


def train_and_evaluate(
    config: ConfigDict,
    directory: Path,
    stop_after_steps: int | None = None,
    filters_picture: Picture | None = None,
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
    job = set_up(config, directory)
    config, start = job.config, job.start
    with workdir.held(directory), preemption.Watch() as watch:
        epochs_begun = -(-(job.steps_made or 0) // job.steps_per_epoch)
        workdir.claim(
            directory,
            config,
            job.train,
            job.validation,
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
            keep_steps=[epoch * job.steps_per_epoch for epoch in config.checkpoint.keep_epochs],
        )
        # Before and after the checkpoints close: closing waits for the other processes.
        with distributed.together(_AGREED), checkpoints, distributed.together(_AGREED):
            rollbacks = 0
            profile = StepProfile(
                profile_steps, directory / "profile", is_writer=parallel.is_writer()
            )
            while True:
                try:
                    return _Training(
                        job,
                        directory,
                        checkpoints,
                        watch,
                        profile,
                        filters_picture,
                        stop_after_steps=stop_after_steps,
                        rollbacks=rollbacks,
                    ).run()
                except NonFiniteError as error:
                    rollbacks = nonfinite.next_rollback(error, config)


class _Started(NamedTuple):
    """A step that the devices were given; `healthy`: see `nonfinite.watched`."""

    step: int
    loss: jax.Array
    healthy: jax.Array


@dataclasses.dataclass(frozen=True)
class _Epoch:
    """One that is being trained.

    Attributes:
      number: the first being 0.
      title: how the terminal calls it.
      began: by `time.monotonic`, at its first step in this call.
      first: steps of the whole run that were done then.
      fed: its batches.
    """

    number: int
    title: str
    began: float
    first: int
    fed: Waiting[Any]
    log: StepLog


class _Training:
    """Trains from the newest checkpoint, or the start, until it ends or a number is not finite.

    Arguments as of `train_and_evaluate`; `rollbacks`: how often the run has gone back before.
    """

    def __init__(
        self,
        job: Job,
        directory: Path,
        checkpoints: Checkpoints,
        watch: preemption.Watch,
        profile: StepProfile,
        filters_picture: Picture | None,
        *,
        stop_after_steps: int | None,
        rollbacks: int,
    ) -> None:
        self._job, self._directory, self._checkpoints = job, directory, checkpoints
        self._watch, self._profile, self._filters_picture = watch, profile, filters_picture
        config = job.config
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
        self._plateau, self._logged = plateau, logged

        self._step = step = int(state.step)
        scale = self._rate_scale(step // job.steps_per_epoch)
        state = dataclasses.replace(state, rate_scale=jnp.float32(scale))
        total_steps = config.epochs * job.steps_per_epoch
        self._end = min(total_steps, stop_after_steps or total_steps)
        self._errors = _validation_errors(config, directory, step)
        if early_stopping.ends(self._errors, config.early_stopping):
            self._end = step
        profile.check(step, self._end)
        several = restored and parallel.process_count() > 1
        digest = array_tree.tree_digest(state) if several else None
        distributed.agree({"step": step, "restored state": digest})
        if step < self._end:
            workdir.begin_segment(directory, step)
        self._state, self._healthy, self._mean = parallel.replicate((state, np.bool_(True), mean))
        self._metrics = MetricsWriter(
            directory, resume_step=step if restored else -1, is_writer=parallel.is_writer()
        )
        self._progress = Progress(
            total_steps=total_steps,
            start_step=step,
            batch_size=config.batch_size,
            enabled=parallel.speaks(),
        )
        self._standing = Watch(job.chance, config.check.standing_steps)
        every = config.checkpoint.every_steps
        self._mid_epoch_saves = range(0, total_steps, every) if every else ()
        self._unchecked: collections.deque[_Started] = collections.deque()
        self._told = False

    def run(self) -> dict[str, float]:
        """Trains; the metrics of the last epoch that ended, if one did."""
        result: dict[str, float] = {}
        patience = self._job.config.early_stopping
        with self._metrics, self._progress, self._profile:
            while self._step < self._end:
                epoch = self._next_epoch()
                if not self._train(epoch):
                    break
                result = self._end_epoch(epoch)
                if early_stopping.ends(self._errors, patience):
                    words = early_stopping.words(self._errors, self._job.steps_per_epoch)
                    self._progress.line(words)
                    break
                if self._step < self._end and (self._told or self._watch.told(self._step)):
                    raise self._watch.preempted(self._step)
        return result

    def _next_epoch(self) -> _Epoch:
        """The epoch of the next step, or what is left of it."""
        job, config = self._job, self._job.config
        number, done = divmod(self._step, job.steps_per_epoch)
        title, began = f"epoch {number + 1}/{config.epochs}", time.monotonic()
        fed = Waiting(job.batches(number, done))
        log = StepLog(
            every=config.log_every_steps,
            batch_size=config.batch_size,
            fed=fed,
            step=self._step,
            sums=self._logged if done else {},
        )
        return _Epoch(number, title, began, self._step, fed, log)

    def _train(self, epoch: _Epoch) -> bool:
        """Trains an epoch; whether its last step was done. If not, the run was to end before.

        PreemptedError: it was told to stop between the ends of epochs, and has saved.
        """
        steps_per_epoch = self._job.steps_per_epoch
        for batch in epoch.fed:
            with self._profile.step(self._step + 1):
                self._state, self._healthy, loss = self._job.train_step(
                    self._state, self._healthy, self._mean, batch
                )
            self._step += 1
            step = self._step
            if told_where := self._profile.ended(step, loss):
                self._progress.line(told_where)
            self._unchecked.append(_Started(step, loss, self._healthy))
            if epoch.log.due(step):
                line, times = epoch.log.record(step, self._state.sums, self._rate())
                self._metrics.write(step, line, time_fields=times)
                self._progress.line(step_line({"step": step, **line, **times}, epoch.title))
            if self._standing.due(step) and step % steps_per_epoch:
                self._look(epoch_ends=False)
            if len(self._unchecked) > _AHEAD:
                latest = self._unchecked[-1 - _AHEAD]
                latest.loss.block_until_ready()
                self._progress.update(latest.step, title=epoch.title, loss=latest.loss)
            if step % _CHECKED_EVERY == 0:
                self._check(keep=_AHEAD)
            self._told = self._watch.told(step)
            at_epoch_end = step % steps_per_epoch == 0
            stopping = self._told or step == self._end
            if not at_epoch_end and (stopping or step in self._mid_epoch_saves):
                self._check(keep=0)
                self._save(epoch, None)
                if self._told:
                    raise self._watch.preempted(step)
                if stopping:
                    return False
        if self._unchecked:
            last = self._unchecked[-1].loss
            self._progress.update(self._step, title=epoch.title, loss=last)
        self._check(keep=0)
        return True

    def _end_epoch(self, epoch: _Epoch) -> dict[str, float]:
        """Validates, writes the record of an epoch, anneals and saves; the record."""
        job, config, step = self._job, self._job.config, self._step
        measured = ["loss", *(f"top{k}" for k in top_ks(len(job.train.class_names)))]
        sums = self._look(epoch_ends=True)
        seconds = time.monotonic() - epoch.began
        validated = job.evaluate(self._state.params, self._mean)
        nonfinite.check_validation(step, validated["loss"], self._plateau.rollbacks)
        result = {
            "epoch": epoch.number + 1,
            **{f"train/{k}": sums[k] / sums["steps"] for k in measured},
            **{f"val/{k}": validated[k] for k in measured},
            "learning_rate": self._rate(),
            "clipped": sums["clipped"] / sums["steps"],
        }
        times = {
            "images_per_second": (step - epoch.first) * config.batch_size / seconds,
            "waiting": epoch.fed.seconds / seconds,
            "epoch_seconds": time.monotonic() - epoch.began,
        }
        self._metrics.write(step, result, time_fields=times)
        layer = config.model.layers[0]
        if self._filters_picture:
            filters = np.moveaxis(np.asarray(self._state.params[layer]["kernel"]), 3, 0)
            pixels = np.round(255 * self._filters_picture(filters)).astype(np.uint8)
            self._metrics.image(f"filters/{layer}", pixels, step)
        self._progress.line(epoch_line({"step": step, **result, **times}, config.epochs))

        error = 1 - validated["top1"]
        if config.optimizer.schedule == "plateau":
            self._plateau = self._plateau.after(error, config.optimizer.plateau)
        if config.optimizer.schedule == "plateau" or config.optimizer.drops:
            scale = parallel.replicate(jnp.float32(self._rate_scale(epoch.number + 1)))
            self._state = self._state.replace(rate_scale=scale)
        self._save(epoch, error)
        self._errors.append(error)
        return result

    def _rate_scale(self, epoch: int) -> float:
        """What the scheduled rate is multiplied by in an epoch, the first being 0."""
        return self._plateau.scale * optimizer.dropped(self._job.config.optimizer.drops, epoch)

    def _rate(self) -> float:
        """The learning rate of the last step."""
        scheduled = float(np.asarray(self._job.schedule(self._step - 1)))
        return scheduled * self._rate_scale((self._step - 1) // self._job.steps_per_epoch)

    def _save(self, epoch: _Epoch, error: float | None) -> None:
        plateau = dataclasses.asdict(self._plateau)
        self._checkpoints.save(
            self._step,
            {"state": self._state, "mean": self._mean},
            workdir.record(
                self._job.config, self._job.train, plateau=plateau, logged=epoch.log.sums
            ),
            error,
        )

    def _look(self, *, epoch_ends: bool) -> dict[str, float]:
        """The sums of this epoch as numbers; says so, if the loss stands at chance."""
        job = self._job
        numbers = {name: float(value) for name, value in self._state.sums.items()}
        stands = self._standing.stands(numbers, epoch_ends=epoch_ends)
        if stands and parallel.is_writer():
            params, seen = parallel.here((self._state.params, self._mean))
            try:
                found = reasons(
                    health.of_run(
                        job.net,
                        job.config,
                        params,
                        job.train,
                        np.asarray(seen),
                        self._rate(),
                        job.class_weights,
                    )
                )
            except (RuntimeError, MemoryError) as error:
                if not failures.is_out_of_memory(error):
                    raise
                found = ["no memory is left to look why: fewer config.check.images need less"]
            logging.warning("%s", at_chance(*stands, job.chance, found))
        return numbers

    def _check(self, keep: int) -> None:
        """NonFiniteError unless all steps that were started, but the last `keep`, are finite."""
        unchecked, job = self._unchecked, self._job
        done = [unchecked.popleft() for _ in range(len(unchecked) - keep)]
        if not done or done[-1].healthy:
            return
        bad = next(one for one in done if not one.healthy)
        names = layers.in_order(job.net.architecture)
        clipped = job.config.optimizer.clip_norm > 0
        tensor = nonfinite.culprit_of(self._state, bad.loss, names, clipped=clipped)
        raise nonfinite.error_of_step(
            bad.step, tensor, self._directory, job.train, job.config, self._plateau.rollbacks
        )


def _validation_errors(config: ConfigDict, directory: Path, step: int) -> list[float]:
    """The top-1 errors of the epochs that are done, where the run may end early because of them;
    those of the writing process, whose file has them."""

    def read() -> list[float]:
        records = read_metrics(directory) if step else []
        return [1 - record["val/top1"] for record in records if record["step"] <= step]

    return parallel.by_writer(read) if config.early_stopping else []
