"""What the layers see in one photo: each layer's strongest maps, projected to pixels alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import deconvnet, geometry, units
from zfnet_jax.cropped import Units, project_layers
from zfnet_jax.data import augment
from zfnet_jax.model import Activations
from zfnet_jax.report.tiles import window_of
from zfnet_jax.rules import Overlap, Rectify
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import fields

Arrays = dict[str, np.ndarray]


def strongest_maps(run: Run, photo: np.ndarray, count: int, layers: Sequence[str] = ()) -> Arrays:
    """For every conv layer, the maps with the strongest activations in a photo (Section 2.1).

    Of each such map the strongest unit alone is projected, from its own activation; in a layer
    where that goes beyond float32, as in a deep net whose filters add up more than they keep, from
    1, which changes a projection by a factor and no more.

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
    # NumPy, which compiles nothing, looks for them: each layer's maps have a shape of their own.
    found = {name: _strongest_units(np.asarray(activations[name])[0], count) for name in layers}
    result: Arrays = {
        "photo": augment.centre(photo, run.input_size),
        "probabilities": np.asarray(jax.nn.softmax(logits[0])),
        "class_names": np.array(run.class_names),
        "layers": np.array(layers),
    }
    projected = _project(run, activations, found)
    loud = [layer for layer in found if not np.isfinite(projected[layer]).all()]
    from_one = {one: found[one]._replace(value=np.sign(found[one].value)) for one in loud}
    projected |= _project(run, activations, from_one)
    for layer, chosen in found.items():
        positions = np.stack([chosen.row, chosen.column], axis=1)
        result |= {
            f"{layer}/map": chosen.index,
            f"{layer}/activation": chosen.value,
            f"{layer}/position": positions,
            f"{layer}/window": fields.seen_by(run.architecture, layer, positions),
            f"{layer}/projection": projected[layer],
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
    start = units.unit_at(maps, number, row, column)
    project = functools.partial(
        deconvnet.project,
        run.architecture,
        run.params,
        activations,
        layer,
        image_size=run.input_size,
        rectify=rectify,
        overlap=overlap,
    )
    projected = np.asarray(project(start))
    if not np.isfinite(projected).all():
        projected = np.asarray(project(jnp.sign(start)))
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
        f"{layer}/projection": projected,
    }


def _strongest_units(maps: np.ndarray, count: int) -> Units[np.ndarray]:
    """The strongest unit of each of the `count` maps of [H, W, C] that have the strongest ones,
    strongest first; ties: the first."""
    flat = maps.reshape(-1, maps.shape[2])
    places = flat.argmax(axis=0)
    peaks = flat[places, np.arange(len(places))]
    index = np.argsort(-peaks, kind="stable")[:count].astype(np.int32)
    row, column = np.divmod(places[index].astype(np.int32), np.int32(maps.shape[1]))
    return Units(np.zeros_like(index), index, row, column, peaks[index].astype(np.float32))


def _project(
    run: Run, activations: Activations, found: dict[str, Units[np.ndarray]]
) -> dict[str, np.ndarray]:
    """Each unit alone: by layer [K, H, W, C]. Layers of one scale share a program: compiling takes
    most of the time for a deep net."""
    result = {}
    for group in geometry.of_one_scale(run.architecture, found, run.input_size):
        chosen = {layer: found[layer] for layer in group}
        windows = project_layers(run.architecture, run.params, activations, chosen, run.input_size)
        for layer in group:
            pixels = np.asarray(windows[layer])
            positions = np.stack([found[layer].row, found[layer].column], axis=1)
            corners = fields.seen_by(run.architecture, layer, positions)[:, :2]
            photo = np.concatenate([-corners, run.input_size - corners], axis=1)
            result[layer] = np.stack([window_of(*one, 0) for one in zip(pixels, photo)])
    return result
