"""Loss and error of a net over a whole data set, every image exactly once."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax
from ml_collections import ConfigDict

from zfnet_jax import parallel
from zfnet_jax.data import augment, batches
from zfnet_jax.data.images import Split
from zfnet_jax.model import ZFNet
from zfnet_jax.training.optimizer import Params
from zfnet_jax.training.step import topk_hits

Evaluator = Callable[[Params, jax.Array], dict[str, float]]


def make_evaluator(model: ZFNet, config: ConfigDict, split: Split) -> Evaluator:
    """A function (params, mean [S, S, C]) -> metrics of the net on a split, centre crops.

    The metrics are 'loss', 'top1', 'top5' (shares of images) and 'images'. Counts are summed over
    devices and processes; padding rows are masked out.
    """

    def step(
        params: Params, mean: jax.Array, batch: batches.Batch[jax.Array]
    ) -> dict[str, jax.Array]:
        images = augment.centre_crops(batch.images, mean, config.augment.crop, config.augment.scale)
        logits, _ = model.apply({"params": params}, images)
        mask = batch.mask > 0
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
        top1, top5 = topk_hits(logits, batch.labels)
        sums = {
            "loss": jnp.sum(jnp.where(mask, losses, 0)),
            "top1": jnp.sum(mask & top1),
            "top5": jnp.sum(mask & top5),
            "images": jnp.sum(mask),
        }
        return lax.psum(sums, parallel.AXIS)

    mapped = parallel.map_over_devices(step, in_axes=(None, None, 0))

    def evaluate(params: Params, mean: jax.Array) -> dict[str, float]:
        rows = batches.eval_batches(
            split,
            batch_size=config.eval_batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        placed = parallel.to_devices(batches.prefetch(rows, size=2), ahead=2)
        partial_sums = [mapped(params, mean, batch) for batch in placed]
        totals = {name: sum(part[name].item() for part in partial_sums) for name in partial_sums[0]}
        images = totals.pop("images")
        if images != len(split):
            raise RuntimeError(f"evaluated {images} of {len(split)} images")
        return {name: total / images for name, total in totals.items()} | {"images": images}

    return evaluate
