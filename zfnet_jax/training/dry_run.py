"""What a training will take of time, memory and disk: measured on the devices at hand, in a minute.

The train step is compiled and some steps are made, on the prepared images or, where there are none
yet, on made ones. No checkpoint and no record is written.
"""

from __future__ import annotations

import collections
import itertools
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import parallel
from zfnet_jax.data import made, splits
from zfnet_jax.data.batches import Batch
from zfnet_jax.data.images import evenly_spread
from zfnet_jax.training import estimate
from zfnet_jax.training.estimate import Program, bytes_in_words, seconds_in_words
from zfnet_jax.training.evaluation import make_evaluator
from zfnet_jax.training.job import Job, set_up
from zfnet_jax.training.progress import Waiting
from zfnet_jax.training.step import TrainState

_SECONDS = 5.0  # that steps are timed for, and half of it reading
_STEPS = (4, 200)  # that are timed, at least and at most
_WARM_UP = 2  # steps before
_AHEAD = 2  # steps that the devices have to do while the host starts the next one
_VALIDATED = 4  # batches
_PLACED = 5  # batches on the devices before they are needed, see `passes.on_devices`

_Batches = Generator[Batch[jax.Array], None, None]


class Speed(NamedTuple):
    """Measured, in seconds.

    Attributes:
      step: of the training loop, its reading included.
      waiting: the share of it in which the loop waited for its next batch.
      reading: of a batch, while nothing is trained; None where the images are made ones.
      validating: of a batch of `config.eval_batch_size`.
    """

    step: float
    waiting: float
    reading: float | None
    validating: float


def dry_run(config: ConfigDict, directory: Path | None = None) -> Iterator[str]:
    """What is found, in lines, each as soon as it is known. Several processes find it together.

    Args:
      config: of the run, see configs/zfnet.py.
      directory: the run's folder, if it has one; it is only looked at.

    Raises:
      ValueError, FileNotFoundError: as `train.train_and_evaluate` would, before its first step.
    """
    began = time.monotonic()
    prepared = (splits.folder_of(config.data, "train") / "manifest.json").exists()
    job = set_up(config, directory, None if prepared else made.make(config.data))
    yield from job.config.rules
    if job.start:
        yield job.start.words
    yield _of_data(job, prepared)

    carried = parallel.replicate((job.initial(), np.bool_(True), job.mean))
    shapes = jax.eval_shape(lambda: carried)
    batches = _batches(job, epoch=0)
    first = next(batches)
    compiling = time.monotonic()
    compiled = job.train_step.lower(*carried, first).compile()
    program = estimate.program(compiled)
    yield _of_program(job, program, time.monotonic() - compiling)
    yield _of_device(program, shapes, first)
    yield _of_disk(job, shapes, directory)

    start = time.monotonic() - began
    # A compiled program takes arrays of all processes together, which `train_step` makes of ours.
    step = compiled if parallel.process_count() == 1 else job.train_step
    (state, _, mean), seconds, waiting = _timed_steps(step, carried, batches)
    reading = _timed_reading(job) if prepared else None
    validating, compiling = _timed_validation(job, state, mean)
    speed = Speed(seconds, waiting, reading, validating)
    yield from _of_time(job, speed, start + compiling)
    host = estimate.host_memory()
    most = host.most + estimate.tree_bytes(shapes)  # a checkpoint is written from a copy
    each = ", each process" if parallel.process_count() > 1 else ""
    yield f"memory of the host: {bytes_in_words(most)}{each}, of {bytes_in_words(host.there)}"


def _batches(job: Job, epoch: int) -> _Batches:
    """Those of an epoch and of all that follow it."""
    for number in itertools.count(epoch):
        yield from job.batches(number, 0)


def _timed_steps(
    step: Callable[..., Any], carried: tuple[Any, ...], batches: _Batches
) -> tuple[tuple[Any, ...], float, float]:
    """Trains for a moment; what is carried then, `Speed.step` and `Speed.waiting`.

    Args:
      step: compiled.
      carried: state, healthy, mean.
    """
    state, healthy, mean = carried
    fed = Waiting(batches)
    under_way: collections.deque[jax.Array] = collections.deque()

    def train(count: int) -> float:
        """The seconds that so many steps take, from when none is under way to when none is."""
        nonlocal state, healthy
        began = time.monotonic()
        for batch in itertools.islice(fed, count):
            state, healthy, loss = step(state, healthy, mean, batch)
            under_way.append(loss)
            if len(under_way) > _AHEAD:
                under_way.popleft().block_until_ready()
        while under_way:
            under_way.popleft().block_until_ready()
        return time.monotonic() - began

    train(_WARM_UP)
    count = _number(_SECONDS / train(1), *_STEPS)
    fed.seconds = 0.0
    seconds = train(count)
    batches.close()
    return (state, healthy, mean), seconds / count, fed.seconds / seconds


def _timed_reading(job: Job) -> float:
    """`Speed.reading`; of images that no step has read here."""
    batches = _batches(job, epoch=1)
    next(batches)
    began = time.monotonic()
    for count, batch in enumerate(batches, 1):
        jax.block_until_ready(batch)
        seconds = time.monotonic() - began
        if count >= _STEPS[0] and (seconds > _SECONDS / 2 or count >= _STEPS[1]):
            break
    batches.close()
    return seconds / count


def _timed_validation(job: Job, state: TrainState, mean: jax.Array) -> tuple[float, float]:
    """`Speed.validating`, and the seconds that compiling takes."""
    size = job.config.eval_batch_size
    some = evenly_spread(job.validation, _VALIDATED * size)
    evaluate = make_evaluator(job.net, job.config, some)
    seconds = []
    for _ in range(2):
        began = time.monotonic()
        evaluate(state.params, mean)
        seconds.append(time.monotonic() - began)
    return seconds[1] / -(-len(some) // size), max(seconds[0] - seconds[1], 0.0)


def _number(wanted: float, least: int, most: int) -> int:
    """The same in all processes, which step together."""
    return int(parallel.from_writer(str(min(max(int(wanted), least), most))))


def _of_data(job: Job, prepared: bool) -> str:
    there = (
        "prepared in" if prepared else "not prepared yet: made images in place of those that go to"
    )
    return (
        f"data: {len(job.train)} images to train on, {len(job.validation)} to validate on,"
        f" {len(job.train.class_names)} classes, {there} {job.config.data.prepared_dir}"
    )


def _of_program(job: Job, program: Program, seconds: float) -> str:
    devices, kind = parallel.device_count(), parallel.local_devices()[0].device_kind
    counts = ", ".join(f"{count} {name}" for name, count in program.counts.items())
    return (
        f"step: {job.config.batch_size} images on {devices} x {kind}, compiled in"
        f" {seconds_in_words(seconds)} to {counts}"
    )


def _of_device(program: Program, carried: tuple[Any, ...], batch: Batch[jax.Array]) -> str:
    state, waiting = carried[0], _PLACED * estimate.tree_bytes(batch)
    waiting //= len(parallel.local_devices())
    parts = {
        "parameters": estimate.tree_bytes(state.params),
        "momentum": estimate.tree_bytes(state.momentum),
        "set aside by the step (activations, gradients)": program.set_aside,
        "of batches that wait": waiting,
    }
    listed = ", ".join(f"{bytes_in_words(count)} {name}" for name, count in parts.items())
    there = estimate.device_memory()
    whole = program.taken + program.made + program.set_aside + waiting
    of = f" of {bytes_in_words(there)}" if there else ""
    return f"memory of a device: {bytes_in_words(whole)}{of}: {listed}" + (
        "; that does not fit: set config.optimizer.accumulation=2 or more, or a smaller"
        " config.batch_size"
        if there and whole > there
        else ""
    )


def _of_disk(job: Job, carried: tuple[Any, ...], directory: Path | None) -> str:
    keep, epochs = job.config.checkpoint, job.config.epochs
    count = keep.keep_latest + keep.keep_best + sum(one <= epochs for one in keep.keep_epochs)
    if not keep.every_steps:
        count = min(count, epochs)
    if keep.every_steps or count < epochs:
        count += 1  # the next one is written before an older one goes
    state, _, mean = carried
    each = estimate.tree_bytes((state, mean))
    line = (
        f"disk: {bytes_in_words(count * each)}, {count} checkpoints of {bytes_in_words(each)} at"
        " most"
    )
    if directory is None:
        return line
    there = next(one for one in (directory, *directory.absolute().parents) if one.exists())
    return f"{line}; {bytes_in_words(shutil.disk_usage(there).free)} are free"


def _of_time(job: Job, speed: Speed, start: float) -> Iterator[str]:
    config = job.config
    images = config.batch_size
    reading = f"; reading alone {_rate(images / speed.reading)}" if speed.reading else ""
    yield (
        f"speed: a step of {seconds_in_words(speed.step)}, {_rate(images / speed.step)},"
        f" {speed.waiting:.1%} of it waiting for images{reading}"
    )
    validation = speed.validating * -(-len(job.validation) // config.eval_batch_size)
    epoch = job.steps_per_epoch * speed.step + validation
    left = config.epochs - (job.steps_made or 0) / job.steps_per_epoch
    made = f"; {config.epochs - left:.3g} of {config.epochs} are done" if job.steps_made else ""
    ends = " at most" if config.early_stopping else ""
    yield (
        f"time: {seconds_in_words(start + left * epoch)} in all{ends}: {seconds_in_words(start)} to"
        f" begin and compile, {left:.3g} epochs of {seconds_in_words(epoch)}, of which validation"
        f" {seconds_in_words(validation)}{made}"
    )


def _rate(images: float) -> str:
    return f"{images:,.0f} images/s" if images >= 9.5 else f"{images:.2g} images/s"
