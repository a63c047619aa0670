"""What mining costs over a plain forward pass of the same images, on a run's net (--workdir).

Both read the same prepared images through the same batches and devices; the plain pass computes the
class scores. Mining compiles in every round, the plain pass in the first alone: with few images
that is what is seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from scripts.benchmarks.trials import Form, Options, Row, spread, take_turns

if TYPE_CHECKING:
    from zfnet_jax.data.images import Split
    from zfnet_jax.runs.run import Run
    from zfnet_jax.training.optimizer import Params

_SPLIT, _IMAGES, _BATCH = "validation", 512, 64


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
        "mining": lambda: mining.mine(run, split, k=9, batch_size=_BATCH, progress=False),
        "plain forward pass": _plain_pass(run, split),
    }
    ours = None
    for name, seconds in take_turns(forms, options.trials).items():
        rates = spread([len(split) / value for value in seconds])
        ratio = ours and ours / rates[0]
        ours = ours or rates[0]
        yield Row(f"{len(split)} images of {_SPLIT}", name, "images/s", *rates, ratio=ratio)


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
