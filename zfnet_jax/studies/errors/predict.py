"""The answers of a net for every image of a split: centre crops, or the paper's ten crops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from tqdm import tqdm

from zfnet_jax import parallel
from zfnet_jax.data import augment, batches
from zfnet_jax.data.images import Images
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.errors.predictions import outcomes
from zfnet_jax.training.optimizer import Params

Crops = Literal[1, 10]
Arrays = dict[str, np.ndarray]

_AHEAD = 2  # batches placed on the devices before they are needed


def predict(
    run: Run,
    images: Images,
    *,
    crops: Crops,
    batch_size: int,
    probabilities: bool,
    progress: bool,
) -> Arrays:
    """Shows every image to the net once, shared by all devices and processes.

    Batch size and devices do not matter, but for what they change in how a convolution rounds.

    Args:
      run: the net.
      images: N images as prepared.
      crops: 1, the centre; or 10, corners and centre and the same flipped, the softmax averaged
        (Section 3; Krizhevsky et al. 2012).
      batch_size: images per step, of all devices and processes together. Ten crops of a batch are
        computed one after the other, so they need little more memory than one.
      probabilities: whether to return them; for many images of many classes they are large.
      progress: whether to show a bar, in a terminal, with images per second and the time left.

    Returns:
      the arrays of `predictions.outcomes`, and 'probabilities' [N, classes] float32 if asked for.

    Raises:
      ValueError: there is no image, or the batch does not divide among the devices.
      FloatingPointError: a probability is not finite.
    """
    parallel.check_batch(batch_size)
    count = len(images)
    if not count:
        raise ValueError("there is no image to evaluate")
    step = _make_step(run, crops)
    params, mean = parallel.replicate((run.params, run.mean))
    rows = batches.eval_batches(
        images,
        batch_size=batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    result: Arrays = {}
    done = np.zeros(count, bool)

    def collect(gathered: tuple[jax.Array, jax.Array]) -> int:
        answers, index = (np.asarray(array) for array in gathered)
        answers, index = answers[index >= 0], index[index >= 0]
        _check_finite(answers, index)
        new = outcomes(answers, np.asarray(images.labels)[index])
        if probabilities:
            new["probabilities"] = answers
        for name, values in new.items():
            if name not in result:
                result[name] = np.empty((count, *values.shape[1:]), values.dtype)
            result[name][index] = values
        done[index] = True
        return len(index)

    with tqdm(
        total=count, desc="evaluating", unit=" images", disable=None if progress else True
    ) as bar:
        before = None
        for batch in parallel.to_devices(batches.prefetch(rows, _AHEAD), _AHEAD):
            now = step(params, mean, batch)
            if before is not None:  # while the devices compute
                bar.update(collect(before))
            before = now
        if before is not None:
            bar.update(collect(before))
    if not done.all():
        raise RuntimeError(f"evaluated {done.sum()} of {count} images")
    return result


def _make_step(run: Run, crops: Crops) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """One batch: (params, mean, batch) -> probabilities [B, classes] and rows [B] of all devices.

    Rows are -1 for padding.
    """
    crop, scale = run.config.augment.crop, run.config.augment.scale

    def softmax(params: Params, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(run.net.apply({"params": params}, inputs)[0].astype(jnp.float32))

    def step(
        params: Params, mean: jax.Array, batch: batches.Batch[jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        if crops == 1:
            views = augment.centre_crops(batch.images, mean, crop, scale)
            answers = softmax(params, views)
        else:
            views = jnp.moveaxis(augment.ten_crops(batch.images, mean, crop, scale), 1, 0)
            answers = lax.map(lambda view: softmax(params, view), views).mean(axis=0)
        return lax.all_gather((answers, batch.index), parallel.AXIS, tiled=True)

    return parallel.map_over_devices(step, in_axes=(None, None, 0))


def _check_finite(answers: np.ndarray, index: np.ndarray) -> None:
    wrong = ~np.isfinite(answers).all(axis=1)
    if wrong.any():
        raise FloatingPointError(
            f"image {index[wrong].min()} gives probabilities that are not finite: the net's "
            "weights or the image's are damaged"
        )
