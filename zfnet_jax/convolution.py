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
from zfnet_jax.windows import Window

# Input maps, fewer than which a GPU's matrix units have too little to do: an image's.
_FEW_MAPS = 8
# Pixels for each unit up to which XLA's own convolution wastes little on zeros around the maps: as
# fast as columns, on VGG's large maps twice as fast, compiled in an eighth of the time (on a CPU).
_LITTLE_MORE = 1.25
# Bytes of columns that stay in the cache, see `transposed_by_columns`.
_CACHED = 2**22


def filter_maps(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """Filters maps: the convolution of a layer, without its bias.

    Its adjoint is `filter_transposed`.

    Args:
      x: [B, H, W, input maps].
      kernel: [k, l, input maps / groups, maps].

    Returns:
      [B, h, w, maps].
    """
    # XLA's CPU code is slow on strided convolutions and on their gradients, and cuDNN on those of
    # an image.
    strided = any(window.stride > 1 for window in conv.windows)
    if strided and conv.groups == 1 and not _dilated(conv):
        return _strided(x, kernel, conv, precision)
    return plain(x, kernel, conv, precision)


def plain(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """`filter_maps` in XLA's own form."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=[window.stride for window in conv.windows],
        padding=conv.pads,
        rhs_dilation=[window.dilation for window in conv.windows],
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
    """A convolution without stride of an image where the pixels of a stride down and across lie in
    one.

    For an image of three colours a GPU's matrix units stand idle otherwise: layer 1 in bfloat16
    takes a third of the time, in TF32 two thirds of PyTorch's (docs/speed.md).
    """
    maps, (s, t), (high, wide) = x.shape[3], *_strides_and_phases(conv)
    edges, more = [], []
    for axis, (window, n, side) in enumerate(zip(conv.windows, x.shape[1:3], (high, wide))):
        reached = window.stride * (conv.size(n, axis) + side - 1)
        edges.append((window.before, reached - n - window.before, 0))
        more.append((0, side * window.stride - window.size))
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    x = x.reshape(x.shape[0], x.shape[1] // s, s, x.shape[2] // t, t, maps)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(*x.shape[:2], x.shape[3], s * t * maps)
    kernel = jnp.pad(kernel, (*more, (0, 0), (0, 0)))
    kernel = kernel.reshape(high, s, wide, t, maps, -1).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(high, wide, s * t * maps, -1)
    one_by_one = dataclasses.replace(conv, kernel=(high, wide), stride=1, padding=0)
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
    """What the filters see at each place: [H, W, C] to [h, w, k * l * C]."""
    edges = [(*pad, 0) for pad in conv.pads]
    image = lax.pad(image, jnp.zeros((), image.dtype), (*edges, (0, 0, 0)))
    rows, columns = conv.windows
    # First along the rows, so that the second joining copies runs of l * C numbers.
    across = [image[:, part] for part in views(columns, image.shape[1])]
    image = jnp.concatenate(across, axis=2)
    down = [image[part] for part in views(rows, image.shape[0])]
    return jnp.concatenate(down, axis=2)


def views(window: Window, size: int) -> list[slice]:
    """Of an axis of maps, padding among their `size` pixels, what each position of a filter sees at
    all places."""
    last = (size - window.reach) // window.stride * window.stride
    firsts = range(0, window.reach, window.dilation)
    return [slice(first, first + last + 1, window.stride) for first in firsts]


def _dilated(conv: Conv) -> bool:
    return any(window.dilation > 1 for window in conv.windows)


def _strides_and_phases(conv: Conv) -> tuple[tuple[int, int], tuple[int, int]]:
    """Along rows and columns the stride, and how many filter positions lie a stride apart."""
    rows, columns = conv.windows
    strides = (rows.stride, columns.stride)
    return strides, (-(-rows.size // rows.stride), -(-columns.size // columns.stride))


def filter_transposed(
    maps: jax.Array,
    kernel: jax.Array,
    conv: Conv,
    input_size: tuple[int, int],
    precision: str = "highest",
) -> jax.Array:
    """Filters maps with the layer's filters transposed: the adjoint of its convolution.

    Each filter is flipped vertically and horizontally, input and output maps change places, and
    the stride becomes a dilation of the maps; a dilation of the filters stays.

    Args:
      maps: [B, h, w, maps] of the layer.
      kernel: [k, l, input maps / groups, maps], as the layer holds it.
      input_size: (H, W) of the layer's input.

    Returns:
      [B, H, W, input maps] float32.
    """
    maps, kernel = maps.astype(jnp.float32), kernel.astype(jnp.float32)
    flipped = partial(filter_flipped, conv=conv, input_size=input_size, precision=precision)
    if conv.groups > 1 or _dilated(conv):
        return flipped(maps, kernel)
    (h, w), strided = maps.shape[1:3], any(window.stride > 1 for window in conv.windows)
    if not strided and input_size[0] * input_size[1] <= _LITTLE_MORE * h * w:
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
    *sides, fan_in, out = kernel.shape
    # Input and output maps change places by name alone: cuDNN's transposed convolution is found
    # only where the flip is the last thing that happens to the filters.
    order = "HWOI"
    if conv.groups > 1:
        kernel = kernel.reshape(*sides, fan_in, conv.groups, out // conv.groups)
        kernel = kernel.transpose(0, 1, 4, 3, 2).reshape(*sides, -1, conv.groups * fan_in)
        order = "HWIO"
    pads = []
    for size, full, window in zip(maps.shape[1:3], input_size, conv.windows, strict=True):
        before = window.reach - 1 - window.before
        dilated = (size - 1) * window.stride + 1
        pads.append((before, full - dilated - before + window.reach - 1))
    return lax.conv_general_dilated(
        maps,
        lax.rev(kernel, (0, 1)),
        window_strides=(1, 1),
        padding=pads,
        lhs_dilation=[window.stride for window in conv.windows],
        rhs_dilation=[window.dilation for window in conv.windows],
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
    """The adjoint of `filter_maps` without groups and dilation, see `filter_transposed`.

    One matrix product weighs each unit's filter by its value; then every filter position of these
    columns goes back to the pixels under it. Pixels that lie a stride apart are added up together:
    what reaches them lies densely in the columns.
    """
    (down, across, channels), (h, w) = kernel.shape[:3], maps.shape[1:3]
    (s, t), (high, wide) = _strides_and_phases(conv)
    matrix = kernel.reshape(-1, kernel.shape[3]).T
    zero = jnp.zeros((), maps.dtype)

    def phase(columns: jax.Array, first: tuple[int, int]) -> jax.Array:
        """Every pixel a stride further from `first` on: [h + high - 1, w + wide - 1, C]."""
        total = jnp.zeros((h + high - 1, w + wide - 1, channels), columns.dtype)
        for row in range(first[0], down, s):
            for column in range(first[1], across, t):
                places = ((row // s, high), (column // t, wide))
                edges = [(place, side - 1 - place, 0) for place, side in places]
                total += lax.pad(columns[:, :, row, column], zero, (*edges, (0, 0, 0)))
        return total

    def transpose_one(image: jax.Array) -> jax.Array:
        columns = jnp.dot(image, matrix, precision=precision).reshape(h, w, down, across, channels)
        rows = [
            jnp.stack([phase(columns, (row, column)) for column in range(t)], axis=2)
            for row in range(s)
        ]
        return jnp.stack(rows, axis=1)  # [h + high - 1, s, w + wide - 1, t, C]

    columns_bytes = h * w * matrix.shape[1] * maps.dtype.itemsize
    at_once = min(max(1, _CACHED // columns_bytes), maps.shape[0])
    x = lax.map(transpose_one, maps, batch_size=at_once)
    size = ((h + high - 1) * s, (w + wide - 1) * t)
    x = x.reshape(-1, *size, channels)
    # What the filters reach of the input: not its padding, and zeros beyond the last filter.
    edges = [
        (-window.before, full + window.before - n, 0)
        for window, full, n in zip(conv.windows, input_size, size, strict=True)
    ]
    return lax.pad(x, zero, ((0, 0, 0), *edges, (0, 0, 0)))
