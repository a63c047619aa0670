"""Contrast normalisation (Krizhevsky et al. 2012, Section 3.3; layers 1 and 2 here)."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfnet_jax.layer_specs import ContrastNorm


def contrast_norm(x: jax.Array, norm: ContrastNorm) -> jax.Array:
    """Divides each value by (k + alpha * squares of its neighbours)**beta.

    The neighbours of a value in map c are, with region 'across_maps', the `norm.maps` maps centred
    on c at the same pixel; with 'within_map', the `norm.maps` x `norm.maps` pixels of map c centred
    on its own. Beyond the first and last map, and beyond the edges, there are none. With convention
    'mean' alpha is divided by the number of neighbours, those that there are not included.

    Args:
      x: maps [B, H, W, C].

    Returns:
      [B, H, W, C] of x's dtype; sums and the power are taken in float32.
    """
    edge = norm.window // 2
    return norm_inside(jnp.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0))), norm)


def norm_inside(x: jax.Array, norm: ContrastNorm) -> jax.Array:
    """`contrast_norm` of those pixels of windows whose neighbours lie inside the window.

    Args:
      x: [B, h, w, C].

    Returns:
      [B, h - n + 1, w - n + 1, C], n = `norm.window`.
    """
    x32 = x.astype(jnp.float32)
    if norm.region == "across_maps":
        squares = _neighbours_sum(jnp.square(x32), norm.maps)
    else:
        edge, (_, height, width, _) = norm.window // 2, x.shape
        window = (1, norm.window, norm.window, 1)
        squares = lax.reduce_window(jnp.square(x32), 0.0, lax.add, window, (1, 1, 1, 1), "VALID")
        x32 = x32[:, edge : height - edge, edge : width - edge]
    alpha = norm.alpha / norm.neighbours if norm.alpha_convention == "mean" else norm.alpha
    # exp and log: XLA's CPU code for a power is slow.
    divisor_power = jnp.exp(-norm.beta * jnp.log(norm.k + alpha * squares))
    return (x32 * divisor_power).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _neighbours_sum(x: jax.Array, maps: int) -> jax.Array:
    """The sum over the `maps` maps centred on each map. It is its own adjoint."""
    return lax.platform_dependent(
        x, cpu=partial(_sum_by_product, maps=maps), default=partial(_sum_by_shifts, maps=maps)
    )


_neighbours_sum.defvjp(
    lambda x, maps: (_neighbours_sum(x, maps), None),
    lambda maps, _, gradient: (_neighbours_sum(gradient, maps),),
)


def _sum_by_product(x: jax.Array, maps: int) -> jax.Array:
    """With a banded matrix: on a CPU a windowed reduction over maps, or shifted views of them, take
    several times as long."""
    number = np.arange(x.shape[3])
    band = np.abs(number[:, None] - number) <= maps // 2
    return jnp.einsum("bhwc,cd->bhwd", x, band.astype(np.float32), precision="highest")


def _sum_by_shifts(x: jax.Array, maps: int) -> jax.Array:
    """As one pass over the maps, which other devices fuse with what comes before and after."""
    edge = maps // 2
    padded = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (edge, edge)))
    shifted = (lax.slice_in_dim(padded, n, n + x.shape[3], axis=3) for n in range(maps))
    return sum(shifted, jnp.zeros((), x.dtype))
