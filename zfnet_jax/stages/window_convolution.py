"""Convolutions of small windows as matrix products, each product over all windows at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from zfnet_jax.layer_specs import Conv


def filter_window(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """A convolution without padding as one product with the columns under each filter position."""
    k, s = conv.kernel, conv.stride
    h, w = ((n - k) // s + 1 for n in x.shape[1:3])
    views = [
        x[:, row : row + (h - 1) * s + 1 : s, column : column + (w - 1) * s + 1 : s]
        for row in range(k)
        for column in range(k)
    ]
    results = []
    for part, weights in zip(
        zip(*(jnp.split(view, conv.groups, axis=3) for view in views), strict=True),
        jnp.split(kernel, conv.groups, axis=3),
        strict=True,
    ):
        columns = jnp.concatenate(part, axis=3)
        matrix = weights.reshape(-1, weights.shape[3])
        results.append(jnp.dot(columns, matrix, precision=precision))
    return jnp.concatenate(results, axis=3)


def spread_change(x: jax.Array, kernel: jax.Array, groups: int, precision: str) -> jax.Array:
    """What maps [N, h, w, C], zero around, add to all units that they reach by a convolution of
    stride 1: [N, h + k - 1, w + k - 1, M]."""
    k, results = kernel.shape[0], []
    for part, weights in zip(
        jnp.split(x, groups, axis=3), jnp.split(kernel, groups, axis=3), strict=True
    ):
        matrix = weights.transpose(2, 0, 1, 3).reshape(weights.shape[2], -1)
        products = jnp.dot(part, matrix, precision=precision)
        products = products.reshape(*part.shape[:3], k, k, -1)
        total = 0.0
        for row in range(k):
            for column in range(k):
                edges = ((0, 0, 0), (k - 1 - row, row, 0), (k - 1 - column, column, 0), (0, 0, 0))
                total += lax.pad(products[:, :, :, row, column], jnp.zeros((), x.dtype), edges)
        results.append(total)
    return jnp.concatenate(results, axis=3)
