"""Mining: for every map of every conv layer, the images of a data set that activate it most.

The paper shows a feature map by its nine strongest activations over the validation set, at most
one per image (Section 4, Fig. 2). One pass finds the images for all maps at once. What it carries
from batch to batch is some values and image numbers per map, on the device. Where in the images
the winners are, and which of them win by a hair, says `winner_projection.locate`.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfnet_jax import model, parallel, passes
from zfnet_jax.data import augment, batches
from zfnet_jax.data.augment import Scale
from zfnet_jax.data.images import Split
from zfnet_jax.files import damage_told, whole_file
from zfnet_jax.model import ZFNet
from zfnet_jax.runs import provenance
from zfnet_jax.runs.run import Run
from zfnet_jax.training.optimizer import Params
from zfnet_jax.windows import Pair

Arrays = dict[str, np.ndarray]
Array = TypeVar("Array", np.ndarray, jax.Array)
State = dict[str, tuple[Array, Array]]  # by layer: values and images, [M, k + SPARE]

# A convolution may round differently for another batch size or device, which can swap images whose
# activations are almost equal. So the pass finds some more images than asked for, and `locate`
# ranks them by activations that are always computed in one way.
SPARE = 3

_SAVE_EVERY = 20.0  # seconds between two saves of an unfinished pass: all that a kill can cost


def mine(
    run: Run,
    split: Split,
    *,
    k: int,
    batch_size: int,
    partial_path: Path | None = None,
    progress: bool = True,
) -> Arrays:
    """Finds the k + SPARE images with the strongest activation of every map of every conv layer.

    An image counts with the strongest unit of its map. Equal activations: the image that comes
    first in the data set.

    Args:
      run: the net; sees centre crops.
      split: the images.
      k: winners per map.
      batch_size: images per step, of all devices and processes together.
      partial_path: an .npz file that keeps the unfinished pass. If it exists, the pass goes on
        where it stands there; the caller removes it.
      progress: whether to show a bar with images per second and the time left.

    Returns:
      per layer of M maps '{layer}/value' [M, k + SPARE] float32, strongest first, and
      '{layer}/image' [M, k + SPARE] int32, row in the data set. Where fewer images activate a map
      the value is 0 and the image -1.

    Raises:
      ValueError: the partial file is from another pass.
      FloatingPointError: an activation is not finite.
    """
    identity = _identity(run, split, k)
    kept = parallel.by_writer(lambda: _load_partial(partial_path, identity))
    state, done = kept or (_empty(run, k + SPARE), 0)
    mapped = _make_step(
        run.net,  # pyrefly: ignore [bad-argument-type]  (it has a hash, of its fields)
        run.input_size,
        run.scale,
    )
    step = parallel.map_over_devices(mapped, in_axes=(None, None, None, 0))
    read = functools.partial(batches.read, split)
    params, mean, state = parallel.replicate((run.params, run.mean, state))
    saved = time.monotonic()
    with passes.bar(len(split), "mining", "images", progress, start=done) as bar:
        for rows, batch in passes.placed(len(split), read, batch_size=batch_size, start=done):
            before = state
            state = step(params, mean, before, batch)
            jax.block_until_ready(before)  # or the batches would pile up in front of the devices
            bar.update(len(rows))
            if partial_path and parallel.is_writer() and time.monotonic() - saved >= _SAVE_EVERY:
                _save_partial(partial_path, identity, state, rows.stop)
                saved = time.monotonic()
    state = jax.tree.map(np.asarray, state)
    if partial_path and parallel.is_writer():
        _save_partial(partial_path, identity, state, len(split))
    return _result(state)


def dead_maps(found: Arrays, layer: str) -> np.ndarray:
    """Numbers of the maps of a layer that no image activates."""
    return np.flatnonzero(found[f"{layer}/value"][:, 0] <= 0)


@functools.lru_cache(maxsize=8)  # or every call would compile anew
def _make_step(net: ZFNet, crop: Pair, scale: Scale) -> Callable[..., State[jax.Array]]:
    """One batch: (params, mean, state, batch) -> state."""
    layers = [conv.name for conv in net.architecture.convs]

    def step(
        params: Params,
        mean: jax.Array,
        state: State[jax.Array],
        batch: batches.Batch[jax.Array],
    ) -> State[jax.Array]:
        images = augment.centre_crops(batch.images, mean, crop, scale)
        _, activations = model.forward(net, params, images)
        index = lax.all_gather(batch.index, parallel.AXIS, tiled=True)
        new = {}
        for layer in layers:
            maps = activations[layer]
            peaks = maps.max(axis=(1, 2)).astype(jnp.float32)
            # XLA's maximum of several numbers on a CPU passes a NaN over.
            peaks = jnp.where(jnp.isnan(maps).any(axis=(1, 2)), jnp.inf, peaks)
            # An image that does not activate the map comes after the zeros that are there.
            peaks = jnp.where(batch.mask[:, None] > 0, peaks, 0)
            peaks = lax.all_gather(peaks, parallel.AXIS, tiled=True).T
            new[layer] = _merge(*state[layer], peaks, index)
        return new

    return step


def _merge(
    values: jax.Array, images: jax.Array, peaks: jax.Array, index: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The k strongest of what is there, [M, k], and of later images, [M, B] with rows [B]."""
    all_values = jnp.concatenate([values, peaks], axis=1)
    all_images = jnp.concatenate([images, jnp.broadcast_to(index, peaks.shape)], axis=1)
    # Of equal values top_k takes the first, which is the earlier image.
    values, places = lax.top_k(all_values, values.shape[1])
    return values, jnp.take_along_axis(all_images, places, axis=1)


def _empty(run: Run, k: int) -> State[np.ndarray]:
    return {
        conv.name: (np.zeros((conv.maps, k), np.float32), np.full((conv.maps, k), -1, np.int32))
        for conv in run.architecture.convs
    }


def _result(state: State[np.ndarray]) -> Arrays:
    result: Arrays = {}
    for layer, (values, images) in state.items():
        if not np.isfinite(values).all():
            number, place = np.argwhere(~np.isfinite(values))[0]
            raise FloatingPointError(
                f"{layer}: image {images[number, place]} gives map {number} an activation that is "
                "not finite: the net's weights or the image's are damaged"
            )
        result[f"{layer}/value"] = values
        result[f"{layer}/image"] = images
    return result


def _identity(run: Run, split: Split, k: int) -> str:
    """What a pass depends on; not on batch size and devices."""
    net, code = provenance.net_digest(run), provenance.code_digest()
    return json.dumps({"net": net, "code": code, "data": split.fingerprint, "k": k})


def _save_partial(path: Path, identity: str, state: State[jax.Array], done: int) -> None:
    arrays: Arrays = {}
    for layer, (values, images) in state.items():
        arrays |= {f"{layer}/value": np.asarray(values), f"{layer}/image": np.asarray(images)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        np.savez(file, allow_pickle=False, identity=identity, done=done, **arrays)


def _load_partial(path: Path | None, identity: str) -> tuple[State[np.ndarray], int] | None:
    """State and number of images done, or None where there is no partial file."""
    if path is None or not path.exists():
        return None
    with damage_told(path, "remove it, and mining begins anew"), np.load(path) as file:
        arrays = dict(file)
    if str(arrays["identity"]) != identity:
        raise ValueError(
            f"{path} is an unfinished pass of another net, other images or another k, or by"
            " other code: remove it"
        )
    layers = [name.removesuffix("/value") for name in arrays if name.endswith("/value")]
    state = {n: (arrays[f"{n}/value"], arrays[f"{n}/image"]) for n in layers}
    return state, int(arrays["done"])
