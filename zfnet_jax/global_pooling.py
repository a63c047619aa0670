"""The maximum of each whole map, with a switch that may lie anywhere in it, and its unpooling.

As `pooling`, but for one window of any size: there a switch is a byte.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def global_max_pool(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest value of each map; ties go to the first position in row-major order, and a NaN is
    the largest value.

    Args:
      x: maps [B, H, W, C].

    Returns:
      values [B, 1, 1, C], and switches [B, 1, 1, C] int32, row * W + column.
    """
    batch, _, _, maps = x.shape
    values = x.reshape(batch, -1, maps)
    switches = jnp.argmax(values, axis=1, keepdims=True).astype(jnp.int32)
    pooled = jnp.take_along_axis(values, switches, axis=1)
    return pooled[:, None], switches[:, None]


def global_max_unpool(x: jax.Array, switches: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Each value at the place that its switch names, zeros elsewhere: the adjoint of
    `global_max_pool`.

    Args:
      x, switches: [B, 1, 1, C].
      size: (H, W) of the maps that were pooled.

    Returns:
      [B, H, W, C] of x's dtype.
    """
    height, width = size
    places = jnp.arange(height * width).reshape(1, height, width, 1)
    return jnp.where(places == switches, x, jnp.zeros((), x.dtype))
