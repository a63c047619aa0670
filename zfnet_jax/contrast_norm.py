"""Contrast normalisation across maps (Krizhevsky et al. 2012, Section 3.3; layers 1 and 2 here)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from zfnet_jax.architecture import ContrastNorm


def contrast_norm(x: jax.Array, norm: ContrastNorm) -> jax.Array:
    """Divides each value by (k + alpha * squares of its neighbouring maps)**beta.

    The neighbours of map c are the `norm.maps` maps centred on c at the same pixel; beyond the
    first and last map there are none. With convention 'mean' alpha is divided by `norm.maps`.

    Args:
      x: maps [B, H, W, C].

    Returns:
      [B, H, W, C] of x's dtype; sums and the power are taken in float32.
    """
    x32 = x.astype(jnp.float32)
    reach = norm.maps // 2
    squares = jnp.pad(jnp.square(x32), ((0, 0), (0, 0), (0, 0), (reach, reach)))
    # n shifted views instead of a windowed reduction, whose gradient is slow everywhere.
    neighbours = sum(
        lax.slice_in_dim(squares, shift, shift + x.shape[3], axis=3) for shift in range(norm.maps)
    )
    alpha = norm.alpha / norm.maps if norm.alpha_convention == "mean" else norm.alpha
    return (x32 * (norm.k + alpha * neighbours) ** -norm.beta).astype(x.dtype)
