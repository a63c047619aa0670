"""Which activations a projection starts from: a layer's maps with all others set to zero.

A whole layer needs no function: its maps are the seed.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

# `index` is one map number, or one per image [B].
Index = int | jax.Array


@jax.jit
def whole_map(maps: jax.Array, index: Index) -> jax.Array:
    """Keeps one map of [B, H, W, C] whole."""
    channel = jnp.arange(maps.shape[3])
    return jnp.where(channel == jnp.reshape(index, (-1, 1, 1, 1)), maps, 0)


@jax.jit
def unit_at(maps: jax.Array, index: Index, row: Index, column: Index) -> jax.Array:
    """Keeps the unit of one map of [B, H, W, C] at one position."""
    here = (jnp.arange(maps.shape[1]) == jnp.reshape(row, (-1, 1)))[:, :, None, None] & (
        jnp.arange(maps.shape[2]) == jnp.reshape(column, (-1, 1))
    )[:, None, :, None]
    return jnp.where(here, whole_map(maps, index), 0)


@jax.jit
def strongest_position(maps: jax.Array, index: Index) -> tuple[jax.Array, jax.Array]:
    """Row and column [B] of the strongest unit of one map of [B, H, W, C]; ties: the first."""
    index = jnp.broadcast_to(jnp.asarray(index), maps.shape[:1])
    chosen = jnp.take_along_axis(maps, index[:, None, None, None], axis=3)
    return jnp.divmod(chosen.reshape(maps.shape[0], -1).argmax(axis=1), maps.shape[2])


@jax.jit
def strongest_unit(maps: jax.Array, index: Index) -> jax.Array:
    """Keeps the strongest activation of one map of [B, H, W, C] (Fig. 2 projects these)."""
    return unit_at(maps, index, *strongest_position(maps, index))


@partial(jax.jit, static_argnames="count")
def strongest_maps(maps: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` maps of [B, H, W, C] with the strongest single activations.

    Returns:
      map numbers [B, count], strongest first, and those activations [B, count].
    """
    peaks = maps.max(axis=(1, 2))
    values, indices = jax.lax.top_k(peaks, min(count, maps.shape[3]))
    return indices, values
