"""The net's answer to photos with a square covered, recomputing only what the square can reach.

A square of 48 pixels changes 27 x 27 of the 110 x 110 units of layer 1. So the layers are computed
once for the whole photo, and for each square only in windows, until those are as large as the
maps. A pool, a strided convolution and contrast norm within maps read their window from the
unoccluded maps with the changed units pasted in. A convolution of stride 1 filters the change alone
and adds it to the unoccluded sums: the window that it reaches is larger than the one it reads, so
that takes fewer products.
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
from zfnet_jax.architecture import ContrastNorm, Conv, Pool
from zfnet_jax.contrast_norm import contrast_norm, norm_inside
from zfnet_jax.convolution import filter_maps
from zfnet_jax.geometry import Span
from zfnet_jax.model import ZFNet
from zfnet_jax.pooling import max_pool_with_switches
from zfnet_jax.studies.occlusion.plan import Grid, Pads, Step, make_plan
from zfnet_jax.studies.occlusion.window_convolution import filter_window, spread_change

Params = Mapping[str, Any]


class Squares(NamedTuple):
    """N squares to cover, int32 [N] each: in which photo, and at which row and column of the grid.

    These are traced, so that all squares of a grid share one program.
    """

    photo: jax.Array
    row: jax.Array
    column: jax.Array


class Unoccluded(NamedTuple):
    """What is computed once for G photos; around maps zeros, where windows leave them.

    Attributes:
      fill: [G, h, w, C] what squares show instead of the photo.
      maps: what each step puts out as far as windows read it, 'image' first, [G, h, w, C].
      sums: of convolutions of stride 1, what is rectified, [G, h, w, C].
      number: [G] the chosen map of the chosen layer.
      chosen: [G, h, w, 1] that map.
      activity: [G] its sum.
      logits: [G, classes].
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
    x, chosen = inputs, None
    maps: dict[str, jax.Array] = {}
    sums: dict[str, jax.Array] = {}
    for below, step in pairwise(plan):
        if below.spans:
            maps[below.name] = _pad(x, below.pads)
        raw = _whole(net, params, step, x)
        if step.spans and not step.canvas:
            sums[step.name] = _pad(raw, step.pads)
        rectified, x = _outputs(step, raw)
        if step.name == layer:
            chosen = _map(rectified, number)
    if plan[-1].spans:
        maps[plan[-1].name] = _pad(x, plan[-1].pads)
    pads = next(step.pads for step in plan if step.name == layer)
    assert chosen is not None  # that step was made
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
        if step.spans is None:
            if below.spans:
                x = _pasted_whole(photos.maps[below.name], x, below, squares)
            rectified, x = _outputs(step, _whole(net, params, step, x))
        else:
            maps = photos.maps[below.name]
            if step.canvas:
                rows, columns = step.canvas
                at = _places(squares, (rows.at, columns.at))
                x = _paste(cut(maps, below, (rows.span, columns.span)), x, at)
                x = x[
                    :, rows.cut : rows.cut + rows.reach, columns.cut : columns.cut + columns.reach
                ]
                raw = _valid(net, params, step, x)
            else:
                assert isinstance(step.layer, Conv)  # all others have a canvas
                change = x - cut(maps, below, below.spans)
                kernel = params[step.name]["kernel"]
                raw = spread_change(change, kernel, step.layer.groups, net.precision)
                raw += cut(photos.sums[step.name], step, step.spans)
            rectified, x = _outputs(step, _inside(raw, step, squares))
        if step.name == layer:
            chosen = _map(rectified, photos.number[squares.photo])
            if step.spans:
                chosen -= cut(photos.chosen, step, step.spans)
            activity = chosen.sum(axis=(1, 2, 3))
            if step.spans:
                activity += photos.activity[squares.photo]
    if plan[-1].spans:
        x = _pasted_whole(photos.maps[plan[-1].name], x, plan[-1], squares)
    assert activity is not None  # `layer` is a step
    return _dense(net, params, x), activity


def _whole(net: ZFNet, params: Params, step: Step, x: jax.Array) -> jax.Array:
    layer = step.layer
    if isinstance(layer, Conv):
        weights = params[step.name]
        return filter_maps(x, weights["kernel"], layer, net.precision) + weights["bias"]
    if isinstance(layer, ContrastNorm):
        return contrast_norm(x, layer)
    assert layer is not None  # the image is not computed
    pads = geometry.both_axes(geometry.pool_padding(size, layer) for size in x.shape[1:3])
    return max_pool_with_switches(x, layer.window, layer.stride, pads)[0]


def _valid(net: ZFNet, params: Params, step: Step, x: jax.Array) -> jax.Array:
    """The layer applied to all that it reads; zeros around maps are as good as padding also for a
    pool, as rectified maps hold nothing below."""
    layer = step.layer
    if isinstance(layer, Pool):
        return max_pool_with_switches(x, layer.window, layer.stride, 0)[0]
    if isinstance(layer, ContrastNorm):
        return norm_inside(x, layer)
    assert layer is not None  # the image is not computed
    weights = params[step.name]
    return filter_window(x, weights["kernel"], layer, net.precision) + weights["bias"]


def _outputs(step: Step, raw: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The layer's maps, and what the next step reads."""
    maps = jax.nn.relu(raw) if isinstance(step.layer, Conv) else raw
    return maps, contrast_norm(maps, step.norm) if step.norm else maps


def _dense(net: ZFNet, params: Params, x: jax.Array) -> jax.Array:
    def layer(name: str, x: jax.Array) -> jax.Array:
        weights = params[name]
        return jnp.dot(x, weights["kernel"], precision=net.precision) + weights["bias"]

    x = x.reshape(x.shape[0], -1)
    for name in net.architecture.dense_names:
        x = jax.nn.relu(layer(name, x))
        if not net.architecture.dropout_scales_training:
            x = x * (1 - net.architecture.dropout)
    return layer("logits", x)


def _map(maps: jax.Array, number: jax.Array) -> jax.Array:
    """One map of each of [N, h, w, C]: [N, h, w, 1]."""
    return jnp.take_along_axis(maps, number[:, None, None, None], axis=3)


def _pad(x: jax.Array, pads: Pads) -> jax.Array:
    return jnp.pad(x, ((0, 0), *pads, (0, 0)))


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


def _inside(x: jax.Array, step: Step, squares: Squares) -> jax.Array:
    """Zero where windows leave the maps."""
    assert step.spans is not None
    places = _places(squares, _starts(step.spans))
    for axis, (first, size, pads) in enumerate(zip(places, step.size, step.pads), start=1):
        if any(pads):
            unit = first[:, None] + jnp.arange(x.shape[axis])
            here = (unit >= 0) & (unit < size)
            x = jnp.where(jnp.expand_dims(here, (3 - axis, 3)), x, 0)
    return x
