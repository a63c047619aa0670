"""Crops, flips and mean subtraction on the device (paper, Section 3).

The mean is per pixel of the whole stored image, so it is cropped with it; the flip comes last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from zfnet_jax.windows import Pair, Sides, both, in_words

# 'ten': one of the paper's ten sub-crops (corners and centre, flipped or not);
# 'random': any position, flipped or not.
CropRule = Literal["ten", "random"]

# What pixels minus the mean are divided by: one number, or one per channel.
Scale = float | tuple[float, ...]

Pixels = TypeVar("Pixels", jax.Array, np.ndarray)


def check(config: ConfigDict) -> None:
    """ValueError unless `config.augment` makes sense, and its crops can be cut from the images."""
    crop, size = config.augment.crop, config.data.image_size
    try:
        sides = both(crop)
    except ValueError as error:
        raise ValueError(f"config.augment.crop: {error}") from None
    if not all(1 <= side <= size for side in sides):
        raise ValueError(
            f"config.augment.crop {in_words(crop)}: must be between 1 and config.data.image_size,"
            f" {size}"
        )
    if config.augment.crops not in get_args(CropRule):
        rules = " or ".join(get_args(CropRule))
        raise ValueError(f"config.augment.crops {config.augment.crops!r}: must be {rules}")
    scale = config.augment.scale
    if not (_is_scale(scale) or (isinstance(scale, (tuple, list)) and _are_scales(scale))):
        raise ValueError(
            f"config.augment.scale {scale!r}: must be a positive number, or one for each of red,"
            " green and blue, such as (58.4, 57.1, 57.4)"
        )
    if not 0 <= config.augment.colour < math.inf:
        raise ValueError(f"config.augment.colour {config.augment.colour}: must be 0 or more")


def image_keys(seed: int, epoch: jax.Array, index: jax.Array) -> jax.Array:
    """One key per image [B], from the run's seed, the epoch and the image's row in the data set.

    It depends on nothing else, so a step draws the same whatever the number of devices.
    """
    key = jax.random.fold_in(jax.random.key(seed), epoch)
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(index)


def random_crops(
    images: jax.Array, keys: jax.Array, mean: jax.Array, crop: Sides, rule: CropRule, scale: Scale
) -> jax.Array:
    """Training input: one crop of each image, mean subtracted.

    Args:
      images: [B, S, S, C] uint8.
      keys: [B] keys.
      mean: [S, S, C] float32, the training set's per-pixel mean.
      crop: side of the crop, or its rows and columns H and W, pixels.
      rule: which crops there are.
      scale: see `Scale`.

    Returns:
      [B, H, W, C] float32.
    """
    size = both(crop)
    room = jnp.array([images.shape[1] - side for side in size])
    corners = jnp.array(_five_offsets(images.shape[1], size))

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        where, flip = jax.random.split(key)
        if rule == "ten":
            offset = corners[jax.random.randint(where, (), 0, len(corners))]
        else:
            offset = jax.random.randint(where, (2,), 0, room + 1)
        return offset, jax.random.bernoulli(flip)

    offsets, flips = jax.vmap(draw)(keys)
    return _crops(images, mean, size, offsets, flips, scale)


def centre(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The middle of images: [..., S, S, C] to [..., H, W, C], `size` being (H, W)."""
    height, width = size
    top, left = (pixels.shape[-3] - height) // 2, (pixels.shape[-2] - width) // 2
    # The checker forgets which of the two a slice is of.
    return pixels[..., top : top + height, left : left + width, :]  # pyrefly: ignore [bad-return]


def centre_crops(images: jax.Array, mean: jax.Array, crop: Sides, scale: Scale) -> jax.Array:
    """Evaluation input: the centre crop of each image, mean subtracted; as `random_crops`."""
    size = both(crop)
    return (centre(images, size).astype(jnp.float32) - centre(mean, size)) / jnp.float32(scale)


def ten_crops(images: jax.Array, mean: jax.Array, crop: Sides, scale: Scale) -> jax.Array:
    """The paper's ten sub-crops: corners and centre, then the same flipped.

    Returns:
      [B, 10, H, W, C] float32.
    """
    height, width = both(crop)
    five = [
        (
            images[:, y : y + height, x : x + width].astype(jnp.float32)
            - mean[y : y + height, x : x + width]
        )
        / jnp.float32(scale)
        for y, x in _five_offsets(images.shape[1], (height, width))
    ]
    return jnp.stack([*five, *(view[:, :, ::-1] for view in five)], axis=1)


def _crops(
    images: jax.Array,
    mean: jax.Array,
    size: Pair,
    offsets: jax.Array,
    flips: jax.Array,
    scale: Scale,
) -> jax.Array:
    def one(image: jax.Array, offset: jax.Array, flip: jax.Array) -> jax.Array:
        start, shape = (offset[0], offset[1], 0), (*size, image.shape[2])
        pixels = lax.dynamic_slice(image, start, shape).astype(jnp.float32)
        pixels = (pixels - lax.dynamic_slice(mean, start, shape)) / jnp.float32(scale)
        return jnp.where(flip, pixels[:, ::-1], pixels)

    return jax.vmap(one)(images, offsets, flips)


def _five_offsets(size: int, crop: Pair) -> tuple[tuple[int, int], ...]:
    """(row, column) of the corner crops and the centre one."""
    down, right = (size - side for side in crop)
    return ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2))


def _is_scale(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf


def _are_scales(values: Sequence[Any]) -> bool:
    return len(values) == 3 and all(map(_is_scale, values))
