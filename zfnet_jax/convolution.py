"""The convolution of a layer and its adjoint: on a CPU in forms that it runs well.

Which form is used is settled when a program is lowered for a device, so that one exported for
several kinds of device holds each one's own.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from zfnet_jax.layer_specs import Conv

# Input maps, fewer than which a GPU's matrix units have too little to do: an image's.
_FEW_MAPS = 8
# Bytes of columns that stay in the cache, see `transposed_by_columns`.
_CACHED = 2**22


def filter_maps(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """Filters maps: the convolution of a layer, without its bias.

    Its adjoint is `filter_transposed`.

    Args:
      x: [B, H, W, input maps].
      kernel: [k, k, input maps / groups, maps].

    Returns:
      [B, h, w, maps].
    """
    # XLA's CPU code is slow on strided convolutions and on their gradients, and cuDNN on those of
    # an image.
    if conv.stride > 1 and conv.groups == 1:
        return _strided(x, kernel, conv, precision)
    return plain(x, kernel, conv, precision)


def plain(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """`filter_maps` in XLA's own form."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(conv.stride, conv.stride),
        padding=[(conv.padding, conv.padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=conv.groups,
        precision=precision,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _strided(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    return lax.platform_dependent(
        x,
        kernel,
        cpu=partial(_by_columns, conv=conv, precision=precision),
        default=partial(_on_accelerators, conv=conv, precision=precision),
    )


def _strided_forward(
    x: jax.Array, kernel: jax.Array, conv: Conv, precision: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _strided(x, kernel, conv, precision), (x, kernel)


def _strided_backward(
    conv: Conv, precision: str, inputs: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def by_columns(
        x: jax.Array, kernel: jax.Array, gradient: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return (
            transposed_by_columns(gradient, kernel, conv, (x.shape[1], x.shape[2]), precision),
            _kernel_gradient(x, gradient, kernel, conv, precision),
        )

    def on_accelerators(
        x: jax.Array, kernel: jax.Array, gradient: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        form = partial(_on_accelerators, conv=conv, precision=precision)
        return jax.vjp(form, x, kernel)[1](gradient)

    return lax.platform_dependent(*inputs, gradient, cpu=by_columns, default=on_accelerators)


_strided.defvjp(_strided_forward, _strided_backward)


def _on_accelerators(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    # At full float32 precision a GPU's matrix units do not take part.
    if x.shape[3] < _FEW_MAPS and (x.dtype != jnp.float32 or precision != "highest"):
        return _folded(x, kernel, conv, precision)
    return plain(x, kernel, conv, precision)


def _folded(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """A convolution without stride of an image whose `stride` x `stride` pixels lie in one.

    For an image of three colours a GPU's matrix units stand idle otherwise: layer 1 in bfloat16
    takes a third of the time, in TF32 two thirds of PyTorch's (docs/speed.md).
    """
    s, k, p, maps = conv.stride, conv.kernel, conv.padding, x.shape[3]
    side = -(-k // s)
    counts = [(n + 2 * p - k) // s + 1 for n in x.shape[1:3]]
    edges = [(p, s * (count + side - 1) - n - p, 0) for count, n in zip(counts, x.shape[1:3])]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    x = x.reshape(x.shape[0], x.shape[1] // s, s, x.shape[2] // s, s, maps)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(*x.shape[:2], x.shape[3], s * s * maps)
    kernel = jnp.pad(kernel, ((0, side * s - k), (0, side * s - k), (0, 0), (0, 0)))
    kernel = kernel.reshape(side, s, side, s, maps, -1).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(side, side, s * s * maps, -1)
    one_by_one = dataclasses.replace(conv, kernel=side, stride=1, padding=0)
    return plain(x, kernel, one_by_one, precision)


def _by_columns(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """A matrix product with the columns of one image at a time, which stay in the cache."""
    matrix = kernel.reshape(-1, kernel.shape[3])
    return lax.map(lambda image: jnp.dot(_columns(image, conv), matrix, precision=precision), x)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, kernel: jax.Array, conv: Conv, precision: str
) -> jax.Array:
    """Of a convolution: products with the same columns, made again rather than kept."""

    def add(total: jax.Array, one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        columns, seed = (
            maps.reshape(-1, maps.shape[2]) for maps in (_columns(one[0], conv), one[1])
        )
        product = jnp.dot(columns.T, seed, precision=precision, preferred_element_type=jnp.float32)
        return total + product, None

    zeros = jnp.zeros((kernel.size // kernel.shape[3], kernel.shape[3]), jnp.float32)
    total, _ = lax.scan(add, zeros, (x, gradient))
    return total.reshape(kernel.shape).astype(kernel.dtype)


def _columns(image: jax.Array, conv: Conv) -> jax.Array:
    """What the filters see at each place: [H, W, C] to [h, w, k * k * C]."""
    s, k, p = conv.stride, conv.kernel, conv.padding
    h, w = ((n + 2 * p - k) // s + 1 for n in image.shape[:2])
    image = lax.pad(image, jnp.zeros((), image.dtype), ((p, p, 0), (p, p, 0), (0, 0, 0)))
    # First along the rows, so that the second joining copies runs of k * C numbers.
    across = [image[:, column : column + (w - 1) * s + 1 : s] for column in range(k)]
    image = jnp.concatenate(across, axis=2)
    down = [image[row : row + (h - 1) * s + 1 : s] for row in range(k)]
    return jnp.concatenate(down, axis=2)


def filter_transposed(
    maps: jax.Array,
    kernel: jax.Array,
    conv: Conv,
    input_size: tuple[int, int],
    precision: str = "highest",
) -> jax.Array:
    """Filters maps with the layer's filters transposed: the adjoint of its convolution.

    Each filter is flipped vertically and horizontally, input and output maps change places, and
    the stride becomes a dilation of the maps.

    Args:
      maps: [B, h, w, maps] of the layer.
      kernel: [k, k, input maps / groups, maps], as the layer holds it.
      input_size: (H, W) of the layer's input.

    Returns:
      [B, H, W, input maps] float32.
    """
    maps, kernel = maps.astype(jnp.float32), kernel.astype(jnp.float32)
    flipped = partial(filter_flipped, conv=conv, input_size=input_size, precision=precision)
    if conv.groups > 1:
        return flipped(maps, kernel)
    columns = partial(transposed_by_columns, conv=conv, input_size=input_size, precision=precision)
    return lax.platform_dependent(maps, kernel, cpu=columns, default=flipped)


def filter_flipped(
    maps: jax.Array,
    kernel: jax.Array,
    conv: Conv,
    input_size: tuple[int, int],
    precision: str = "highest",
) -> jax.Array:
    """`filter_transposed` as a convolution of the dilated maps with flipped filters."""
    k, _, fan_in, out = kernel.shape
    # Input and output maps change places by name alone: cuDNN's transposed convolution is found
    # only where the flip is the last thing that happens to the filters.
    order = "HWOI"
    if conv.groups > 1:
        kernel = kernel.reshape(k, k, fan_in, conv.groups, out // conv.groups)
        kernel = kernel.transpose(0, 1, 4, 3, 2).reshape(k, k, -1, conv.groups * fan_in)
        order = "HWIO"
    pads = []
    for size, full in zip(maps.shape[1:3], input_size, strict=True):
        before = k - 1 - conv.padding
        dilated = (size - 1) * conv.stride + 1
        pads.append((before, full - dilated - before + k - 1))
    return lax.conv_general_dilated(
        maps,
        lax.rev(kernel, (0, 1)),
        window_strides=(1, 1),
        padding=pads,
        lhs_dilation=(conv.stride, conv.stride),
        dimension_numbers=("NHWC", order, "NHWC"),
        feature_group_count=conv.groups,
        precision=precision,
    )


def transposed_by_columns(
    maps: jax.Array,
    kernel: jax.Array,
    conv: Conv,
    input_size: tuple[int, int],
    precision: str,
) -> jax.Array:
    """The adjoint of `filter_maps` without groups, see `filter_transposed`.

    One matrix product weighs each unit's filter by its value; then every filter position of these
    columns goes back to the pixels under it. Pixels that lie a stride apart are added up together:
    what reaches them lies densely in the columns.
    """
    s, k, p = conv.stride, conv.kernel, conv.padding
    side, (h, w), channels = -(-k // s), maps.shape[1:3], kernel.shape[2]
    matrix = kernel.reshape(-1, kernel.shape[3]).T
    zero = jnp.zeros((), maps.dtype)

    def phase(columns: jax.Array, first: tuple[int, int]) -> jax.Array:
        """Every s-th pixel from `first` on: [h + side - 1, w + side - 1, C]."""
        total = jnp.zeros((h + side - 1, w + side - 1, channels), columns.dtype)
        for row in range(first[0], k, s):
            for column in range(first[1], k, s):
                edges = [(n // s, side - 1 - n // s, 0) for n in (row, column)]
                total += lax.pad(columns[:, :, row, column], zero, (*edges, (0, 0, 0)))
        return total

    def transpose_one(image: jax.Array) -> jax.Array:
        columns = jnp.dot(image, matrix, precision=precision).reshape(h, w, k, k, channels)
        rows = [
            jnp.stack([phase(columns, (row, column)) for column in range(s)], axis=2)
            for row in range(s)
        ]
        return jnp.stack(rows, axis=1)  # [h + side - 1, s, w + side - 1, s, C]

    columns_bytes = h * w * matrix.shape[1] * maps.dtype.itemsize
    at_once = min(max(1, _CACHED // columns_bytes), maps.shape[0])
    x = lax.map(transpose_one, maps, batch_size=at_once)
    height, width = ((n + side - 1) * s for n in (h, w))
    x = x.reshape(-1, height, width, channels)
    # What the filters reach of the input: not its padding, and zeros beyond the last filter.
    after = [full + p - n for full, n in zip(input_size, (height, width), strict=True)]
    edges = ((0, 0, 0), (-p, after[0], 0), (-p, after[1], 0), (0, 0, 0))
    return lax.pad(x, zero, edges)
