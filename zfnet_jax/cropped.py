"""The deconvnet from single units, computing nothing outside their receptive fields.

A projection from one unit of layer 3 sees 75 of 224 pixels: what `deconvnet.project` computes
elsewhere is zero. Here the switches and maps are cut to the cone that the unit reaches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.geometry import ReceptiveField, Tile
from zfnet_jax.rules import Overlap, Rectify
from zfnet_jax.stages.stage import Down, Frame, Place, Stage

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
    """Projects units of a layer of maps each alone, computing nothing outside its receptive field.

    The same as the window of `project` that the unit sees: all that it leaves out is zero.

    Args:
      layer: a conv or pool layer of `net`; of its activation the number of maps is read.
      units: see `Units`.
      net, params, activations, image_size, rectify, overlap, precision: as in `project`.

    Returns:
      [N, s, t, image channels] float32, s and t the sides of the layer's receptive field; zero
      outside the image.
    """
    rules = Down(rectify, overlap, precision)
    return _project(net, params, activations, {layer: units}, image_size, rules)[layer]


@partial(jax.jit, static_argnames=("net", "image_size", "rectify", "overlap", "precision"))
def project_layers(
    net: Architecture,
    params: Mapping[str, Any],
    activations: Mapping[str, jax.Array],
    units: Mapping[str, Units[jax.Array]],
    image_size: tuple[int, int],
    *,
    rectify: Rectify = "deconvnet",
    overlap: Overlap = "sum",
    precision: str = "highest",
) -> dict[str, jax.Array]:
    """`project_units` of several layers on one way down, which is one program to compile.

    The units of a lower layer join where it stands, each in the tile of a unit of the topmost layer
    that sees all that it sees. So each of them costs as much as one of the topmost layer.

    Args:
      units: by layer, those of one of the groups of `geometry.of_one_scale`.
      net, params, activations, image_size, rectify, overlap, precision: as in `project_units`.

    Returns:
      by layer what `project_units` returns.
    """
    rules = Down(rectify, overlap, precision)
    return _project(net, params, activations, units, image_size, rules)


def _project(
    net: Architecture,
    params: Mapping[str, Any],
    activations: Mapping[str, jax.Array],
    units: Mapping[str, Units[jax.Array]],
    image_size: tuple[int, int],
    rules: Down,
) -> dict[str, jax.Array]:
    ends = {len(net.stages_to(layer)): layer for layer in units}  # how many stages lead there
    top = ends[max(ends)]
    stages = net.stages_to(top)
    axes = list(enumerate(image_size))
    tiles = list(zip(*(geometry.cone(net, top, size, axis) for axis, size in axes), strict=True))
    sizes = list(zip(*(geometry.sizes(stages, size, axis) for axis, size in axes), strict=True))
    joined: list[Units[jax.Array]] = []  # of `top`, in whose tiles the projections lie
    x = jnp.zeros((0, 1, 1, activations[top].shape[3]), jnp.float32)
    for end in range(len(stages), 0, -1):
        stage, (below, above) = stages[end - 1], tiles[end - 1 : end + 1]
        if layer := ends.get(end):
            own = units[layer]
            joined.append(_carried(net, layer, top, own, image_size))
            seeds = _seeds(own, _starts(above, joined[-1]), above, activations[layer].shape[3])
            x = jnp.concatenate([x, seeds])
        if stage.projects:
            carriers = jax.tree.map(lambda *parts: jnp.concatenate(parts), *joined)
            x = _down(stage, x, activations, params, above, carriers, sizes[end - 1], rules)
            x = _cut_tiles(x, below, (carriers.row, carriers.column))
    result, begin = {}, 0
    for (_, layer), carrier in zip(sorted(ends.items(), reverse=True), joined, strict=True):
        pixels, begin = x[begin : begin + len(carrier.index)], begin + len(carrier.index)
        pixels = _inside(pixels, tiles[0], carrier, image_size)
        fields = [geometry.receptive_fields(net, name) for name in (layer, top)]
        result[layer] = _windows(pixels, units[layer], carrier, *fields)
    return result


def _carried(
    net: Architecture, layer: str, top: str, units: Units[jax.Array], size: tuple[int, int]
) -> Units[jax.Array]:
    """Units of the topmost layer in whose tiles units of a lower one lie."""
    if layer == top:
        return units
    rows, columns = (geometry.carriers(net, layer, top, side, n) for n, side in enumerate(size))
    row, column = jnp.asarray(rows)[units.row], jnp.asarray(columns)[units.column]
    return units._replace(row=row, column=column)


def _seeds(
    units: Units[jax.Array],
    starts: tuple[jax.Array, jax.Array],
    tiles: Sequence[Tile],
    maps: int,
) -> jax.Array:
    """Tiles [N, h, w, maps] that begin at `starts`, zero but for the units."""
    rows, columns = (
        jax.nn.one_hot(position - start, tile.size)
        for position, start, tile in zip((units.row, units.column), starts, tiles)
    )
    one = jax.nn.one_hot(units.index, maps) * units.value.astype(jnp.float32)[:, None]
    return rows[:, :, None, None] * columns[:, None, :, None] * one[:, None, None]


def _inside(
    x: jax.Array, tiles: Sequence[Tile], units: Units[jax.Array], image_size: tuple[int, int]
) -> jax.Array:
    """Pixels [N, h, w, C] of tiles of the image, zero outside it."""
    position = (units.row, units.column)
    for axis, (tile, unit, size) in enumerate(zip(tiles, position, image_size), start=1):
        pixel = jnp.asarray(tile.starts)[unit][:, None] + jnp.arange(tile.size)
        inside = (pixel >= 0) & (pixel < size)
        x = jnp.where(jnp.expand_dims(inside, (3 - axis, 3)), x, 0)
    return x


def _windows(
    x: jax.Array,
    units: Units[jax.Array],
    carriers: Units[jax.Array],
    own: tuple[ReceptiveField, ReceptiveField],
    wide: tuple[ReceptiveField, ReceptiveField],
) -> jax.Array:
    """What units see, of the windows [N, h, w, C] of the units that carry them."""
    if own == wide:
        return x
    height, width = (field.size for field in own)
    row, column = (
        field.start + position * field.jump - around.start - carrier * around.jump
        for field, around, position, carrier in zip(
            own, wide, (units.row, units.column), (carriers.row, carriers.column)
        )
    )
    return _take(x, row, column, (height, width))


def _down(
    stage: Stage,
    x: jax.Array,
    activations: Mapping[str, jax.Array],
    params: Mapping[str, Any],
    tiles: Sequence[Tile],
    units: Units[jax.Array],
    size: tuple[int, int],
    rules: Down,
) -> jax.Array:
    """All pixels that tiles of what a stage puts out reach, padding of its input included.

    Args:
      size: (H, W) of its whole input.
    """
    ring = stage.margin(rules)
    edges = ((0, 0), (ring, ring), (ring, ring), (0, 0))
    read = {}
    for name, none in stage.reads(rules).items():
        maps = activations[name]
        maps = maps.astype(jnp.promote_types(maps.dtype, np.min_scalar_type(none)))
        maps = jnp.pad(maps, edges, constant_values=none)
        read[name] = _take_tiles(maps, tiles, units, 2 * ring)
    x = jnp.pad(x, edges)
    rows, columns = (stage.along(axis) for axis in (0, 1))
    height = (x.shape[1] - 1) * rows.stride + rows.reach
    width = (x.shape[2] - 1) * columns.stride + columns.reach
    first = tuple(start - ring for start in _starts(tiles, units))
    frame = Frame((height, width), ((0, 0), (0, 0)), Place(geometry.both_axes(first), size))
    x = stage.down(x, read, stage.own(params), frame, rules)
    down, across = ring * rows.stride, ring * columns.stride
    return x[:, down : height - down, across : width - across]


def _cut_tiles(x: jax.Array, tiles: Sequence[Tile], position: Sequence[jax.Array]) -> jax.Array:
    """Tiles [N, h, w, C] of the pixels [N, H, W, C] that the tiles above them reach."""
    x = jnp.pad(x, ((0, 0), *(tile.pads for tile in tiles), (0, 0)))
    height, width = (tile.size for tile in tiles)
    if all(len(set(tile.cuts)) == 1 for tile in tiles):  # wherever the unit lies
        row, column = (tile.cuts[0] for tile in tiles)
        return x[:, row : row + height, column : column + width]
    row, column = (jnp.asarray(tile.cuts)[unit] for tile, unit in zip(tiles, position))
    return _take(x, row, column, (height, width))


def _take(x: jax.Array, row: jax.Array, column: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Windows [N, *size, C] of maps [N, H, W, C], each from its row and column [N] on."""
    return jax.vmap(lambda one, r, c: lax.dynamic_slice(one, (r, c, 0), (*size, one.shape[2])))(
        x, row, column
    )


def _starts(tiles: Sequence[Tile], units: Units[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Row and column [N] of the first pixel of each unit's tile."""
    rows, columns = tiles
    return jnp.asarray(rows.starts)[units.row], jnp.asarray(columns.starts)[units.column]


def _take_tiles(
    maps: jax.Array, tiles: Sequence[Tile], units: Units[jax.Array], wider: int = 0
) -> jax.Array:
    """Tiles [N, h, w, C] of the units' images among [B, H, W, C], `wider` pixels larger."""
    size = tuple(tile.size + wider for tile in tiles)
    row, column = _starts(tiles, units)

    def take(unit: tuple[jax.Array, ...]) -> jax.Array:
        return lax.dynamic_slice(maps, (*unit, 0), (1, *size, maps.shape[3]))[0]

    # On a CPU one after the other: vmap's gather would be computed anew wherever a tile is used.
    return lax.platform_dependent(
        (units.image, row, column),
        cpu=lambda places: lax.map(take, places),
        default=jax.vmap(take),
    )
