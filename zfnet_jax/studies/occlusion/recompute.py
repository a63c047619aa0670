"""The net's answer to photos with a square covered, recomputing only what the square can reach.

A square of 48 pixels changes 27 x 27 of the 110 x 110 units of layer 1. So the layers are computed
once for the whole photo, and for each square only in windows, until those are as large as the
maps. A pool, a strided convolution and contrast norm within maps read their window from the
unoccluded maps with the changed units pasted in. A convolution of stride 1 filters the change alone
and adds it to the unoccluded sums: the window that it reaches is larger than the one it reads, so
that takes fewer products (`Stage.has_change`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from zfnet_jax import geometry
from zfnet_jax.geometry import Span
from zfnet_jax.model import ZFNet
from zfnet_jax.stages.stage import Place, Stage, Up
from zfnet_jax.studies.occlusion.plan import Grid, Step, make_plan
from zfnet_jax.windows import Pads

Params = Mapping[str, Any]


class Squares(NamedTuple):
    """N squares to cover, int32 [N] each: in which photo, and at which row and column of the grid.

    These are traced, so that all squares of a grid share one program.
    """

    photo: jax.Array
    row: jax.Array
    column: jax.Array


class Unoccluded(NamedTuple):
    """What is computed once for G photos; around maps `Step.outside`, where windows leave them.

    Attributes:
      fill: [G, h, w, C] what squares show instead of the photo.
      maps: what each step puts out as far as windows read it, 'image' first, [G, h, w, C].
      sums: of stages that a change is added to, what they put out, [G, h, w, C].
      number: [G] the chosen map of the chosen layer.
      chosen: [G, h, w, 1] that map.
      activity: [G] its sum.
      logits: [G, classes], [G, 0] without a classifier.
    """

    fill: jax.Array
    maps: dict[str, jax.Array]
    sums: dict[str, jax.Array]
    number: jax.Array
    chosen: jax.Array
    activity: jax.Array
    logits: jax.Array


@partial(jax.jit, static_argnames=("net", "grid", "layer"))
def unoccluded(
    net: ZFNet,
    params: Params,
    inputs: jax.Array,
    fill: jax.Array,
    grid: Grid,
    layer: str,
    number: jax.Array,
) -> Unoccluded:
    """Computes whole photos, as `ZFNet` does.

    Args:
      inputs: [G, H, W, C], the mean subtracted.
      fill: [G, H, W, C], likewise, what squares show instead.
      grid: where squares will lie.
      layer: a conv or pool layer of the net, and the numbers [G] of one map of it per photo, whose
        activity is summed.
    """
    plan = make_plan(net.architecture, grid)
    last = plan[-1]
    x, chosen, pads = inputs, None, last.pads
    maps: dict[str, jax.Array] = {}
    sums: dict[str, jax.Array] = {}
    for below, step in pairwise(plan):
        if below.spans:
            maps[below.name] = _pad(x, below.pads, below.outside)
        raw = _forward(net, params, step.stages[0], x)
        if step.spans and not step.canvas:
            sums[step.name] = _pad(raw, step.pads)
        found = _outputs(net, params, step, raw)
        x = found[step.name]
        if layer in found:
            chosen, pads = _map(found[layer], number), step.pads
    if last.spans:
        maps[last.name] = _pad(x, last.pads)
    assert chosen is not None  # `layer` is among the stages
    return Unoccluded(
        fill=_pad(fill, plan[0].pads),
        maps=maps,
        sums=sums,
        number=number,
        chosen=_pad(chosen, pads),
        activity=chosen.sum(axis=(1, 2, 3)),
        logits=_dense(net, params, x),
    )


@partial(jax.jit, static_argnames=("net", "grid", "layer"))
def occluded(
    net: ZFNet, params: Params, photos: Unoccluded, grid: Grid, layer: str, squares: Squares
) -> tuple[jax.Array, jax.Array]:
    """Covers one square of a photo, N times; the same as `ZFNet` of the covered photos, rounding
    apart.

    Args:
      photos: from `unoccluded`, for the same net, grid and layer.

    Returns:
      logits [N, classes], and the summed activity [N] of the chosen map.
    """

    def cut(maps: jax.Array, step: Step, spans: tuple[Span, Span] | None) -> jax.Array:
        assert spans is not None  # a step that has them reads only from such
        places = _places(squares, _starts(spans), step.pads)
        return _cut(maps, squares.photo, places, geometry.both_axes(span.size for span in spans))

    plan = make_plan(net.architecture, grid)
    x, activity = cut(photos.fill, plan[0], plan[0].spans), None
    for below, step in pairwise(plan):
        first = step.stages[0]
        if step.spans is None:
            if below.spans:
                x = _pasted_whole(photos.maps[below.name], x, below, squares)
            raw = _forward(net, params, first, x)
        elif step.canvas:
            rows, columns = step.canvas
            at = _places(squares, (rows.at, columns.at))
            x = _paste(cut(photos.maps[below.name], below, (rows.span, columns.span)), x, at)
            x = x[:, rows.cut : rows.cut + rows.reach, columns.cut : columns.cut + columns.reach]
            assert step.spans is not None  # as every step with a canvas
            place = Place(_places(squares, _starts(step.spans)), below.size)
            raw = first.inside(x, first.own(params), _up(net), place)
        else:
            change = x - cut(photos.maps[below.name], below, below.spans)
            raw = first.change(change, first.own(params), _up(net))
            raw += cut(photos.sums[step.name], step, step.spans)
        found = _outputs(net, params, step, raw)
        x = found[step.name]
        if layer in found:
            chosen = _map(found[layer], photos.number[squares.photo])
            if step.spans:
                chosen = _inside(chosen, step, squares) - cut(photos.chosen, step, step.spans)
            activity = chosen.sum(axis=(1, 2, 3))
            if step.spans:
                activity += photos.activity[squares.photo]
        if step.spans:
            x = _inside(x, step, squares, step.outside)
    if plan[-1].spans:
        x = _pasted_whole(photos.maps[plan[-1].name], x, plan[-1], squares)
    assert activity is not None  # `layer` is among the stages
    return _dense(net, params, x), activity


def _up(net: ZFNet) -> Up:
    return Up(net.dtype, net.precision)


def _forward(net: ZFNet, params: Params, stage: Stage, x: jax.Array) -> jax.Array:
    return stage.forward(x, stage.own(params), _up(net))[0]


def _outputs(net: ZFNet, params: Params, step: Step, raw: jax.Array) -> dict[str, jax.Array]:
    """What the stages of a step put out, by name, from what its first one does."""
    found = {step.stages[0].name: raw}
    for stage in step.stages[1:]:
        raw = found[stage.name] = _forward(net, params, stage, raw)
    return found


def _dense(net: ZFNet, params: Params, x: jax.Array) -> jax.Array:
    """Logits from the last maps, as `ZFNet` has them."""
    if not net.architecture.stages[-1].scores:
        return jnp.zeros((x.shape[0], 0), jnp.float32)
    for stage in net.architecture.stages[len(net.architecture.map_stages) :]:
        x = _forward(net, params, stage, x)
    return x


def _map(maps: jax.Array, number: jax.Array) -> jax.Array:
    """One map of each of [N, h, w, C]: [N, h, w, 1]."""
    return jnp.take_along_axis(maps, number[:, None, None, None], axis=3)


def _pad(x: jax.Array, pads: Pads, outside: float = 0) -> jax.Array:
    return jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=outside)


def _starts(spans: tuple[Span, Span]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return geometry.both_axes(span.starts for span in spans)


def _places(
    squares: Squares,
    starts: tuple[tuple[int, ...], tuple[int, ...]],
    pads: Pads = ((0, 0), (0, 0)),
) -> tuple[jax.Array, jax.Array]:
    """Row and column [N] of each square from tables by place in the grid, in padded maps."""
    rows, columns = starts
    row = jnp.asarray(rows)[squares.row] + pads[0][0]
    return row, jnp.asarray(columns)[squares.column] + pads[1][0]


def _cut(
    maps: jax.Array, photo: jax.Array, places: tuple[jax.Array, jax.Array], size: tuple[int, int]
) -> jax.Array:
    """Windows [N, *size, C] of the photos' maps [G, H, W, C]."""
    shape = (1, *size, maps.shape[3])
    return jax.vmap(lambda p, row, column: lax.dynamic_slice(maps, (p, row, column, 0), shape)[0])(
        photo, *places
    )


def _paste(maps: jax.Array, windows: jax.Array, at: tuple[jax.Array, jax.Array]) -> jax.Array:
    return jax.vmap(
        lambda one, window, row, column: lax.dynamic_update_slice(one, window, (row, column, 0))
    )(maps, windows, *at)


def _pasted_whole(maps: jax.Array, x: jax.Array, step: Step, squares: Squares) -> jax.Array:
    """Whole maps [N, H, W, C] with windows of them pasted in."""
    assert step.spans is not None
    at = _places(squares, _starts(step.spans), step.pads)
    x = _paste(maps[squares.photo], x, at)
    (top, _), (left, _) = step.pads
    return x[:, top : top + step.size[0], left : left + step.size[1]]


def _inside(x: jax.Array, step: Step, squares: Squares, outside: float = 0) -> jax.Array:
    """`outside` where windows leave the maps."""
    assert step.spans is not None
    places = _places(squares, _starts(step.spans))
    for axis, (first, size, pads) in enumerate(zip(places, step.size, step.pads), start=1):
        if any(pads):
            unit = first[:, None] + jnp.arange(x.shape[axis])
            here = (unit >= 0) & (unit < size)
            x = jnp.where(jnp.expand_dims(here, (3 - axis, 3)), x, outside)
    return x
