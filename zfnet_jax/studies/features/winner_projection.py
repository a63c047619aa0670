"""From the images that mining found to pictures: where in them the winners are, and what they see.

Each winner is projected alone, from its own activation, and only in the window that it sees
(paper, Sections 2.1 and 4). The images of winners are forwarded once more for their switches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from zfnet_jax import geometry, model, parallel, tasks
from zfnet_jax.cropped import Units, project_units
from zfnet_jax.data import augment
from zfnet_jax.data.images import Split
from zfnet_jax.report.tiles import moved_inside, part_inside
from zfnet_jax.rules import Overlap, Rectify
from zfnet_jax.runs.run import Run
from zfnet_jax.stages.stage import Down
from zfnet_jax.studies import fields
from zfnet_jax.studies.features.winners import NO_PATCH, WinnersWriter
from zfnet_jax.studies.memory import images_at_once

Arrays = dict[str, np.ndarray]
Found = TypeVar("Found")


class _Portions(NamedTuple):
    """How much is under way at a time; of each size a program is compiled."""

    images: int  # forwarded, unless their activations need too much memory
    units: int  # projected


_ON_CPU, _ON_ACCELERATOR = _Portions(images=32, units=16), _Portions(images=128, units=64)


def locate(
    run: Run, split: Split, mined: Arrays, *, k: int, one_per_image: bool, progress: bool
) -> Arrays:
    """The k winners of every map and where in their images they are.

    Equal activations: the first image, and in it the first position in row-major order. On a CPU
    each image is forwarded alone, elsewhere always as many together, so that an activation does not
    depend on what else is in a batch.

    Args:
      mined: '{layer}/image' [M, K], from `mining.mine`, K at least k.
      one_per_image: as in the paper. False lets every position compete: the k strongest units of a
        map lie in the k images that activate it most.

    Returns:
      per layer '{layer}/value' [M, k] float32, strongest first, '/image' and '/label' [M, k] int32,
      row in the data set and class, '/position' [M, k, 2] int32, (row, column) in the map, and
      '/window' [M, k, 4] int32, the receptive field (top, left, bottom, right) in pixels of the
      centre crop, which it may leave. Where fewer than k activate a map value and position are 0,
      image and label -1.
    """
    layers = [conv.name for conv in run.architecture.convs]
    images = {layer: mined[f"{layer}/image"] for layer in layers}
    count = 1 if one_per_image else k
    values = {n: np.zeros((*images[n].shape, count), np.float32) for n in layers}
    places = {n: np.zeros((*images[n].shape, count), np.int32) for n in layers}
    columns = geometry.layer_sizes(run.architecture, run.input_size[1], axis=1)

    def strongest(block: _Block) -> list[_Located]:
        found = []
        for layer in layers:
            maps = block.activations[layer]
            kept = min(count, maps.shape[1] * maps.shape[2])
            for number, slot, row in block.winners(images[layer]):
                units = _strongest_units(maps, _filled(row), _filled(number), kept)
                value, place = (np.asarray(array)[: len(row)] for array in units)
                found.append(_Located(layer, number, slot, value, place))
        return found

    for located in _of_blocks(strongest, run, split, images, layers, "finding positions", progress):
        for layer, number, slot, value, place in located:
            values[layer][number, slot, : value.shape[1]] = value
            places[layer][number, slot, : place.shape[1]] = place
    result: Arrays = {}
    for layer in layers:
        value, image, place = _strongest(values[layer], images[layer], places[layer], k)
        position = np.stack(np.divmod(place, columns[layer]), axis=-1)
        label = np.where(image < 0, -1, np.asarray(split.labels)[image])
        result |= {
            f"{layer}/value": value,
            f"{layer}/image": image,
            f"{layer}/label": label.astype(np.int32),
            f"{layer}/position": position.astype(np.int32),
            f"{layer}/window": fields.seen_by(run.architecture, layer, position),
        }
    return result


def project_winners(
    run: Run,
    split: Split,
    winners: Arrays,
    writer: WinnersWriter | None,
    *,
    unit_value: float | None,
    rectify: Rectify,
    overlap: Overlap,
    progress: bool,
) -> None:
    """Projects every winner alone and cuts its patch from its photo.

    Args:
      winners: from `locate`.
      writer: takes the pictures (see `winners` for the arrays); None in processes that only help.
      unit_value: what projections start from; None for the recorded activation.
      rectify, overlap: see `deconvnet`.

    Raises:
      FloatingPointError: a projection goes beyond float32.
    """
    images = {conv.name: winners[f"{conv.name}/image"] for conv in run.architecture.convs}
    used = _used(images)
    if writer:
        _add_arrays(writer, run, images, used)
    stages, rules = run.architecture.map_stages, Down(rectify, overlap)
    params = parallel.replicate({s.weights: run.params[s.weights] for s in stages if s.weights})
    needed = {*images, *(name for stage in stages for name in stage.reads(rules))}

    def pictures(block: _Block) -> tuple[_Block, list[_Pictures]]:
        found = []
        for layer in images:
            value, position, window = (
                winners[f"{layer}/{name}"] for name in ("value", "position", "window")
            )
            for number, slot, row in block.winners(images[layer]):
                at = (number, slot)
                strength = value[at] if unit_value is None else np.full(len(row), unit_value)
                units = Units(
                    row, number, position[at][:, 0], position[at][:, 1], strength.astype(np.float32)
                )
                pixels = project_units(
                    run.architecture,
                    parallel.here(params),
                    block.activations,
                    layer,
                    Units(*(_filled(array) for array in units)),
                    run.input_size,
                    rectify=rectify,
                    overlap=overlap,
                )
                pixels = np.asarray(pixels)[: len(row)]
                scale = np.abs(pixels).max(axis=(1, 2, 3))
                _check_finite(scale, layer, number, block.rows[row], strength, unit_value)
                scale = np.where(scale > 0, scale, 1)
                scaled = (pixels / scale[:, None, None, None]).astype(np.float16)
                shape, windows = block.photos.shape[1:], window[at]
                inside = [part_inside(*one, shape) for one in zip(scaled, windows)]
                patches = []
                for photo, one in zip(block.photos[row], windows):
                    top, left, bottom, right = moved_inside(one, shape)
                    patches.append(photo[top:bottom, left:right])
                found.append(
                    _Pictures(layer, number, slot, np.stack(inside), scale, np.stack(patches))
                )
        return block._replace(activations={}), found

    for block, found in _of_blocks(
        pictures, run, split, images, sorted(needed), "projecting", progress
    ):
        if writer:
            start = np.searchsorted(used, block.rows[0])
            writer.arrays["patches"]["photos"][start : start + len(block.rows)] = block.photos
            for layer, number, slot, projection, scale, patch in found:
                writer.arrays["projections"][f"{layer}/projection"][number, slot] = projection
                writer.arrays["projections"][f"{layer}/scale"][number, slot] = scale
                writer.arrays["patches"][f"{layer}/patch"][number, slot] = patch


def _check_finite(
    scale: np.ndarray,
    layer: str,
    number: np.ndarray,
    image: np.ndarray,
    strength: np.ndarray,
    unit_value: float | None,
) -> None:
    """FloatingPointError if a projection, of the largest value `scale` [n], goes beyond float32, as
    in a deep net whose filters add up more than they keep: each layer down makes it larger."""
    finite = np.isfinite(scale)
    if finite.all():
        return
    first = int(np.argmin(finite))
    raise FloatingPointError(
        f"{layer}: the projection of map {number[first]} in image {image[first]}, which starts from"
        f" {strength[first]:.3g}, goes beyond float32"
        + (": scripts.mine --unit_value=1 starts all from 1" if unit_value is None else "")
    )


def _add_arrays(
    writer: WinnersWriter, run: Run, images: dict[str, np.ndarray], used: np.ndarray
) -> None:
    channels = run.mean.shape[2]
    writer.add("patches", "photos", (len(used), *run.input_size, channels), np.uint8, 0)
    writer.add("patches", "photo_rows", used.shape, np.int32, 0)
    writer.arrays["patches"]["photo_rows"][...] = used
    for layer, image in images.items():
        sides = geometry.receptive_fields(run.architecture, layer)
        seen = (min(side.size, n) for side, n in zip(sides, run.input_size, strict=True))
        shape = (*image.shape, *seen, channels)
        writer.add("projections", f"{layer}/projection", shape, np.float16, 0)
        writer.add("projections", f"{layer}/scale", image.shape, np.float32, 1)
        writer.add("patches", f"{layer}/patch", shape, np.uint8, NO_PATCH)


class _Located(NamedTuple):
    """Of n winners, `number` [n] and `slot` [n] of M and K, the strongest units, [n, count]."""

    layer: str
    number: np.ndarray
    slot: np.ndarray
    value: np.ndarray
    place: np.ndarray


class _Pictures(NamedTuple):
    """Of n winners, `number` [n] and `slot` [n] of M and K, what is saved."""

    layer: str
    number: np.ndarray
    slot: np.ndarray
    projection: np.ndarray
    scale: np.ndarray
    patch: np.ndarray


class _Block(NamedTuple):
    """Some images of winners, forwarded.

    Attributes:
      rows: [b], ascending.
      photos: [b, H, W, C] uint8, what the net saw.
      activations: [B, ...] each, b of them these images'.
    """

    rows: np.ndarray
    photos: np.ndarray
    activations: dict[str, jax.Array]

    def winners(self, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The winners among [M, K] images that lie in this block, a portion at a time: their
        maps, their places among the K, and rows of the activations."""
        number, slot = np.nonzero(np.isin(images, self.rows))
        row = np.searchsorted(self.rows, images[number, slot])
        units = _portions().units
        for begin in range(0, len(row), units):
            some = slice(begin, begin + units)
            yield number[some], slot[some], row[some]


def _of_blocks(
    do: Callable[[_Block], Found],
    run: Run,
    split: Split,
    images: dict[str, np.ndarray],
    needed: Sequence[str],
    title: str,
    progress: bool,
) -> Iterator[Found]:
    """What is found in the images that have a winner, some together and each once.

    Args:
      do: what is to be found, on the device that has the images' activations.
      images: of winners, by layer.
      needed: names of activations.
    """
    rows, count = _used(images), images_at_once(run, _portions().images)
    params = parallel.replicate(run.params)

    def on_a_device(some: np.ndarray) -> Found:
        photos = split.rows(some)
        filled = np.concatenate([photos, np.repeat(photos[:1], count - len(some), axis=0)])
        shown = run.inputs(filled)
        activations = _activations(run.net, parallel.here(params), shown, tuple(needed))
        return do(_Block(some, augment.centre(photos, run.input_size), activations))

    blocks = [rows[begin : begin + count] for begin in range(0, len(rows), count)]
    with tqdm(total=len(rows), desc=title, unit=" images", disable=not progress) as bar:
        for some, found in zip(blocks, tasks.dealt(blocks, on_a_device)):
            yield found
            bar.update(len(some))


def _used(images: dict[str, np.ndarray]) -> np.ndarray:
    rows = np.unique(np.concatenate([image.ravel() for image in images.values()]))
    return rows[rows >= 0]


@functools.partial(jax.jit, static_argnames=("net", "needed"))
def _activations(net: Any, params: Any, inputs: jax.Array, needed: tuple[str, ...]) -> Any:
    def together(params: Any, inputs: jax.Array) -> dict[str, jax.Array]:
        _, activations = model.forward(net, params, inputs)
        return {name: activations[name] for name in needed}

    def one_by_one(params: Any, inputs: jax.Array) -> dict[str, jax.Array]:
        found = jax.lax.map(lambda image: together(params, image[None]), inputs)
        return {name: array[:, 0] for name, array in found.items()}

    return jax.lax.platform_dependent(params, inputs, cpu=one_by_one, default=together)


def _filled(array: np.ndarray) -> np.ndarray:
    """A portion of entries, the first repeated: one size, so that nothing is compiled again."""
    return np.concatenate([array, np.repeat(array[:1], _portions().units - len(array), axis=0)])


def _portions() -> _Portions:
    return _ON_CPU if jax.default_backend() == "cpu" else _ON_ACCELERATOR


@functools.partial(jax.jit, static_argnames="count")
def _strongest_units(
    maps: jax.Array, row: jax.Array, number: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
    """Values and row-major places [N, count] of the strongest units of one map each of N images."""
    chosen = maps[row, :, :, number]
    return jax.lax.top_k(chosen.reshape(len(row), -1).astype(jnp.float32), count)


def _strongest(
    values: np.ndarray, images: np.ndarray, places: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k strongest units per map of [M, K, n] found in [M, K] images."""
    image = np.broadcast_to(images[..., None], values.shape).reshape(len(values), -1)
    value, place = values.reshape(len(values), -1), places.reshape(len(values), -1)
    order = np.lexsort((place, image, -value), axis=-1)[:, :k]
    value, image, place = (np.take_along_axis(a, order, axis=1) for a in (value, image, place))
    active = value > 0
    return np.where(active, value, 0), np.where(active, image, -1), np.where(active, place, 0)
