"""What the layers see in one photo: each layer's strongest maps, projected to pixels alone."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import deconvnet, units
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
        maps = activations[layer]
        numbers, values = units.strongest_maps(maps, count)
        rows, columns = jax.vmap(lambda n, m=maps: units.strongest_position(m, n))(numbers[0])
        positions = np.stack([rows[:, 0], columns[:, 0]], axis=1)
        result |= {
            f"{layer}/map": np.asarray(numbers[0]),
            f"{layer}/activation": np.asarray(values[0]),
            f"{layer}/position": positions,
            f"{layer}/window": fields.seen_by(run.architecture, layer, positions),
            f"{layer}/projection": np.asarray(_project_each(run, activations, layer, numbers[0])),
        }
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


def _project_each(run: Run, activations: Activations, layer: str, numbers: jax.Array) -> jax.Array:
    """The strongest unit of each map of the one image: [K, H, W, C]."""

    def one(number: jax.Array) -> jax.Array:
        seed = units.strongest_unit(activations[layer], number)
        return deconvnet.project(
            run.architecture, run.params, activations, layer, seed, run.input_size
        )[0]

    return jax.vmap(one)(jnp.asarray(numbers))
