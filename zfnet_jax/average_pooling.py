"""Average pooling and its adjoint, which spreads a value over the window that it came from.

Both are sums over windows along rows, then along columns; what a sum is divided by is given, since
windows at an edge may count fewer pixels.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from zfnet_jax import windows
from zfnet_jax.windows import Pads, Sides


def average_pool(
    x: jax.Array, window: Sides, stride: Sides, pads: Pads, counts: tuple[jax.Array, jax.Array]
) -> jax.Array:
    """The mean of each window, with zeros around the maps.

    Args:
      x: maps [B, H, W, C].
      window: sides of the window, pixels: one number or (rows, columns).
      stride: step between windows, pixels: one number or (down, across).
      pads: ((top, bottom), (left, right)) pixels of zeros around the maps.
      counts: for rows [h] or [B, h], and for columns [w] or [B, w]: a unit is the sum of its window
        divided by the product of its two.

    Returns:
      [B, h, w, C] of x's dtype.
    """
    edges = [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)]
    means = lax.pad(x, jnp.zeros((), x.dtype), edges).astype(jnp.float32)
    for axis, k, s in zip((1, 2), windows.both(window), windows.both(stride), strict=True):
        units = (means.shape[axis] - k) // s + 1
        last = (units - 1) * s + 1
        views = (lax.slice_in_dim(means, first, first + last, s, axis) for first in range(k))
        means = functools.reduce(jnp.add, views)
    return (means * _shares(counts)).astype(x.dtype)


def average_unpool(
    x: jax.Array,
    size: tuple[int, int],
    window: Sides,
    stride: Sides,
    pads: Pads,
    counts: tuple[jax.Array, jax.Array],
) -> jax.Array:
    """The adjoint of `average_pool`: each value's share to every pixel of its window.

    Args:
      x: [B, h, w, C] float32.
      size: (H, W) of the maps that were pooled.

    Returns:
      [B, H, W, C] float32.
    """
    spread = x * _shares(counts)
    sides, strides = windows.both(window), windows.both(stride)
    for axis, (pixels, pad, k, s) in enumerate(zip(size, pads, sides, strides, strict=True), 1):
        last = (spread.shape[axis] - 1) * s + 1
        total = jnp.zeros((), x.dtype)
        for first in range(k):
            edges = [(0, 0, 0)] * 4
            edges[axis] = (first, pixels + sum(pad) - first - last, s - 1)
            total += lax.pad(spread, jnp.zeros((), x.dtype), edges)
        spread = lax.slice_in_dim(total, pad[0], pad[0] + pixels, axis=axis)
    return spread


def _shares(counts: tuple[jax.Array, jax.Array]) -> jax.Array:
    """[h, w, 1] or [B, h, w, 1]."""
    rows, columns = counts
    return 1 / (rows[..., :, None, None] * columns[..., None, :, None])
