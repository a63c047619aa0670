"""Convolutions of small windows as matrix products, each product over all windows at once."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfnet_jax.convolution import views
from zfnet_jax.layer_specs import Conv


def filter_window(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """A convolution without padding as one product with the columns under each filter position."""
    rows, columns = (views(window, n) for window, n in zip(conv.windows, x.shape[1:3], strict=True))
    seen = [x[:, row, column] for row in rows for column in columns]
    if _depthwise(kernel, conv):
        weighted = zip(seen, kernel.reshape(len(seen), -1), strict=True)
        return functools.reduce(jnp.add, (_repeated(x, kernel) * w for x, w in weighted))
    results = []
    for part, weights in zip(
        zip(*(jnp.split(view, conv.groups, axis=3) for view in seen), strict=True),
        jnp.split(kernel, conv.groups, axis=3),
        strict=True,
    ):
        columns = jnp.concatenate(part, axis=3)
        matrix = weights.reshape(-1, weights.shape[3])
        results.append(jnp.dot(columns, matrix, precision=precision))
    return jnp.concatenate(results, axis=3)


def spread_change(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """What maps [N, h, w, C], zero around, add to all units that they reach by a convolution of
    stride 1 whose filters reach r x s pixels: [N, h + r - 1, w + s - 1, M]."""
    groups, results = conv.groups, []

    def spread(products: jax.Array, row: int, column: int) -> jax.Array:
        edges = [
            ((window.size - 1 - n) * window.dilation, n * window.dilation, 0)
            for window, n in zip(conv.windows, (row, column), strict=True)
        ]
        return lax.pad(products, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))

    positions = list(np.ndindex(*kernel.shape[:2]))
    if _depthwise(kernel, conv):
        maps = _repeated(x, kernel)
        return functools.reduce(jnp.add, (spread(maps * kernel[at][0], *at) for at in positions))
    for part, weights in zip(
        jnp.split(x, groups, axis=3), jnp.split(kernel, groups, axis=3), strict=True
    ):
        matrix = weights.transpose(2, 0, 1, 3).reshape(weights.shape[2], -1)
        products = jnp.dot(part, matrix, precision=precision)
        products = products.reshape(*part.shape[:3], *kernel.shape[:2], -1)
        total = 0.0
        for row, column in positions:
            total += spread(products[:, :, :, row, column], row, column)
        results.append(total)
    return jnp.concatenate(results, axis=3)


def _depthwise(kernel: jax.Array, conv: Conv) -> bool:
    """Whether each filter sees one map: no product has anything to sum, and groups may be many."""
    return conv.groups > 1 and kernel.shape[2] == 1


def _repeated(maps: jax.Array, kernel: jax.Array) -> jax.Array:
    """Each map as often as it has filters, which see it alone."""
    return jnp.repeat(maps, kernel.shape[3] // maps.shape[3], axis=3)
