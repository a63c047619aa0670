"""What mining costs over a plain forward pass of the same images, on a run's net (--workdir).

All read the same prepared images, 1000 of them at most, through the same batches and devices; the
plain pass computes the class scores. "Whole mining" is the pass, then positions and projections of
all winners, its folder written: one round of it is enough, for it takes minutes. The pass compiles
in every round, the plain pass in the first alone: with few images that is what is seen.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.benchmarks.trials import Form, Options, Row, spread, take_turns

if TYPE_CHECKING:
    from zfnet_jax.data.images import Split
    from zfnet_jax.runs.run import Run
    from zfnet_jax.training.optimizer import Params

_SPLIT, _IMAGES, _BATCH = "validation", 1000, 64


def rows(options: Options) -> Iterator[Row]:
    from zfnet_jax.data import splits
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.features import mining

    if not options.workdir:
        raise ValueError("the mining suite needs a trained net: --workdir=DIR")
    run = open_run(options.workdir)
    whole = splits.open_split(run.config.data, _SPLIT)
    split = _First(whole, min(_IMAGES, len(whole)))
    forms = {
        "pass of mining": lambda: mining.mine(run, split, k=9, batch_size=_BATCH, progress=False),
        "plain forward pass": _plain_pass(run, split),
    }
    ours, what = None, f"{len(split)} images of {_SPLIT}"
    for name, seconds in take_turns(forms, options.trials).items():
        median, low, high = spread(seconds)
        ratio = ours and ours / median
        ours = ours or median
        yield Row(what, name, "s", median, low, high, ratio=ratio)
    seconds = _whole(run, split)
    yield Row(what, "whole mining, positions and projections", "s", seconds, seconds, seconds)
    yield Row(
        what, "plain forward pass", "s", median, low, high, ratio=seconds / median, target=1.25
    )


def _whole(run: Run, split: Split) -> float:
    """Seconds from nothing to what mining leaves in a folder."""
    from zfnet_jax.studies.features import study
    from zfnet_jax.studies.features.options import Options as Mining

    with tempfile.TemporaryDirectory() as folder:
        elsewhere = dataclasses.replace(run, directory=Path(folder))
        began = time.perf_counter()
        study.measured(elsewhere, split, Mining(split=_SPLIT), batch_size=_BATCH, progress=True)
        return time.perf_counter() - began


@dataclasses.dataclass(frozen=True)
class _First:
    """The first images of a split."""

    split: Split
    count: int

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels[: self.count]

    @property
    def keys(self) -> tuple[str, ...]:
        return self.split.keys[: self.count]

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.split.class_names

    @property
    def mean(self) -> np.ndarray | None:
        return self.split.mean

    @property
    def image_size(self) -> int:
        return self.split.image_size

    @property
    def fingerprint(self) -> str:
        return f"{self.split.fingerprint}, the first {self.count}"

    def __len__(self) -> int:
        return self.count

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.split.rows(index)


def _plain_pass(run: Run, split: Split) -> Form:
    import jax
    import jax.numpy as jnp

    from zfnet_jax import parallel, passes
    from zfnet_jax.data import augment, batches

    crop, scale = run.config.augment.crop, run.config.augment.scale

    def step(
        params: Params, mean: jax.Array, batch: batches.Batch[jax.Array]
    ) -> dict[str, jax.Array]:
        images = augment.centre_crops(batch.images, mean, crop, scale)
        logits, _ = run.net.apply({"params": params}, images)
        return {"score": jnp.mean(logits, axis=1)}

    mapped = passes.summed(step)
    shared = parallel.replicate((run.params, run.mean))

    def forward() -> None:
        passes.sums(split, mapped, shared, batch_size=_BATCH)

    return forward
