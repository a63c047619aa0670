"""One layer of the convnet and the deconvnet layer attached to it, on a photo (paper, Fig. 1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import deconvnet, geometry, units
from zfnet_jax.data import augment
from zfnet_jax.pooling import switch_positions
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
    between, after = stages[1 : stages.index(pool)], stages[stages.index(pool) + 1 :]
    inputs = run.inputs(photo[None])
    _, activations = run.forward(inputs)

    def before(stage: Stage) -> jax.Array:
        index = net.map_stages.index(stage)
        return activations[net.map_stages[index - 1].name] if index else inputs

    def down(stage: Stage, x: jax.Array) -> jax.Array:
        size = geometry.both_axes(before(stage).shape[1:3])
        return deconvnet.down(stage, x, activations, run.params, size, Down())

    weights = filters.own(run.params)
    below, before_pool = before(filters), before(pool)
    filtered, _ = filters.forward(below, weights, Up(jnp.float32, "highest"))
    pooled, switches = activations[pool.name], activations[pool.switches]
    above, from_above = "", activations[[s.name for s in stages if s.projects][-1]]
    if net.map_stages[-1].number > number:
        over = net.map_stages[own[-1] + 1]
        above = over.name
        reconstructed = deconvnet.reconstructions(
            net, run.params, activations, above, activations[above], run.input_size
        )
        from_above = reconstructed[f"layer{over.number}"]
    for stage in reversed(after):
        from_above = down(stage, from_above) if stage.projects else from_above
    relus = [stage for stage in between if isinstance(stage, Relu)]
    unpooled = rectified = down(pool, from_above)
    for stage in reversed(between):
        rectified = down(stage, rectified) if stage.projects else rectified
    back = down(filters, rectified)
    rows, columns = pool.windows
    differ = (columns.size, columns.stride) if rows[:2] != columns[:2] else ()

    numbers = np.asarray(units.strongest_maps(activations[layer], count)[0][0])
    result = {
        "layer": np.array(layer),
        "above": np.array(above),
        "map": numbers,
        "filters": np.moveaxis(np.asarray(weights["kernel"]), 3, 0)[numbers],
        "switches": _in_the_map(switches, pool.windows)[numbers],
        "pool": np.array([rows.size, rows.stride, rows.before, columns.before, *differ]),
        "rectifies": np.array(bool(relus)),
    }
    for name, maps in {
        "filtered": filtered,
        "rectified": activations[relus[-1].name if relus else layer],
        "before_pool": before_pool,
        "pooled": pooled,
        "from_above": from_above,
        "unpooled": unpooled,
        "unpooled_rectified": rectified,
    }.items():
        result[name] = _maps_first(maps)[numbers]
    if not own[0]:
        height, width = run.input_size
        crop = augment.centre(photo, (height, width))
        return result | {"input": crop, "reconstruction": np.asarray(back[0])}
    chosen = np.asarray(units.strongest_maps(below, count)[0][0])
    return result | {
        "input_map": chosen,
        "input": _maps_first(below)[chosen],
        "reconstruction": _maps_first(back)[chosen],
    }


def _maps_first(maps: jax.Array) -> np.ndarray:
    """[1, H, W, C] to [C, H, W]."""
    return np.moveaxis(np.asarray(maps[0]), 2, 0)


def _in_the_map(switches: jax.Array, windows: tuple[Window, Window]) -> np.ndarray:
    """Switches [1, h, w, C] as positions in the map that was pooled: [C, h, w, 2] int32."""
    positions = []
    sides = (windows[0].size, windows[1].size)
    for axis, inside in enumerate(switch_positions(switches, sides)):
        window = windows[axis]
        first = jnp.arange(switches.shape[axis + 1]) * window.stride - window.before
        first = first[:, None, None] if axis == 0 else first[None, :, None]
        positions.append(_maps_first(first + inside.astype(jnp.int32)))
    return np.stack(positions, axis=-1).astype(np.int32)
