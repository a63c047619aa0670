"""Correspondence (Section 4.3, Fig. 8, Table 1): does masking a part change features alike?

A part of every image is covered by a grey square; eps_i = x_i - x~_i is what that changes in a
layer's features of image i. Where sign(eps) agrees among images more than for random places, the
paper says, the layer relates the part across images.

Two things are random here. 'random' has its own place in every image, as in the paper. But then
the squares of a pair lie apart, while a part lies at much the same place in all aligned images,
and maps of features keep places apart: signs agree better for that alone. So 'same_place' has one
random place for all images: only a part that agrees better than that owes it to what it is. (It
is a hard rival, as its squares lie exactly alike and those of a part only nearly.)

The tests permute what is exchangeable if parts are nothing special; pairs are not, as each image
is in many of them. Both are two-sided:

  against 'random'      In every image, apart from all others, the part's square and the R random
                        ones may change names. So one of the R + 1 is taken at random in each
                        image for the part's, `permutations` times, and the mean distance of its
                        pairs compared with that of the part.
  against 'same_place'  A place is drawn for all images at once, so whole draws change names: the
                        rank of the part's mean distance among those of the R draws. No p-value
                        is below 2 / (R + 1).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import model, parallel, passes, tasks
from zfnet_jax.data import augment
from zfnet_jax.data.landmarks import PartPhotos
from zfnet_jax.model import ZFNet
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.correspondence.permutation import mean_over_pairs, p_value, permute_in_images
from zfnet_jax.studies.correspondence.sign_hamming import ZERO_RULES, compare
from zfnet_jax.studies.correspondence.squares import GREY, cover, mask_side, place_squares

Arrays = dict[str, np.ndarray]


def measure(
    run: Run,
    photos: PartPhotos,
    layers: Sequence[str],
    *,
    mask: float,
    draws: int,
    permutations: int,
    seed: int,
    batch_size: int,
    progress: bool = True,
) -> Arrays:
    """Distances of signs between all pairs of images, for parts and for random places.

    Args:
      run: the net.
      photos: N images of P parts, at the size of the net's input.
      layers: names of activations.
      mask: side of the grey square, as a share of the image's side.
      draws: R, random places in each image, and as many that all images share.
      permutations: in the test against 'random'.
      seed: of places and permutations.
      batch_size: images forwarded at a time.
      progress: whether to show a bar with masked images per second and the time left.

    Returns:
      'images' [N, S, S, 3] uint8, 'keys' [N], 'parts' [P], 'layers', 'rules' (see
      `sign_hamming`), names; 'pairs' [pairs, 2]; 'side' of the square, pixels, 'fill', its grey;
      'corner/part' [P, N, 2], 'corner/random' and 'corner/same_place' [R, N, 2], its (row, column);
      per layer 'zero/{layer}/part' [P], '.../random' and '.../same_place' [R], the share of eps
      that is exactly zero; and per layer and rule '{layer}/{rule}/part' [P, pairs],
      '.../random' and '.../same_place' [R, pairs], distances from 0 to 1; '.../p_random' and
      '.../p_same_place' [P], p-values. NaN where a rule leaves nothing to compare.

    Raises:
      ValueError: an option is out of range, a layer does not exist, or there is no room for random
        places.
    """
    _check(run, photos, layers, draws, permutations)
    side = mask_side(mask, run.input_size[0])
    corners = place_squares(photos, side, draws, seed)
    every = np.concatenate(list(corners.values()))  # [V, N, 2]
    signs = _signs_of_change(
        run, photos.images, np.swapaxes(every, 0, 1), side, tuple(layers), batch_size, progress
    )
    pairs = np.array(list(itertools.combinations(range(len(photos)), 2)))
    result: Arrays = {
        "images": photos.images,
        "keys": np.array(photos.keys),
        "parts": np.array(list(photos.parts)),
        "layers": np.array(list(layers)),
        "rules": np.array(ZERO_RULES),
        "pairs": pairs,
        "side": np.array(side),
        "fill": np.array(GREY),
    } | {f"corner/{name}": array for name, array in corners.items()}
    cuts = np.cumsum([len(array) for array in corners.values()])[:-1]
    for layer in layers:
        zero = np.split((signs[layer] == 0).mean(axis=(0, 2)), cuts)
        result |= {f"zero/{layer}/{name}": share for name, share in zip(corners, zero)}
        found = _distances(signs.pop(layer), pairs, len(photos.parts), permutations, seed)
        result |= {f"{layer}/{name}": array for name, array in found.items()}
    return result


def _signs_of_change(
    run: Run,
    images: np.ndarray,
    corners: np.ndarray,
    side: int,
    layers: tuple[str, ...],
    batch_size: int,
    progress: bool,
) -> dict[str, np.ndarray]:
    """sign(eps) of images [N, S, S, 3], covered at corners [N, V, 2]: {layer: [N, V, D] int8}.

    A zero is exact only if rounding is the same in both features, so the image as it is fills a
    batch of its own, and eps is taken from row to row of batches of one size.
    """
    count, masks = corners.shape[:2]
    params = parallel.replicate(run.params)

    def of_image(number: int) -> dict[str, np.ndarray]:
        same = np.repeat(images[number][None], batch_size, axis=0)
        whole = _features(run, params, same, layers)
        found: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
        for begin in range(0, masks, batch_size):
            chosen = corners[number, begin : begin + batch_size]
            filled = np.resize(chosen, (batch_size, 2))
            covered = _features(run, params, cover(same, filled, side), layers)
            for layer in layers:
                eps = (whole[layer] - covered[layer])[: len(chosen)]
                if not np.isfinite(eps).all():
                    raise FloatingPointError(f"a feature of {layer} is not finite")
                found[layer].append(np.sign(eps).astype(np.int8))
        return {layer: np.concatenate(parts) for layer, parts in found.items()}

    found: list[dict[str, np.ndarray]] = []
    with passes.bar(count * masks, "masks", "images", progress) as bar:
        for signs in tasks.dealt(range(count), of_image):
            found.append(signs)
            bar.update(masks)
    return {layer: np.stack([signs[layer] for signs in found]) for layer in layers}


def _features(
    run: Run, params: dict[str, Any], images: np.ndarray, layers: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """[B, S, S, 3] uint8, which is all that the net sees, to {layer: [B, D]}."""
    mean = augment.centre(run.mean, images.shape[1:3])
    scale = run.config.augment.scale
    features = _forward(run.net, parallel.here(params), mean, images, scale, layers)
    return {layer: np.asarray(array) for layer, array in features.items()}


@functools.partial(jax.jit, static_argnames=("net", "layers"))
def _forward(
    net: ZFNet,
    params: dict[str, Any],
    mean: jax.Array,
    images: jax.Array,
    scale: float,
    layers: tuple[str, ...],
) -> dict[str, jax.Array]:
    inputs = augment.centre_crops(images, mean, images.shape[1], scale)
    _, activations = model.forward(net, params, inputs)
    return {layer: activations[layer].reshape(len(images), -1) for layer in layers}


def _distances(
    signs: np.ndarray, pairs: np.ndarray, parts: int, permutations: int, seed: int
) -> Arrays:
    """'{rule}/{name}' of one layer, see `measure`, from signs [N, P + R + R, D]."""
    draws = (signs.shape[1] - parts) // 2
    own, shared = np.split(signs, [parts + draws], axis=1)
    crossed = [compare(own[i], own[j]) for i, j in pairs]
    aligned = [compare(shared[i][:, None], shared[j][:, None]) for i, j in pairs]
    result = {}
    for rule in ZERO_RULES:
        table = np.stack([counts.distance(rule) for counts in crossed])  # [pairs, P + R, P + R]
        same = np.stack([counts.distance(rule)[:, 0, 0] for counts in aligned], axis=1)
        alike = np.diagonal(table, axis1=1, axis2=2).T
        result |= {
            f"{rule}/part": alike[:parts],
            f"{rule}/random": alike[parts:],
            f"{rule}/same_place": same,
            f"{rule}/p_random": np.array(
                [
                    permute_in_images(table, pairs, n, parts, permutations, seed)
                    for n in range(parts)
                ]
            ),
            f"{rule}/p_same_place": np.array(
                [p_value(mean_over_pairs(part), mean_over_pairs(same)) for part in alike[:parts]]
            ),
        }
    return result


def _check(
    run: Run, photos: PartPhotos, layers: Sequence[str], draws: int, permutations: int
) -> None:
    if len(photos) < 2:
        raise ValueError(f"correspondence needs at least two images, not {len(photos)}")
    if photos.images.shape[1:3] != run.input_size:
        raise ValueError(f"images are {photos.images.shape[1:3]}, the net sees {run.input_size}")
    if draws < 1 or permutations < 1:
        raise ValueError(f"draws and permutations must be positive, got {draws}, {permutations}")
    inputs = jax.ShapeDtypeStruct((1, *run.input_size, 3), jnp.float32)
    there = [name for name in jax.eval_shape(run.forward, inputs)[1] if "switches" not in name]
    for layer in layers:
        if layer not in there:
            raise ValueError(f"no activation {layer!r}: the net has {', '.join(there)}")
