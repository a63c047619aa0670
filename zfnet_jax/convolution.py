"""The convolution of a layer and its adjoint, in the forms that a CPU runs well."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from zfnet_jax.architecture import Conv

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# Bytes of columns, see `_by_columns`. Where one image has more, a product per image is the fast
# form; fewer are too little work to share between cores. Products of about this size keep their
# columns in the cache.
_LARGE = 2**22


def filter_maps(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """Filters maps: the convolution of a layer, without its bias.

    Its adjoint is `deconvnet.filter_transposed`.

    Args:
      x: [B, H, W, input maps].
      kernel: [k, k, input maps / groups, maps].

    Returns:
      [B, h, w, maps].
    """
    # XLA's CPU code is slow on strided convolutions, one way or the other.
    if jax.default_backend() == "cpu" and conv.stride > 1 and conv.groups == 1:
        if _column_bytes(x, conv) >= _LARGE:
            return _by_columns(x, kernel, conv, precision)
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


def _by_columns(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """For each image: the blocks under every filter position as columns, and one matrix product.

    Image by image the columns stay in the cache. The gradients are products with the same
    columns, which are made again rather than kept.
    """
    x, kernel = _blocks(x, kernel, conv)
    side = kernel.shape[0]
    out = [n + 1 - side for n in x.shape[1:3]]
    matrix = kernel.reshape(-1, kernel.shape[-1])

    @jax.checkpoint
    def filter_one(image: jax.Array) -> jax.Array:
        views = [
            image[row : row + out[0], column : column + out[1]]
            for row in range(side)
            for column in range(side)
        ]
        columns = jnp.concatenate(views, axis=-1).reshape(out[0] * out[1], -1)
        return jnp.dot(columns, matrix, precision=precision).reshape(*out, -1)

    return lax.map(filter_one, x)


def _column_bytes(x: jax.Array, conv: Conv) -> int:
    s, k = conv.stride, conv.kernel
    out = [(size + 2 * conv.padding - k) // s + 1 for size in x.shape[1:3]]
    return out[0] * out[1] * (-(-k // s) * s) ** 2 * x.shape[3] * x.dtype.itemsize


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _strided(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """A convolution of stride 1 over blocks, done with 'SAME' padding and cut, which XLA's CPU
    code runs faster than one without padding. Its gradients are those of the plain form, which
    are fast where maps are small.
    """
    x, kernel = _blocks(x, kernel, conv)
    y = lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT, precision=precision
    )
    side = kernel.shape[0]
    first = (side - 1) // 2
    return y[:, first : first + x.shape[1] + 1 - side, first : first + x.shape[2] + 1 - side]


def _strided_forward(x, kernel, conv, precision):
    return _strided(x, kernel, conv, precision), (x, kernel)


def _strided_backward(conv, precision, inputs, gradient):
    return jax.vjp(lambda x, kernel: _plain(x, kernel, conv, precision), *inputs)[1](gradient)


_strided.defvjp(_strided_forward, _strided_backward)


def transposed_by_columns(
    maps: jax.Array,
    kernel: jax.Array,
    conv: Conv,
    input_size: tuple[int, int],
    precision: str,
) -> jax.Array:
    """The adjoint of `filter_maps` without groups, see `deconvnet.filter_transposed`.

    The columns of `_by_columns` the other way: one matrix product weighs each unit's filter by its
    value, and every column goes back to the blocks under its filter position.
    """
    s, k, p = conv.stride, conv.kernel, conv.padding
    side, (h, w), channels = -(-k // s), maps.shape[1:3], kernel.shape[2]
    matrix = _block_filters(kernel, conv).reshape(-1, kernel.shape[3]).T

    def transpose_one(image: jax.Array) -> jax.Array:
        columns = jnp.dot(image.reshape(h * w, -1), matrix, precision=precision)
        columns = columns.reshape(h, w, side, side, -1)
        blocks = 0.0
        for row in range(side):
            for column in range(side):
                edges = ((row, side - 1 - row, 0), (column, side - 1 - column, 0), (0, 0, 0))
                blocks += lax.pad(columns[:, :, row, column], jnp.zeros((), columns.dtype), edges)
        return blocks

    at_once = max(1, _LARGE // (h * w * matrix.shape[1] * maps.dtype.itemsize))
    x = lax.map(transpose_one, maps, batch_size=min(at_once, maps.shape[0]))
    height, width = ((n + side - 1) * s for n in (h, w))
    x = x.reshape(-1, h + side - 1, w + side - 1, s, s, channels).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, height, width, channels)
    # What the filters reach of the input: not its padding, and zeros beyond the last filter.
    after = [full + p - n for full, n in zip(input_size, (height, width), strict=True)]
    edges = ((0, 0, 0), (-p, after[0], 0), (-p, after[1], 0), (0, 0, 0))
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def _blocks(x: jax.Array, kernel: jax.Array, conv: Conv) -> tuple[jax.Array, jax.Array]:
    """Space to depth: blocks of stride x stride pixels become channels, and the stride is gone.

    Returns:
      [B, h + n - 1, w + n - 1, stride**2 * input maps] and filters of n x n blocks
      [n, n, stride**2 * input maps, maps], for a convolution of stride 1 without padding.
    """
    s, k, p = conv.stride, conv.kernel, conv.padding
    side = -(-k // s)
    batch, _, _, channels = x.shape
    grid = [(size + 2 * p - k) // s + side for size in x.shape[1:3]]
    edges = [(p, n * s - size - p, 0) for n, size in zip(grid, x.shape[1:3], strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    x = x.reshape(batch, grid[0], s, grid[1], s, channels).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(batch, *grid, s * s * channels)
    return x, _block_filters(kernel, conv)


def _block_filters(kernel: jax.Array, conv: Conv) -> jax.Array:
    """Filters [k, k, input maps, maps] for an image of blocks, see `_blocks`."""
    s, k, channels = conv.stride, conv.kernel, kernel.shape[2]
    side = -(-k // s)
    room = (0, side * s - k)
    kernel = jnp.pad(kernel, (room, room, (0, 0), (0, 0)))
    kernel = kernel.reshape(side, s, side, s, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(side, side, s * s * channels, -1)
