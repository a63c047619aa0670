"""The one evaluator: what a net answers for every image of a split, each exactly once.

While a net trains, its validation sums loss and hits on the devices; predictions, which
scripts.evaluate and Tables 2 and 3 are made from, have the probabilities of every image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from ml_collections import ConfigDict

from zfnet_jax import model, parallel, passes
from zfnet_jax.data import augment
from zfnet_jax.data.augment import Scale
from zfnet_jax.data.batches import Batch
from zfnet_jax.data.images import Crops, Images
from zfnet_jax.model import ZFNet
from zfnet_jax.runs.run import Run
from zfnet_jax.training.optimizer import Params
from zfnet_jax.training.step import topk_hits
from zfnet_jax.windows import Pair, Sides

Evaluator = Callable[[Params, jax.Array], dict[str, float]]


def make_evaluator(net: ZFNet, config: ConfigDict, images: Images) -> Evaluator:
    """A function (params, mean [S, S, C]) -> metrics of the net on some images, centre crops.

    The metrics are 'loss', 'top1', 'top5' (shares of images) and 'images'.
    """

    crop, scale = config.augment.crop, config.augment.scale

    def step(params: Params, mean: jax.Array, batch: Batch[jax.Array]) -> dict[str, jax.Array]:
        def answer(inputs: jax.Array) -> jax.Array:
            return model.forward(net, params, inputs)[0]

        logits = _of_crops(answer, crop, scale, 1, mean, batch.images)[0]
        top1, top5 = topk_hits(logits, batch.labels)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
        return {"loss": loss, "top1": top1, "top5": top5}

    mapped = passes.summed(step)

    def evaluate(params: Params, mean: jax.Array) -> dict[str, float]:
        totals = passes.sums(images, mapped, (params, mean), batch_size=config.eval_batch_size)
        count = len(images)
        return {name: total / count for name, total in totals.items()} | {"images": count}

    return evaluate


def probabilities(
    run: Run, images: Images, *, crops: Crops, batch_size: int, progress: bool
) -> Iterator[tuple[range, np.ndarray]]:
    """The probabilities of all classes, batch by batch: rows and [len(rows), classes] float32.

    Args:
      run: the net.
      images: N images as prepared.
      crops: 1, the centre; or 10, corners and centre and the same flipped, the softmax averaged
        (Section 3; Krizhevsky et al. 2012).
      batch_size: images per step, of all devices and processes together. Ten crops of a batch are
        computed one after the other, so they need little more memory than one.
      progress: whether to show a bar with images per second and the time left.
    """

    # A Flax module has a hash of its fields, which the decorator that makes it does not tell.
    step = _make_step(run.net, run.input_size, run.scale, crops)  # pyrefly: ignore [bad-argument-type]
    return passes.over_images(
        images,
        passes.gathered(step),
        parallel.replicate((run.params, run.mean)),
        batch_size=batch_size,
        title="evaluating",
        progress=progress,
    )


@functools.lru_cache(maxsize=8)  # or every call would compile anew
def _make_step(
    net: ZFNet, crop: Pair, scale: Scale, crops: Crops
) -> Callable[[Params, jax.Array, Batch[jax.Array]], jax.Array]:
    """(params, mean, batch) -> probabilities [b, classes]."""

    def step(params: Params, mean: jax.Array, batch: Batch[jax.Array]) -> jax.Array:
        def answer(inputs: jax.Array) -> jax.Array:
            return jax.nn.softmax(model.forward(net, params, inputs)[0].astype(jnp.float32))

        return _of_crops(answer, crop, scale, crops, mean, batch.images).mean(axis=0)

    return step


def _of_crops(
    answer: Callable[[jax.Array], jax.Array],
    crop: Sides,
    scale: Scale,
    crops: Crops,
    mean: jax.Array,
    images: jax.Array,
) -> jax.Array:
    """[crops, B, ...]: `answer` of each crop of images [B, S, S, C], all of the same at a time."""
    if crops == 1:
        return answer(augment.centre_crops(images, mean, crop, scale))[None]
    return lax.map(answer, jnp.moveaxis(augment.ten_crops(images, mean, crop, scale), 1, 0))
