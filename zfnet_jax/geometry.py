"""Integer arithmetic of layers: sizes, paddings, receptive fields. No arrays.

Everything is per axis: images need not be square.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TypeVar

from zfnet_jax.architecture import Architecture, Conv, Pool

T = TypeVar("T")


def both_axes(items: Iterable[T]) -> tuple[T, T]:
    """One thing per axis of an image, rows first. ValueError unless there are two."""
    rows, columns = items
    return rows, columns


def conv_size(size: int, conv: Conv) -> int:
    """Pixels along one axis after the convolution. ValueError if nothing is left."""
    out = (size + 2 * conv.padding - conv.kernel) // conv.stride + 1
    if out < 1:
        raise ValueError(
            f"{conv.name}: an input of {size} pixels is smaller than its {conv.kernel}-pixel "
            "filter; use larger images or fewer layers"
        )
    return out


def pool_size(size: int, pool: Pool) -> int:
    """Pixels along one axis after pooling.

    With 'ceil' a last partial window counts if it starts inside the map or its left padding (the
    rule of Caffe and PyTorch), so that no window holds padding alone.
    """
    room = size + 2 * pool.padding - pool.window
    if room < 0 and not (pool.rounding == "ceil" and room > -pool.window):
        raise ValueError(
            f"a map of {size} pixels is smaller than its {pool.window}-pixel pooling window; "
            "use larger images or fewer layers"
        )
    if pool.rounding == "floor":
        return room // pool.stride + 1
    out = -(-room // pool.stride) + 1
    if (out - 1) * pool.stride >= size + pool.padding:
        out -= 1
    return max(out, 1)


def pool_padding(size: int, pool: Pool) -> tuple[int, int]:
    """Padding (before, after) along one axis that makes every window of `pool_size` whole."""
    reach = (pool_size(size, pool) - 1) * pool.stride + pool.window
    return pool.padding, max(pool.padding, reach - size - pool.padding)


def layer_sizes(architecture: Architecture, size: int) -> dict[str, int]:
    """Pixels along one axis of every layer of maps, by name ('conv1', 'pool1', ...)."""
    sizes = {}
    for conv in architecture.convs:
        size = sizes[conv.name] = conv_size(size, conv)
        if conv.pool:
            size = sizes[f"pool{conv.number}"] = pool_size(size, conv.pool)
    return sizes


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """What one unit of a layer sees, along one axis, in pixels of the image.

    Unit i sees pixels [start + i * jump, start + i * jump + size); those outside the image are
    padding.
    """

    size: int
    jump: int
    start: int

    def window(self, index: int) -> tuple[int, int]:
        """First pixel and the one past the last that unit `index` sees; may leave the image."""
        first = self.start + index * self.jump
        return first, first + self.size


def receptive_field(architecture: Architecture, layer: str) -> ReceptiveField:
    """The receptive field of a layer of maps, 'conv3' or 'pool5', along one axis.

    It is what filters and pools reach, and so a projection. Contrast norm within maps lets units
    answer to a few more pixels around it, see `changed`.
    """
    last, kind = architecture.depth_of(layer)
    field = ReceptiveField(size=1, jump=1, start=0)
    for index, conv in enumerate(architecture.convs[: last + 1]):
        field = _through(field, conv.kernel, conv.stride, conv.padding)
        if conv.pool and (index < last or kind == "pool"):
            field = _through(field, conv.pool.window, conv.pool.stride, conv.pool.padding)
    return field


def _through(field: ReceptiveField, window: int, stride: int, padding: int) -> ReceptiveField:
    return ReceptiveField(
        size=field.size + (window - 1) * field.jump,
        jump=field.jump * stride,
        start=field.start - padding * field.jump,
    )


@dataclasses.dataclass(frozen=True)
class Tile:
    """The part of a map, along one axis, that a projection from one unit of a layer can reach.

    It has one size for all units of the layer. At an edge it is moved inside the map; where it
    would be larger than the map it is the whole map. Only of the image it may leave the edges.

    Attributes:
      size: pixels.
      starts: its first pixel for units 0, 1, 2, ... of the layer.
      pads: zeros put before and after the pixels that the tile above it reaches, so that they hold
        this tile.
      cuts: where it starts in these padded pixels, per unit.
    """

    size: int
    starts: tuple[int, ...]
    pads: tuple[int, int] = (0, 0)
    cuts: tuple[int, ...] = ()


def cone(architecture: Architecture, layer: str, size: int) -> dict[str, Tile]:
    """The tiles that a projection from single units of a conv layer passes through, on its way
    down through images of `size` pixels: of 'conv3', 'pool2', 'conv2', ... and of the 'image',
    where it is the receptive field.
    """
    top, _ = architecture.depth_of(layer)
    sizes = layer_sizes(architecture, size)
    field = receptive_field(architecture, layer)
    tile = Tile(size=1, starts=tuple(range(sizes[layer])))
    tiles = {layer: tile}
    for depth in range(top, 0, -1):
        conv, below = architecture.convs[depth], architecture.convs[depth - 1]
        if below.pool:
            pool, name = below.pool, f"pool{below.number}"
            tile = _tile_below(tile, conv.kernel, conv.stride, conv.padding, sizes[name])
            tiles[name] = tile
            tile = _tile_below(tile, pool.window, pool.stride, pool.padding, sizes[below.name])
        else:
            tile = _tile_below(tile, conv.kernel, conv.stride, conv.padding, sizes[below.name])
        tiles[below.name] = tile
    first = architecture.convs[0]
    windows = tuple(field.window(unit)[0] for unit in range(sizes[layer]))
    reached = tuple(start * first.stride - first.padding for start in tile.starts)
    reach = (tile.size - 1) * first.stride + first.kernel
    tiles["image"] = _cut(reached, reach, windows, field.size)
    return tiles


def _tile_below(tile: Tile, window: int, stride: int, padding: int, size: int) -> Tile:
    reached = tuple(start * stride - padding for start in tile.starts)
    reach = (tile.size - 1) * stride + window
    within = min(reach, size)
    return _cut(reached, reach, tuple(max(0, min(r, size - within)) for r in reached), within)


def _cut(reached: tuple[int, ...], reach: int, starts: tuple[int, ...], size: int) -> Tile:
    cuts = [start - first for start, first in zip(starts, reached, strict=True)]
    before, after = max(0, -min(cuts)), max(0, max(cuts) + size - reach)
    return Tile(size, starts, (before, after), tuple(cut + before for cut in cuts))


@dataclasses.dataclass(frozen=True)
class Span:
    """Units of a layer, along one axis: as many for every square, from a first one on.

    A span may leave the map; what lies outside does not exist.
    """

    size: int
    starts: tuple[int, ...]

    def pads(self, size: int) -> tuple[int, int]:
        """Units before and after a map of `size` units that the spans reach."""
        return max(0, -min(self.starts)), max(0, max(self.starts) + self.size - size)


def square_starts(size: int, square: int, stride: int) -> tuple[int, ...]:
    """First pixels, along one axis of an image, of squares that lie inside it `stride` apart.

    The last square touches the far edge, closer to the one before it where the stride does not
    lead there.

    Raises:
      ValueError: the square or the stride is smaller than a pixel, or the square larger than the
        image.
    """
    if square < 1 or stride < 1:
        raise ValueError(f"square and stride must be at least 1 pixel, got {square} and {stride}")
    if square > size:
        raise ValueError(f"a square of {square} pixels is larger than the {size} that the net sees")
    room = size - square
    return (*range(0, room, stride), room)


def changed(architecture: Architecture, square: int, starts: tuple[int, ...]) -> dict[str, Span]:
    """What changes where squares of pixels change: the units of every layer that see any of them.

    A span holds the changed units of its square and, as all are of one size, perhaps more after
    them.

    Args:
      square: side in pixels.
      starts: the first pixel of every square.

    Returns:
      for the 'image' the squares themselves, then 'conv1', 'pool1', ...; also 'norm1', ... where
      contrast norm is within maps.
    """
    span = Span(square, starts)
    last = [start + square - 1 for start in starts]
    spans = {"image": span}

    def through(name: str, window: int, stride: int, padding: int) -> None:
        nonlocal span, last
        first = tuple(-((window - 1 - padding - start) // stride) for start in span.starts)
        last = [max(s, (end + padding) // stride) for s, end in zip(first, last, strict=True)]
        size = max(end - start + 1 for start, end in zip(first, last, strict=True))
        span = spans[name] = Span(size, first)

    for conv in architecture.convs:
        through(conv.name, conv.kernel, conv.stride, conv.padding)
        norm = conv.contrast_norm.window if conv.contrast_norm else 1
        before = architecture.norm_before_pool or not conv.pool
        if norm > 1 and before:
            through(f"norm{conv.number}", norm, 1, norm // 2)
        if conv.pool:
            through(f"pool{conv.number}", conv.pool.window, conv.pool.stride, conv.pool.padding)
        if norm > 1 and not before:
            through(f"norm{conv.number}", norm, 1, norm // 2)
    return spans


@dataclasses.dataclass(frozen=True)
class Canvas:
    """What a layer must read, along one axis, to recompute its span; changed units included.

    Attributes:
      span: of the layer's input.
      at: where in it the changed units start, for each square.
      cut: where in it the units that the layer reads start, `reach` of them.
    """

    span: Span
    at: tuple[int, ...]
    cut: int
    reach: int


def canvas(changed: Span, output: Span, window: int, stride: int, padding: int) -> Canvas:
    """What a convolution, pool or norm reads to recompute a span of its output.

    Args:
      changed: the units of the input that are new.
      output: the units to recompute.
      window, stride, padding: of the layer.
    """
    read = [start * stride - padding for start in output.starts]
    reach = (output.size - 1) * stride + window
    cut = max(0, *(r - start for r, start in zip(read, changed.starts, strict=True)))
    starts = tuple(r - cut for r in read)
    at = tuple(new - start for new, start in zip(changed.starts, starts, strict=True))
    return Canvas(Span(max(cut + reach, max(at) + changed.size), starts), at, cut, reach)
