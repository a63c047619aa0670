"""What mining costs over a plain forward pass of the same images.

    python -m scripts.benchmark_mining --workdir=DIR [--split=validation] [--rounds=5]

Both read the same prepared images through the same batches and devices; the plain pass computes the
class scores. They take turns, and the best of several rounds counts. Mining compiles in every
round, the plain pass in the first alone: with few images that is what is seen. Quiet machine,
please.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from absl import flags

from scripts import benchmark, shell

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SPLIT = flags.DEFINE_enum("split", "validation", ["train", "validation"], "Images to use.")
_IMAGES = flags.DEFINE_integer("images", 512, "Images of the split, the first.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds of which the best counts.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 64, "Images per step.", lower_bound=1)


@dataclasses.dataclass(frozen=True)
class _First:
    """The first images of a split."""

    split: object
    count: int

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels[: self.count]

    @property
    def fingerprint(self) -> str:
        return f"{self.split.fingerprint}, the first {self.count}"

    def __len__(self) -> int:
        return self.count

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.split.rows(index)


def main() -> None:
    from zfnet_jax.analysis import mining
    from zfnet_jax.data import splits
    from zfnet_jax.run import open_run

    run = open_run(_WORKDIR.value)
    split = splits.open_split(run.config.data, _SPLIT.value)
    split = _First(split, min(_IMAGES.value, len(split)))
    plain = _plain_pass(run, split)
    forms = {
        "plain": plain,
        "mining": lambda: mining.mine(run, split, k=9, batch_size=_BATCH.value, progress=False),
    }
    best = benchmark.best_seconds(forms, _ROUNDS.value + 1)  # the first compiles
    for name, seconds in best.items():
        print(f"{name:7s} {len(split) / seconds:7.1f} images/s")
    print(f"mining takes {best['mining'] / best['plain'] - 1:+.1%} of the plain pass's time")


def _plain_pass(run, split):
    import jax
    from jax import lax

    from zfnet_jax import parallel
    from zfnet_jax.data import augment, batches

    crop, scale = run.config.augment.crop, run.config.augment.scale

    def step(params, mean, batch):
        images = augment.centre_crops(batch.images, mean, crop, scale)
        logits, _ = run.net.apply({"params": params}, images)
        return lax.pmean(logits.mean(), parallel.AXIS)

    mapped = parallel.map_over_devices(step, in_axes=(None, None, 0))
    params, mean = parallel.replicate((run.params, run.mean))

    def forward() -> None:
        rows = batches.eval_batches(
            split, batch_size=_BATCH.value, process_index=0, process_count=1
        )
        for batch in parallel.to_devices(rows, ahead=2):
            jax.block_until_ready(mapped(params, mean, batch))

    return forward


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir"])
    shell.run(main)
