"""One layer of the convnet and the deconvnet layer attached to it, on a photo (paper, Fig. 1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import deconvnet, geometry, units
from zfnet_jax.architecture import Architecture
from zfnet_jax.convolution import filter_maps
from zfnet_jax.data import augment
from zfnet_jax.model import Activations
from zfnet_jax.pooling import max_unpool, switch_positions
from zfnet_jax.runs.run import Run

Arrays = dict[str, np.ndarray]


def deconv_layer(run: Run, photo: np.ndarray, layer: str, count: int) -> Arrays:
    """Every stage of a layer with a pool, up and down, for its maps most active in a photo.

    On the way up: filter, rectify, pool. On the way down: what the layer above reconstructs from
    all of its maps (in the last layer: the pooled maps themselves) is unpooled with the switches,
    rectified, and filtered with the transposed filters.

    Args:
      run: the net.
      photo: [S, S, C] uint8.
      layer: 'conv1', 'conv2', ...: one that has a pool.
      count: maps to keep.

    Returns:
      'layer' and 'above', names of the layer and of the one above ('' for none); 'map' [N], the
      maps kept, strongest first; per map, of the way up, 'filtered' [N, H, W] before and
      'rectified' [N, H, W] after the relu, 'before_pool' [N, H, W] what is pooled (the rectified
      maps, in nets that normalise first the normalised ones), 'pooled' [N, h, w], 'switches'
      [N, h, w, 2] int32, (row, column) of each maximum in the H x W map, and 'pool' (window,
      stride, rows of padding above, columns of padding at the left); of the way down, 'from_above'
      [N, h, w], 'unpooled' [N, H, W] and 'unpooled_rectified' [N, H, W].
      'filters' [N, k, k, c] are the maps' filters. At the bottom, 'input' is what the layer filters
      and 'reconstruction' what all its maps together give back of it: for the first layer
      [H0, W0, C], the photo's crop (uint8) and pixels; for others [n, H0, W0], the n = count
      strongest input maps 'input_map' [n].

    Raises:
      ValueError: the layer has no pool, or there is no such layer.
    """
    net = run.architecture
    depth, _ = net.depth_of(layer)
    conv = net.convs[depth]
    if layer != conv.name or conv.pool is None:
        pooled = [c.name for c in net.convs if c.pool]
        raise ValueError(f"Fig. 1 needs a layer with a pool ({', '.join(pooled)}), not {layer!r}")
    inputs = run.inputs(photo[None])
    _, activations = run.forward(inputs)
    kernel, bias = run.params[layer]["kernel"], run.params[layer]["bias"]
    below = _output_of(net, depth - 1, activations) if depth else inputs
    filtered = filter_maps(below, kernel, conv, "highest") + bias
    before_pool = activations[f"norm{conv.number}" if _norm_first(net, depth) else layer]
    pooled, switches = activations[f"pool{conv.number}"], activations[f"switches{conv.number}"]

    above, from_above = "", pooled
    if depth + 1 < len(net.convs):
        above = net.convs[depth + 1].name
        stages = deconvnet.reconstructions(
            net, run.params, activations, above, activations[above], run.input_size
        )
        from_above = stages[f"layer{net.convs[depth + 1].number}"]
    size = before_pool.shape[1:3]
    pads = geometry.both_axes(geometry.pool_padding(side, conv.pool) for side in size)
    window, stride = conv.pool.window, conv.pool.stride
    unpooled = max_unpool(from_above, switches, size, window, stride, pads)
    rectified = jax.nn.relu(unpooled)
    back = deconvnet.filter_transposed(
        rectified, kernel, conv, geometry.both_axes(below.shape[1:3])
    )

    numbers = np.asarray(units.strongest_maps(activations[layer], count)[0][0])
    result = {
        "layer": np.array(layer),
        "above": np.array(above),
        "map": numbers,
        "filters": np.moveaxis(np.asarray(kernel), 3, 0)[numbers],
        "switches": _in_the_map(switches, window, stride, (pads[0][0], pads[1][0]))[numbers],
        "pool": np.array([window, stride, pads[0][0], pads[1][0]]),
    }
    for name, maps in {
        "filtered": filtered,
        "rectified": activations[layer],
        "before_pool": before_pool,
        "pooled": pooled,
        "from_above": from_above,
        "unpooled": unpooled,
        "unpooled_rectified": rectified,
    }.items():
        result[name] = _maps_first(maps)[numbers]
    if depth == 0:
        height, width = run.input_size
        crop = augment.centre(photo, (height, width))
        return result | {"input": crop, "reconstruction": np.asarray(back[0])}
    chosen = np.asarray(units.strongest_maps(below, count)[0][0])
    return result | {
        "input_map": chosen,
        "input": _maps_first(below)[chosen],
        "reconstruction": _maps_first(back)[chosen],
    }


def _norm_first(net: Architecture, depth: int) -> bool:
    return bool(net.convs[depth].contrast_norm) and net.norm_before_pool


def _output_of(net: Architecture, depth: int, activations: Activations) -> jax.Array:
    """What a conv layer hands to the next one."""
    conv = net.convs[depth]
    if conv.contrast_norm and not net.norm_before_pool:
        return activations[f"norm{conv.number}"]
    return activations[f"pool{conv.number}" if conv.pool else conv.name]


def _maps_first(maps: jax.Array) -> np.ndarray:
    """[1, H, W, C] to [C, H, W]."""
    return np.moveaxis(np.asarray(maps[0]), 2, 0)


def _in_the_map(switches: jax.Array, window: int, stride: int, pad: tuple[int, int]) -> np.ndarray:
    """Switches [1, h, w, C] as positions in the map that was pooled: [C, h, w, 2] int32."""
    positions = []
    for axis, inside in enumerate(switch_positions(switches, window)):
        first = jnp.arange(switches.shape[axis + 1]) * stride - pad[axis]
        first = first[:, None, None] if axis == 0 else first[None, :, None]
        positions.append(_maps_first(first + inside.astype(jnp.int32)))
    return np.stack(positions, axis=-1).astype(np.int32)
