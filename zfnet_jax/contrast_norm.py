"""Contrast normalisation across maps (Krizhevsky et al. 2012, Section 3.3; layers 1 and 2 here)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

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
    # A product with a banded matrix sums each map's neighbours: a windowed reduction over maps, or
    # shifted views of them, take several times as long, and their gradients more.
    number = np.arange(x.shape[3])
    band = np.abs(number[:, None] - number) <= norm.maps // 2
    neighbours = jnp.einsum(
        "bhwc,cd->bhwd", jnp.square(x32), band.astype(np.float32), precision="highest"
    )
    alpha = norm.alpha / norm.maps if norm.alpha_convention == "mean" else norm.alpha
    # exp and log: XLA's CPU code for a power is slow.
    divisor_power = jnp.exp(-norm.beta * jnp.log(norm.k + alpha * neighbours))
    return (x32 * divisor_power).astype(x.dtype)
