"""Which windows of which layers to recompute when squares of an image are covered. No arrays."""

from __future__ import annotations

import dataclasses

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture, ContrastNorm, Conv, Pool
from zfnet_jax.geometry import Canvas, Span

Pads = tuple[tuple[int, int], tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where squares may lie in images: first pixels of rows and columns, and their side."""

    image_size: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    square: int


@dataclasses.dataclass(frozen=True)
class Step:
    """The image, a convolution or a pool, and the contrast norm across maps after it; contrast norm
    within maps, which reads a window of pixels, is a step of its own.

    Attributes:
      size: of what it puts out.
      spans: rows and columns to recompute; None where all of it is.
      canvas: what to read for them; None for a convolution of stride 1.
      pads: around what it puts out, where spans and canvases leave it.
    """

    name: str
    layer: Conv | Pool | ContrastNorm | None
    norm: ContrastNorm | None
    size: tuple[int, int]
    spans: tuple[Span, Span] | None = None
    canvas: tuple[Canvas, Canvas] | None = None
    pads: Pads = ((0, 0), (0, 0))


def make_plan(net: Architecture, grid: Grid) -> list[Step]:
    """All steps, the image first: windows as long as they are smaller than the maps."""
    changed = [geometry.changed(net, grid.square, starts) for starts in (grid.rows, grid.columns)]
    plan, windows = [Step("image", None, None, grid.image_size)], True
    for name, layer, norm in _layers(net):
        plan.append(
            Step(name, layer, norm, geometry.both_axes(_size(n, layer) for n in plan[-1].size))
        )
    before: tuple[Span, Span] | None = None
    for index, step in enumerate(plan):
        spans = geometry.both_axes(axis[step.name] for axis in changed)
        height, width = step.size
        windows = windows and (not index or spans[0].size * spans[1].size < height * width)
        if not windows:
            break
        canvas = None
        if before and step.layer and not (isinstance(step.layer, Conv) and step.layer.stride == 1):
            reads = _window(step.layer)
            canvas = geometry.both_axes(
                geometry.canvas(below, span, *reads)
                for below, span in zip(before, spans, strict=True)
            )
            _widen(plan, index - 1, geometry.both_axes(axis.span for axis in canvas))
        plan[index] = dataclasses.replace(step, spans=spans, canvas=canvas)
        _widen(plan, index, spans)
        before = spans
    return plan


def _size(size: int, layer: Conv | Pool | ContrastNorm) -> int:
    if isinstance(layer, Conv):
        return geometry.conv_size(size, layer)
    return geometry.pool_size(size, layer) if isinstance(layer, Pool) else size


def _window(layer: Conv | Pool | ContrastNorm) -> tuple[int, int, int]:
    """Window, stride and padding of what a layer reads."""
    if isinstance(layer, Conv):
        return layer.kernel, layer.stride, layer.padding
    if isinstance(layer, Pool):
        return layer.window, layer.stride, layer.padding
    return layer.window, 1, layer.window // 2


def _layers(
    net: Architecture,
) -> list[tuple[str, Conv | Pool | ContrastNorm, ContrastNorm | None]]:
    """Convolutions, pools and norms within maps by name, each with the contrast norm across maps
    that comes straight after it."""
    result: list[tuple[str, Conv | Pool | ContrastNorm, ContrastNorm | None]] = []

    def add(name: str, layer: Conv | Pool, norm: ContrastNorm | None, number: int) -> None:
        if norm and norm.region == "within_map":
            result.extend([(name, layer, None), (f"norm{number}", norm, None)])
        else:
            result.append((name, layer, norm))

    for conv in net.convs:
        norm, after_conv = conv.contrast_norm, net.norm_before_pool or not conv.pool
        add(conv.name, conv, norm if after_conv else None, conv.number)
        if conv.pool:
            add(f"pool{conv.number}", conv.pool, None if after_conv else norm, conv.number)
    return result


def _widen(plan: list[Step], index: int, spans: tuple[Span, Span]) -> None:
    """Makes room around what a step puts out for spans of it."""
    step = plan[index]
    pads = geometry.both_axes(
        (max(old[0], new[0]), max(old[1], new[1]))
        for old, new in zip(
            step.pads, (span.pads(n) for span, n in zip(spans, step.size, strict=True)), strict=True
        )
    )
    plan[index] = dataclasses.replace(step, pads=pads)
