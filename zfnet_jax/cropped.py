"""The deconvnet from single units, computing nothing outside their receptive fields.

A projection from one unit of layer 3 sees 75 of 224 pixels: what `deconvnet.project` computes
elsewhere is zero. Here the switches and maps are cut to the cone that the unit reaches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture, Conv, Pool
from zfnet_jax.deconvnet import Rectify, filter_transposed, rectified
from zfnet_jax.geometry import Tile
from zfnet_jax.pooling import Overlap, max_unpool

Array = TypeVar("Array")  # of NumPy or JAX


class Units(NamedTuple, Generic[Array]):
    """Single units of a layer, N of them, to be projected each alone.

    Attributes:
      image: int [N], whose activations: row of the batch that was forwarded.
      index: int [N], number of the map.
      row, column: int [N], position in the map.
      value: [N], the activation that a projection starts from.
    """

    image: Array
    index: Array
    row: Array
    column: Array
    value: Array


@partial(jax.jit, static_argnames=("net", "layer", "image_size", "rectify", "overlap", "precision"))
def project_units(
    net: Architecture,
    params: Mapping[str, Any],
    activations: Mapping[str, jax.Array],
    layer: str,
    units: Units[jax.Array],
    image_size: tuple[int, int],
    *,
    rectify: Rectify = "deconvnet",
    overlap: Overlap = "sum",
    precision: str = "highest",
) -> jax.Array:
    """Projects units of a conv layer each alone, computing nothing outside its receptive field.

    The same as the window of `project` that the unit sees: all that it leaves out is zero.

    Args:
      layer: a conv layer of `net`.
      units: see `Units`.
      net, params, activations, image_size, rectify, overlap, precision: as in `project`.

    Returns:
      [N, s, s, image channels] float32, s the size of the layer's receptive field; zero outside
      the image.
    """
    top, kind = net.depth_of(layer)
    if kind != "conv":
        raise ValueError(f"units of conv layers can be projected alone, not of {layer}")
    cones = tuple(geometry.cone(net, layer, size) for size in image_size)
    position = (units.row, units.column)
    x = units.value.astype(jnp.float32)

    def descend(x: jax.Array, name: str) -> jax.Array:
        return _cut_tiles(x, tuple(cone[name] for cone in cones), position)

    for depth in range(top, -1, -1):
        conv = net.convs[depth]
        kernel = params[conv.name]["kernel"]
        forward = activations[conv.name]
        if depth == top:
            at = forward[units.image, units.row, units.column, units.index]
            x = rectified(x, at, rectify)[:, None, None, None]
            x = x * _filters(kernel, conv.groups, units.index)
        else:
            tiles = tuple(cone[conv.name] for cone in cones)
            if conv.pool:
                name = f"pool{conv.number}"
                switches = activations[f"switches{conv.number}"]
                x = _unpool_tiles(x, switches, conv.pool, [c[name] for c in cones], units, overlap)
                x = descend(x, conv.name)
            if rectify != "deconvnet":
                forward = _take_tiles(forward, tiles, units)
            x = rectified(x, forward, rectify)
            x = _filter_tiles(x, kernel, conv, precision)
        if depth:
            below = net.convs[depth - 1]
            x = descend(x, f"pool{below.number}" if below.pool else below.name)
    x = descend(x, "image")
    for axis, (cone, unit, size) in enumerate(zip(cones, position, image_size), start=1):
        tile = cone["image"]
        pixel = jnp.asarray(tile.starts)[unit][:, None] + jnp.arange(tile.size)
        inside = (pixel >= 0) & (pixel < size)
        x = jnp.where(jnp.expand_dims(inside, (3 - axis, 3)), x, 0)
    return x


def _filters(kernel: jax.Array, groups: int, index: jax.Array) -> jax.Array:
    """The filters of chosen maps [N]: [N, k, k, input maps], zero outside a map's group."""
    chosen = jnp.moveaxis(kernel.astype(jnp.float32), 3, 0)[index]
    if groups == 1:
        return chosen
    group = jax.nn.one_hot(index // (kernel.shape[3] // groups), groups)
    spread = chosen[:, :, :, None, :] * group[:, None, None, :, None]
    return spread.reshape(*chosen.shape[:3], -1)


def _filter_tiles(x: jax.Array, kernel: jax.Array, conv: Conv, precision: str) -> jax.Array:
    """All pixels that tiles reach through filters transposed, padding of the input included."""
    bare = dataclasses.replace(conv, padding=0)
    reach = geometry.both_axes((size - 1) * conv.stride + conv.kernel for size in x.shape[1:3])
    return filter_transposed(x, kernel, bare, reach, precision)


def _unpool_tiles(
    x: jax.Array,
    switches: jax.Array,
    pool: Pool,
    tiles: Sequence[Tile],
    units: Units[jax.Array],
    overlap: Overlap,
) -> jax.Array:
    """All pixels that tiles of pooled maps reach. Every rule but 'sum' counts windows of value zero
    that name a pixel, so there the windows next to the tile take part."""
    ring = 0 if overlap == "sum" else -(-pool.window // pool.stride) - 1
    edges = ((0, 0), (ring, ring), (ring, ring), (0, 0))
    switches = switches.astype(jnp.uint8 if pool.window < 16 else jnp.uint16)
    switches = jnp.pad(switches, edges, constant_values=pool.window**2)  # names no pixel
    switches = _take_tiles(switches, tiles, units, 2 * ring)
    x = jnp.pad(x, edges)
    shape = tuple((size - 1) * pool.stride + pool.window for size in x.shape[1:3])
    x = max_unpool(x, switches, shape, pool.window, pool.stride, 0, overlap)
    edge = ring * pool.stride
    return x[:, edge : shape[0] - edge, edge : shape[1] - edge]


def _cut_tiles(x: jax.Array, tiles: Sequence[Tile], position: Sequence[jax.Array]) -> jax.Array:
    """Tiles [N, h, w, C] of the pixels [N, H, W, C] that the tiles above them reach."""
    x = jnp.pad(x, ((0, 0), *(tile.pads for tile in tiles), (0, 0)))
    height, width = (tile.size for tile in tiles)
    if all(len(set(tile.cuts)) == 1 for tile in tiles):  # wherever the unit lies
        row, column = (tile.cuts[0] for tile in tiles)
        return x[:, row : row + height, column : column + width]
    row, column = (jnp.asarray(tile.cuts)[unit] for tile, unit in zip(tiles, position))
    return jax.vmap(
        lambda one, r, c: lax.dynamic_slice(one, (r, c, 0), (height, width, one.shape[2]))
    )(x, row, column)


def _take_tiles(
    maps: jax.Array, tiles: Sequence[Tile], units: Units[jax.Array], wider: int = 0
) -> jax.Array:
    """Tiles [N, h, w, C] of the units' images among [B, H, W, C], `wider` pixels larger."""
    size = tuple(tile.size + wider for tile in tiles)
    row, column = (
        jnp.asarray(tile.starts)[unit] for tile, unit in zip(tiles, (units.row, units.column))
    )

    def take(unit: tuple[jax.Array, ...]) -> jax.Array:
        return lax.dynamic_slice(maps, (*unit, 0), (1, *size, maps.shape[3]))[0]

    # On a CPU one after the other: vmap's gather would be computed anew wherever a tile is used.
    return lax.platform_dependent(
        (units.image, row, column),
        cpu=lambda places: lax.map(take, places),
        default=jax.vmap(take),
    )
