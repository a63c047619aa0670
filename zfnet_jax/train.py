"""A training run from a config: train, validate each epoch, anneal, checkpoint, resume."""

from __future__ import annotations

import collections
import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from zfnet_jax import model, optimizer, parallel, workdir
from zfnet_jax.checkpoint import Checkpoints
from zfnet_jax.data import batches, splits
from zfnet_jax.evaluate import make_evaluator
from zfnet_jax.metrics import MetricsWriter, Progress, epoch_line
from zfnet_jax.train_step import initial_state, make_train_step


def train_and_evaluate(
    config: ConfigDict, directory: Path, stop_after_steps: int | None = None
) -> dict[str, float]:
    """Trains the net of a config, or goes on where an earlier call on the folder stopped.

    Everything of the run lies in `directory`: config, versions and data fingerprint, metrics,
    TensorBoard, checkpoints.

    Args:
      config: see configs/zfnet.py for every field.
      directory: the run's folder; made if missing.
      stop_after_steps: save a checkpoint and return when this many updates have been done; the
        same call without it goes on from there.

    Returns:
      the metrics of the last epoch that ended in this call ('val/top1', ...), if one did.

    Raises:
      ValueError: the config does not fit the data, the devices or the run in the folder.
      FloatingPointError: the loss is no longer finite; the checkpoints are from before.
    """
    parallel.check_batch(config.batch_size, config.optimizer.accumulation)
    parallel.check_batch(config.eval_batch_size)
    train = splits.open_split(config.data, "train")
    validation = splits.open_split(config.data, "validation")
    if train.class_names != validation.class_names:
        raise ValueError(f"{config.data.prepared_dir}: train and validation have other classes")
    steps_per_epoch = batches.train_steps_per_epoch(len(train), config.batch_size)
    total_steps = config.epochs * steps_per_epoch

    net = model.from_config(config.model, classes=len(train.class_names))
    direction = optimizer.direction(config.optimizer)
    schedule = optimizer.learning_rate_schedule(
        config.optimizer,
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
    )
    state = initial_state(
        model.initial_params(net, config.seed, config.augment.crop, train.mean.shape[2]), direction
    )
    plateau = optimizer.Plateau()
    workdir.claim(directory, config, train, validation)

    checkpoints = Checkpoints(
        directory / "checkpoints",
        keep_latest=config.checkpoint.keep_latest,
        keep_best=config.checkpoint.keep_best,
        keep_steps=[epoch * steps_per_epoch for epoch in config.checkpoint.keep_epochs],
    )
    with checkpoints:
        restored = checkpoints.restore_latest({"state": state, "mean": train.mean})
        if restored:
            _, arrays, record = restored
            state = arrays["state"]
            plateau = optimizer.Plateau(**record["plateau"])
        step = int(state.step)
        state, mean = parallel.replicate((state, train.mean))
        train_step = parallel.map_over_devices(
            make_train_step(net, config, direction, schedule, steps_per_epoch),
            in_axes=(None, None, 0),
            donate=(0,),
        )
        evaluate = make_evaluator(net, config, validation)
        metrics = MetricsWriter(
            directory, resume_step=step if restored else -1, is_writer=parallel.is_writer()
        )
        progress = Progress(
            total_steps=total_steps,
            start_step=step,
            batch_size=config.batch_size,
            enabled=parallel.is_writer(),
        )

        def save(error: float | None) -> None:
            checkpoints.save(
                step,
                {"state": state, "mean": mean},
                workdir.record(config, train, plateau=dataclasses.asdict(plateau)),
                error,
            )

        every = config.checkpoint.every_steps
        mid_epoch_saves = range(0, total_steps, every) if every else ()
        losses: collections.deque[tuple[int, jax.Array]] = collections.deque()
        result: dict[str, float] = {}
        with metrics, progress:
            while step < total_steps:
                epoch = step // steps_per_epoch
                title, began, first = f"epoch {epoch + 1}/{config.epochs}", time.monotonic(), step
                for batch in _batches_of(train, config, epoch, step % steps_per_epoch):
                    state, loss = train_step(state, mean, batch)
                    step += 1
                    losses.append((step, loss))
                    if len(losses) > 2:  # the host never waits for the step that it just started
                        progress.update(step, title=title, loss=_finite(*losses.popleft()))
                    at_epoch_end = step % steps_per_epoch == 0
                    if not at_epoch_end and (step == stop_after_steps or step in mid_epoch_saves):
                        while losses:
                            _finite(*losses.popleft())
                        save(None)
                    if not at_epoch_end and step == stop_after_steps:
                        return result
                while losses:
                    progress.update(step, title=title, loss=_finite(*losses.popleft()))

                sums = {name: float(value) for name, value in state.sums.items()}
                seconds = time.monotonic() - began
                validated = evaluate(state.params, mean)
                _finite(step, validated["loss"])
                result = {
                    "epoch": epoch + 1,
                    **{f"train/{k}": sums[k] / sums["steps"] for k in ("loss", "top1", "top5")},
                    **{f"val/{k}": validated[k] for k in ("loss", "top1", "top5")},
                    "learning_rate": float(schedule(step - 1)) * plateau.scale,
                    "clipped": sums["clipped"] / sums["steps"],
                }
                times = {
                    "images_per_second": (step - first) * config.batch_size / seconds,
                    "epoch_seconds": time.monotonic() - began,
                }
                metrics.write(step, result, time_fields=times)
                progress.line(epoch_line({"step": step, **result, **times}, config.epochs))

                error = 1 - validated["top1"]
                if config.optimizer.schedule == "plateau":
                    plateau = plateau.after(error, config.optimizer.plateau)
                    state = state.replace(rate_scale=parallel.replicate(jnp.float32(plateau.scale)))
                save(error)
                if step == stop_after_steps:
                    break
    return result


def _batches_of(
    split: splits.Split, config: ConfigDict, epoch: int, start: int
) -> Iterator[batches.Batch]:
    """The batches of an epoch from one on, read ahead in a thread and placed on the devices."""
    rows = batches.train_batches(
        split,
        seed=config.seed,
        epoch=epoch,
        start=start,
        batch_size=config.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    return parallel.to_devices(batches.prefetch(rows, size=2), ahead=2)


def _finite(step: int, loss: jax.Array | float) -> float:
    """The loss of a step, on the host. FloatingPointError unless it is finite."""
    value = float(loss)
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss is {value} at step {step}: lower the learning rate "
            "(--config.optimizer.learning_rate); the last checkpoint is from before"
        )
    return value
