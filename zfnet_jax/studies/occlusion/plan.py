"""Which windows of which layers to recompute when squares of an image are covered. No arrays."""

from __future__ import annotations

import dataclasses

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.geometry import Canvas, Span
from zfnet_jax.stages.stage import POINTS, Stage
from zfnet_jax.windows import Pads


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where squares may lie in images: first pixels of rows and columns, and their side."""

    image_size: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    square: int


@dataclasses.dataclass(frozen=True)
class Step:
    """The image; or a stage of the net that reads windows, and those after it that read points.

    Attributes:
      stages: in order; none for the image.
      size: of what it puts out.
      outside: what stands around that, for the windows of the step after it.
      spans: rows and columns to recompute; None where all of it is.
      canvas: what to read for them; None where a change of it is enough, see `Stage.has_change`.
      pads: around what it puts out, where spans and canvases leave it.
    """

    stages: tuple[Stage, ...]
    size: tuple[int, int]
    outside: float = 0.0
    spans: tuple[Span, Span] | None = None
    canvas: tuple[Canvas, Canvas] | None = None
    pads: Pads = ((0, 0), (0, 0))

    @property
    def name(self) -> str:
        """Name of what it puts out."""
        return self.stages[-1].name if self.stages else "image"


def make_plan(net: Architecture, grid: Grid) -> list[Step]:
    """All steps, the image first: windows as long as they are smaller than the maps."""
    changed = [
        geometry.changed(net, grid.square, starts, axis)
        for axis, starts in enumerate((grid.rows, grid.columns))
    ]
    plan, windows = _steps(net, grid.image_size), True
    before: tuple[Span, Span] | None = None
    for index, step in enumerate(plan):
        spans = geometry.both_axes(axis[step.name] for axis in changed)
        height, width = step.size
        windows = windows and (not index or spans[0].size * spans[1].size < height * width)
        if not windows:
            break
        canvas = None
        if before and not step.stages[0].has_change:
            canvas = geometry.both_axes(
                geometry.canvas(below, span, step.stages[0].along(axis))
                for axis, (below, span) in enumerate(zip(before, spans, strict=True))
            )
            _widen(plan, index - 1, geometry.both_axes(axis.span for axis in canvas))
        plan[index] = dataclasses.replace(step, spans=spans, canvas=canvas)
        _widen(plan, index, spans)
        before = spans
    return plan


def _steps(net: Architecture, image_size: tuple[int, int]) -> list[Step]:
    plan = [Step((), image_size)]
    for stage in net.map_stages:
        last = plan[-1]
        if stage.windows == POINTS and last.stages:
            plan[-1] = dataclasses.replace(last, stages=(*last.stages, stage))
            continue
        plan[-1] = dataclasses.replace(last, outside=stage.outside)
        plan.append(
            Step(
                (stage,),
                geometry.both_axes(stage.size(n, axis) for axis, n in enumerate(last.size)),
            )
        )
    return plan


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
