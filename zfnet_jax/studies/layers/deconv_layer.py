"""One layer of the convnet and the deconvnet layer attached to it, on a photo (paper, Fig. 1)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import deconvnet, geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.data import augment
from zfnet_jax.model import Activations
from zfnet_jax.runs.run import Run
from zfnet_jax.stages.max_pool import MaxPool
from zfnet_jax.stages.relu import Relu
from zfnet_jax.stages.stage import Down, Stage, Up
from zfnet_jax.windows import Window

Arrays = dict[str, np.ndarray]


def deconv_layer(run: Run, photo: np.ndarray, layer: str, count: int) -> Arrays:
    """Every stage of a layer with a pool, up and down, for its maps most active in a photo.

    On the way up: filter, rectify, pool. On the way down: what the layer above reconstructs from
    all of its maps (in the last layer: the pooled maps themselves) is unpooled with the switches,
    rectified, and filtered with the transposed filters. What a layer does after its first max pool
    is undone before 'from_above'.

    Args:
      run: the net.
      photo: [S, S, C] uint8.
      layer: 'conv1', 'conv2', ...: one that has a max pool.
      count: maps to keep.

    Returns:
      'layer' and 'above', names of the layer and of the one above ('' for none); 'map' [N], the
      maps kept, strongest first; per map, of the way up, 'filtered' [N, H, W] before and
      'rectified' [N, H, W] after the last relu before the pool, 'before_pool' [N, H, W] what is
      pooled (the rectified maps, or these normalised), 'pooled' [N, h, w], 'switches'
      [N, h, w, 2] int32, (row, column) of each maximum in the H x W map, and 'pool' (window,
      stride, rows of padding above, columns of padding at the left; then the columns' window and
      stride where they differ from the rows'); of the way down, 'from_above' [N, h, w], 'unpooled'
      [N, H, W] and 'unpooled_rectified' [N, H, W].
      'rectifies': whether a relu comes before the pool. 'filters' [N, k, l, c] are the maps'
      filters. At the bottom, 'input' is what the layer filters and 'reconstruction' what all its
      maps together give back of it: for the first layer [H0, W0, C], the photo's crop (uint8) and
      pixels; for others [n, H0, W0], the n = count strongest input maps 'input_map' [n].

    Raises:
      ValueError: the layer has no max pool, or there is no such layer.
    """
    net = run.architecture
    number = net.stages_to(layer)[-1].number
    own = [n for n, stage in enumerate(net.map_stages) if stage.number == number]
    stages = net.map_stages[own[0] : own[-1] + 1]
    pools = [stage for stage in stages if isinstance(stage, MaxPool)]
    if layer != net.map_stages[own[0]].name or not pools:
        switched = ", ".join(net.switched) or "there is none"
        raise ValueError(f"Fig. 1 needs a layer with a max pool ({switched}), not {layer!r}")
    filters, pool = stages[0], pools[0]
    rectifies = any(isinstance(stage, Relu) for stage in _between(stages, pool))
    inputs = run.inputs(photo[None])
    _, activations = run.forward(inputs)
    found: Arrays = jax.device_get(
        _both_ways(net, run.params, inputs, activations, number, run.input_size)
    )

    rows, columns = pool.windows
    differ = (columns.size, columns.stride) if rows[:2] != columns[:2] else ()
    numbers = _strongest(np.asarray(activations[layer]), count)
    top = net.map_stages[-1].number == number
    result = {
        "layer": np.array(layer),
        "above": np.array("" if top else net.map_stages[own[-1] + 1].name),
        "map": numbers,
        "filters": np.moveaxis(np.asarray(filters.own(run.params)["kernel"]), 3, 0)[numbers],
        "switches": _in_the_map(found["switches"], pool.windows)[numbers],
        "pool": np.array([rows.size, rows.stride, rows.before, columns.before, *differ]),
        "rectifies": np.array(rectifies),
    }
    for name in (
        "filtered",
        "rectified",
        "before_pool",
        "pooled",
        "from_above",
        "unpooled",
        "unpooled_rectified",
    ):
        result[name] = _maps_first(found[name])[numbers]
    if not own[0]:
        crop = augment.centre(photo, run.input_size)
        return result | {"input": crop, "reconstruction": found["back"][0]}
    chosen = _strongest(found["below"], count)
    return result | {
        "input_map": chosen,
        "input": _maps_first(found["below"])[chosen],
        "reconstruction": _maps_first(found["back"])[chosen],
    }


@functools.partial(jax.jit, static_argnames=("net", "number", "image_size"))
def _both_ways(
    net: Architecture,
    params: dict[str, Any],
    inputs: jax.Array,
    activations: Activations,
    number: int,
    image_size: tuple[int, int],
) -> dict[str, jax.Array]:
    """The maps [1, h, w, C] of all stages of layer `number`, named as in `deconv_layer`; 'below',
    what it filters, and 'back', what it gives back of that."""
    own = [n for n, stage in enumerate(net.map_stages) if stage.number == number]
    stages = net.map_stages[own[0] : own[-1] + 1]
    filters, pool = stages[0], next(stage for stage in stages if isinstance(stage, MaxPool))
    between, after = _between(stages, pool), stages[stages.index(pool) + 1 :]

    def before(stage: Stage) -> jax.Array:
        index = net.map_stages.index(stage)
        return activations[net.map_stages[index - 1].name] if index else inputs

    def down(stage: Stage, x: jax.Array) -> jax.Array:
        size = geometry.both_axes(before(stage).shape[1:3])
        return deconvnet.down(stage, x, activations, params, size, Down())

    below = before(filters)
    filtered, _ = filters.forward(below, filters.own(params), Up(jnp.float32, "highest"))
    from_above = activations[[stage.name for stage in stages if stage.projects][-1]]
    if net.map_stages[-1].number > number:
        over = net.map_stages[own[-1] + 1]
        reconstructed = deconvnet.reconstructions(
            net, params, activations, over.name, activations[over.name], image_size
        )
        from_above = reconstructed[f"layer{over.number}"]
    for stage in reversed(after):
        from_above = down(stage, from_above) if stage.projects else from_above
    relus = [stage for stage in between if isinstance(stage, Relu)]
    unpooled = rectified = down(pool, from_above)
    for stage in reversed(between):
        rectified = down(stage, rectified) if stage.projects else rectified
    return {
        "filtered": filtered,
        "rectified": activations[relus[-1].name if relus else filters.name],
        "before_pool": before(pool),
        "pooled": activations[pool.name],
        "switches": activations[pool.switches],
        "from_above": from_above,
        "unpooled": unpooled,
        "unpooled_rectified": rectified,
        "below": below,
        "back": down(filters, rectified),
    }


def _between(stages: Sequence[Stage], pool: MaxPool) -> Sequence[Stage]:
    """Those after the filters and before the pool."""
    return stages[1 : stages.index(pool)]


def _strongest(maps: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the maps of [1, H, W, C] with the strongest activations, see `deconv_layer`."""
    return np.argsort(-maps[0].max(axis=(0, 1)), kind="stable")[:count]


def _maps_first(maps: np.ndarray) -> np.ndarray:
    """[1, H, W, C] to [C, H, W]."""
    return np.moveaxis(maps[0], 2, 0)


def _in_the_map(switches: np.ndarray, windows: tuple[Window, Window]) -> np.ndarray:
    """Switches [1, h, w, C] as positions in the map that was pooled: [C, h, w, 2] int32."""
    positions = []
    for axis, inside in enumerate(divmod(switches, windows[1].size)):
        window = windows[axis]
        first = np.arange(switches.shape[axis + 1]) * window.stride - window.before
        first = first[:, None, None] if axis == 0 else first[None, :, None]
        positions.append(_maps_first(first + inside.astype(np.int32)))
    return np.stack(positions, axis=-1).astype(np.int32)
