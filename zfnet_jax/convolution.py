"""The convolution of a layer, in the form that the machine runs well."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from zfnet_jax.architecture import Conv

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def filter_maps(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """Filters maps: the convolution of a layer, without its bias.

    Its adjoint is `deconvnet.filter_transposed`.

    Args:
      x: [B, H, W, input maps].
      kernel: [k, k, input maps / groups, maps].

    Returns:
      [B, h, w, maps].
    """
    # XLA's CPU code is slow on strided convolutions, forward; their gradients are not.
    if jax.default_backend() == "cpu" and conv.stride > 1 and conv.groups == 1:
        return _strided(x, kernel, conv, precision)
    return _plain(x, kernel, conv, precision)


def _plain(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(conv.stride, conv.stride),
        padding=[(conv.padding, conv.padding)] * 2,
        dimension_numbers=_LAYOUT,
        feature_group_count=conv.groups,
        precision=precision,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _strided(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """Space to depth: blocks of stride x stride pixels become channels, and the stride is gone.

    What is left is a convolution of stride 1, done with 'SAME' padding and cut, which XLA's CPU
    code runs faster than one without padding.
    """
    s, k, p = conv.stride, conv.kernel, conv.padding
    blocks = -(-k // s)  # side of the filter, in blocks
    batch, _, _, channels = x.shape
    out = [(size + 2 * p - k) // s + 1 for size in x.shape[1:3]]
    grid = [n - 1 + blocks for n in out]
    edges = [(p, n * s - size - p, 0) for n, size in zip(grid, x.shape[1:3], strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    x = x.reshape(batch, grid[0], s, grid[1], s, channels).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(batch, *grid, s * s * channels)
    room = (0, blocks * s - k)
    kernel = jnp.pad(kernel, (room, room, (0, 0), (0, 0)))
    kernel = kernel.reshape(blocks, s, blocks, s, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(blocks, blocks, s * s * channels, -1)
    y = lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT, precision=precision
    )
    first = (blocks - 1) // 2
    return y[:, first : first + out[0], first : first + out[1]]


def _strided_forward(x, kernel, conv, precision):
    return _strided(x, kernel, conv, precision), (x, kernel)


def _strided_backward(conv, precision, inputs, gradient):
    return jax.vjp(lambda x, kernel: _plain(x, kernel, conv, precision), *inputs)[1](gradient)


_strided.defvjp(_strided_forward, _strided_backward)
