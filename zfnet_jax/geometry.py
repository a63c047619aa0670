"""Integer arithmetic of layers: sizes, paddings, receptive fields. No arrays.

Everything is per axis, 0 of rows and 1 of columns: neither images nor windows need be square. Where
all windows are, the axis makes no difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TypeVar

from zfnet_jax.architecture import Architecture
from zfnet_jax.stages.stage import Stage
from zfnet_jax.windows import POINT, Window

T = TypeVar("T")


def both_axes(items: Iterable[T]) -> tuple[T, T]:
    """One thing per axis of an image, rows first. ValueError unless there are two."""
    rows, columns = items
    return rows, columns


def sizes(stages: Iterable[Stage], size: int, axis: int = 0) -> list[int]:
    """Pixels along one axis of the image, and after each stage of maps."""
    result = [size]
    for stage in stages:
        result.append(stage.size(result[-1], axis))
    return result


def layer_sizes(architecture: Architecture, size: int, axis: int = 0) -> dict[str, int]:
    """Pixels along one axis of every layer of maps that a projection can start from, by name
    ('conv1', 'pool1', ...), for an image of `size` pixels."""
    stages = architecture.map_stages
    after = zip(stages, sizes(stages, size, axis)[1:], strict=True)
    return {stage.name: units for stage, units in after if stage.projects}


def shapes(
    architecture: Architecture, image_shape: tuple[int, int, int]
) -> dict[str, tuple[int, ...]]:
    """Shape of what every stage puts out, by name, [H, W, C] or [units], for an image [H, W, C]."""
    shape: tuple[int, ...] = image_shape
    result = {}
    for stage in architecture.stages:
        shape = result[stage.name] = stage.shape(shape)
    return result


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


def receptive_field(architecture: Architecture, layer: str, axis: int = 0) -> ReceptiveField:
    """The receptive field of a layer of maps, 'conv3' or 'pool5', along one axis.

    It is what filters and pools reach, and so a projection. Contrast norm within maps lets units
    answer to a few more pixels around it, see `changed`.
    """
    field = ReceptiveField(size=1, jump=1, start=0)
    for stage in architecture.stages_to(layer):
        window = _projected(stage, axis)
        field = ReceptiveField(
            size=field.size + (window.reach - 1) * field.jump,
            jump=field.jump * window.stride,
            start=field.start - window.before * field.jump,
        )
    return field


def receptive_fields(
    architecture: Architecture, layer: str
) -> tuple[ReceptiveField, ReceptiveField]:
    """`receptive_field` along rows and along columns."""
    return both_axes(receptive_field(architecture, layer, axis) for axis in (0, 1))


def _projected(stage: Stage, axis: int) -> Window:
    """What a projection through a stage reaches."""
    return stage.along(axis) if stage.projects else POINT


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


def cone(architecture: Architecture, layer: str, size: int, axis: int = 0) -> list[Tile]:
    """The tiles that a projection from single units of a layer passes through, along one axis, on
    its way down through an image of `size` pixels: what it reaches of the image, where it is the
    receptive field, then of what each of `Architecture.stages_to` puts out. The last is the unit.
    """
    stages = architecture.stages_to(layer)
    *inputs, units = sizes(stages, size, axis)
    tile = Tile(size=1, starts=tuple(range(units)))
    tiles = [tile]
    for depth in range(len(stages) - 1, -1, -1):
        window = _projected(stages[depth], axis)
        reached = tuple(start * window.stride - window.before for start in tile.starts)
        reach = (tile.size - 1) * window.stride + window.reach
        if depth:
            within = min(reach, inputs[depth])
            starts = tuple(max(0, min(r, inputs[depth] - within)) for r in reached)
        else:
            field = receptive_field(architecture, layer, axis)
            within, starts = field.size, tuple(field.window(unit)[0] for unit in range(units))
        tile = _cut(reached, reach, starts, within)
        tiles.append(tile)
    return tiles[::-1]


def _cut(reached: tuple[int, ...], reach: int, starts: tuple[int, ...], size: int) -> Tile:
    cuts = [start - first for start, first in zip(starts, reached, strict=True)]
    before, after = max(0, -min(cuts)), max(0, max(cuts) + size - reach)
    return Tile(size, starts, (before, after), tuple(cut + before for cut in cuts))


def of_one_scale(
    architecture: Architecture, layers: Iterable[str], image_size: tuple[int, int]
) -> list[tuple[str, ...]]:
    """Layers of maps in groups, each from its lowest layer up, that `cropped.project_layers` may
    project together: their units lie equally far apart, and the topmost of a group sees all that
    the others see."""
    order = sorted(layers, key=lambda layer: len(architecture.stages_to(layer)), reverse=True)
    groups: list[tuple[str, ...]] = []
    for layer in order:
        if groups and _carry_all(architecture, layer, groups[-1][-1], image_size):
            groups[-1] = (layer, *groups[-1])
        else:
            groups.append((layer,))
    return groups[::-1]


def carriers(
    architecture: Architecture, layer: str, top: str, size: int, axis: int = 0
) -> tuple[int, ...]:
    """For units 0, 1, 2, ... of a layer, along one axis, the unit of a layer above it whose
    receptive field holds theirs, most in its middle.

    ValueError: there is none, or the two layers are of different scales.
    """
    own, wide = (receptive_field(architecture, name, axis) for name in (layer, top))
    count, many = (layer_sizes(architecture, size, axis)[name] for name in (layer, top))
    if own.jump != wide.jump:
        raise ValueError(f"units of {layer} and {top} do not lie equally far apart")
    # That of unit 0, if there are so many: the windows' middles differ least.
    middle = (2 * (own.start - wide.start) + own.size - wide.size) // (2 * own.jump)
    found = tuple(max(0, min(unit + middle, many - 1)) for unit in range(count))
    for unit, carrier in enumerate(found):
        (first, last), (start, end) = own.window(unit), wide.window(carrier)
        if first < start or last > end:
            raise ValueError(f"no unit of {top} sees all that unit {unit} of {layer} sees")
    return found


def _carry_all(
    architecture: Architecture, layer: str, top: str, image_size: tuple[int, int]
) -> bool:
    try:
        for axis, size in enumerate(image_size):
            carriers(architecture, layer, top, size, axis)
    except ValueError:
        return False
    return True


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


def changed(
    architecture: Architecture, square: int, starts: tuple[int, ...], axis: int = 0
) -> dict[str, Span]:
    """What changes where squares of pixels change: the units of every layer that see any of them.

    A span holds the changed units of its square and, as all are of one size, perhaps more after
    them.

    Args:
      square: side in pixels.
      starts: the first pixel of every square.

    Returns:
      for the 'image' the squares themselves, then 'conv1', 'pool1', 'norm1', ...
    """
    span = Span(square, starts)
    last = [start + square - 1 for start in starts]
    spans = {"image": span}

    for stage in architecture.map_stages:
        window = stage.along(axis)
        stride, before = window.stride, window.before
        first = tuple(-((window.reach - 1 - before - start) // stride) for start in span.starts)
        last = [max(s, (end + before) // stride) for s, end in zip(first, last, strict=True)]
        size = max(end - start + 1 for start, end in zip(first, last, strict=True))
        span = spans[stage.name] = Span(size, first)
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


def canvas(changed: Span, output: Span, window: Window) -> Canvas:
    """What a convolution, pool or norm reads to recompute a span of its output.

    Args:
      changed: the units of the input that are new.
      output: the units to recompute.
      window: of the layer.
    """
    read = [start * window.stride - window.before for start in output.starts]
    reach = (output.size - 1) * window.stride + window.reach
    cut = max(0, *(r - start for r, start in zip(read, changed.starts, strict=True)))
    starts = tuple(r - cut for r in read)
    at = tuple(new - start for new, start in zip(changed.starts, starts, strict=True))
    return Canvas(Span(max(cut + reach, max(at) + changed.size), starts), at, cut, reach)
