"""What the layers see in one photo: each layer's strongest maps, projected to pixels alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import deconvnet, units
from zfnet_jax.architecture import Architecture
from zfnet_jax.data import augment
from zfnet_jax.model import Activations
from zfnet_jax.rules import Overlap, Rectify
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import fields

Arrays = dict[str, np.ndarray]


def strongest_maps(run: Run, photo: np.ndarray, count: int, layers: Sequence[str] = ()) -> Arrays:
    """For every conv layer, the maps with the strongest activations in a photo (Section 2.1).

    Of each such map the strongest unit alone is projected, from its own activation.

    Args:
      run: the net.
      photo: [S, S, C] uint8.
      count: maps per layer.
      layers: names of conv layers, see `Run.layer`; all if none is given.

    Returns:
      'photo' [H, W, C] uint8, the crop that the net saw; 'probabilities' [classes] and
      'class_names', empty without a classifier; 'layers', names of the layers; and per layer, with
      K = count or the number of maps if that is smaller:
      '{layer}/map' [K], '{layer}/activation' [K], '{layer}/position' [K, 2] (row, column),
      '{layer}/window' [K, 4], the receptive field (top, left, bottom, right) in pixels of the
      crop, which may leave it, and '{layer}/projection' [K, H, W, C] float32.

    Raises:
      ValueError: there is no such conv layer.
    """
    convs = [conv.name for conv in run.architecture.convs]
    named = [run.layer(name, convs) for name in layers]
    layers = [name for name in convs if name in named] if named else convs
    inputs = run.inputs(photo[None])
    logits, activations = run.forward(inputs)
    result: Arrays = {
        "photo": augment.centre(photo, run.input_size),
        "probabilities": np.asarray(jax.nn.softmax(logits[0])),
        "class_names": np.array(run.class_names),
        "layers": np.array(layers),
    }
    for layer in layers:
        found: Arrays = jax.device_get(
            _strongest(run.architecture, run.params, activations, layer, count, run.input_size)
        )
        found["window"] = fields.seen_by(run.architecture, layer, found["position"])
        result |= {f"{layer}/{name}": array for name, array in found.items()}
    return result


def one_unit(
    run: Run,
    photo: np.ndarray,
    layer: str,
    number: int,
    place: tuple[int, int] | None,
    rectify: Rectify,
    overlap: Overlap,
) -> Arrays:
    """A unit of a layer of maps alone, by any rule of the way down; the rest as `strongest_maps`.

    Args:
      layer: a conv or pool layer, see `Run.layer`.
      number: of the map.
      place: row and column of the unit; the strongest of the map if None.

    Raises:
      ValueError: there is no such layer, map or unit.
    """
    layer = run.layer(layer, run.architecture.map_layers)
    logits, activations = run.forward(run.inputs(photo[None]))
    maps = activations[layer]
    _, height, width, count = maps.shape
    if not 0 <= number < count:
        raise ValueError(f"{layer} has maps 0 to {count - 1}, not {number}")
    if place is None:
        row, column = (int(axis[0]) for axis in units.strongest_position(maps, number))
    else:
        row, column = place
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"{layer} has units 0 to {height - 1} by 0 to {width - 1}, not {row}, {column}"
        )
    projected = deconvnet.project(
        run.architecture,
        run.params,
        activations,
        layer,
        units.unit_at(maps, number, row, column),
        run.input_size,
        rectify=rectify,
        overlap=overlap,
    )
    positions = np.array([[row, column]])
    return {
        "photo": augment.centre(photo, run.input_size),
        "probabilities": np.asarray(jax.nn.softmax(logits[0])),
        "class_names": np.array(run.class_names),
        "layers": np.array([layer]),
        f"{layer}/map": np.array([number]),
        f"{layer}/activation": np.asarray(maps[0, row, column, number])[None],
        f"{layer}/position": positions,
        f"{layer}/window": fields.seen_by(run.architecture, layer, positions),
        f"{layer}/projection": np.asarray(projected),
    }


@functools.partial(jax.jit, static_argnames=("net", "layer", "count", "image_size"))
def _strongest(
    net: Architecture,
    params: dict[str, Any],
    activations: Activations,
    layer: str,
    count: int,
    image_size: tuple[int, int],
) -> dict[str, jax.Array]:
    """'map', 'activation', 'position' and 'projection' of a layer, as in `strongest_maps`."""
    maps = activations[layer]
    numbers, values = units.strongest_maps(maps, count)

    def one(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        row, column = units.strongest_position(maps, number)
        seed = units.unit_at(maps, number, row, column)
        projected = deconvnet.project(net, params, activations, layer, seed, image_size)
        return jnp.stack([row[0], column[0]]), projected[0]

    positions, projections = jax.vmap(one)(numbers[0])
    return {
        "map": numbers[0],
        "activation": values[0],
        "position": positions,
        "projection": projections,
    }
