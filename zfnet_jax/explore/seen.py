"""What a net makes of one photo: the numbers behind all that is shown. Pure but for the cache of
rankings: a run and a photo in, arrays out, by the functions that the scripts call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import geometry, units
from zfnet_jax.cropped import Units, project_units
from zfnet_jax.data import augment
from zfnet_jax.explore.errors import RequestError
from zfnet_jax.model import Activations
from zfnet_jax.report.tiles import window_of
from zfnet_jax.rules import Overlap, Rectify
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import fields
from zfnet_jax.studies.occlusion.measure import GREY, Arrays, filled, slide
from zfnet_jax.studies.occlusion.plan import Grid

BATCH = 32  # squares of an occlusion map at a time, as scripts.occlusion


class Ranked(NamedTuple):
    """The maps of a layer by their strongest activations in a photo, each [M]."""

    map: np.ndarray
    value: np.ndarray
    row: np.ndarray
    column: np.ndarray


class Unit(NamedTuple):
    """One unit of a layer: its place, and its activation."""

    layer: str
    map: int
    row: int
    column: int
    value: float


@dataclasses.dataclass(frozen=True)
class Seen:
    """A photo, [S, S, C] uint8, and what a run's net computes of it.

    Attributes:
      probabilities: [classes]; none without a classifier.
      activations: see `model.ZFNet`, of the one photo.
      rankings: those that were asked for, by layer.
    """

    run: Run
    photo: np.ndarray
    probabilities: np.ndarray
    activations: Activations
    rankings: dict[str, Ranked] = dataclasses.field(default_factory=dict)

    @property
    def crop(self) -> np.ndarray:
        """What the net sees, [H, W, C] uint8."""
        return augment.centre(self.photo, self.run.input_size)

    @property
    def nbytes(self) -> int:
        leaves = jax.tree.leaves(self.activations)
        return self.photo.nbytes + sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

    def ranked(self, layer: str) -> Ranked:
        """All maps of a layer, strongest first."""
        if layer not in self.rankings:
            ranked = _rank(self.activations[layer])
            self.rankings[layer] = Ranked(*(np.asarray(array) for array in ranked))
        return self.rankings[layer]

    def strongest(self, layer: str, number: int) -> Unit:
        """The strongest unit of a map."""
        ranked = self.ranked(layer)
        (place,) = np.flatnonzero(ranked.map == number)
        return self.unit(layer, number, int(ranked.row[place]), int(ranked.column[place]))

    def unit(self, layer: str, number: int, row: int, column: int) -> Unit:
        """The unit of a map at a place. RequestError: there is none."""
        _, height, width, maps = self.activations[layer].shape
        if not 0 <= number < maps:
            raise RequestError(f"{layer} has maps 0 to {maps - 1}, not {number}")
        if not (0 <= row < height and 0 <= column < width):
            raise RequestError(
                f"{layer} has units 0 to {height - 1} by 0 to {width - 1}, not {row}, {column}"
            )
        value = np.asarray(self.activations[layer])[0, row, column, number]
        return Unit(layer, number, row, column, float(value))

    def nearest(self, layer: str, y: int, x: int) -> tuple[int, int]:
        """The units, row and column, whose receptive fields are centred nearest to a pixel."""
        shape = self.activations[layer].shape[1:3]
        place = []
        for field, count, pixel in zip(
            geometry.receptive_fields(self.run.architecture, layer), shape, (y, x), strict=True
        ):
            centre = field.start + (field.size - 1) / 2
            place.append(min(max(round((pixel - centre) / field.jump), 0), count - 1))
        return place[0], place[1]

    def column(self, layer: str, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
        """The units of all maps at one place, strongest first: numbers [M] and activations [M]."""
        values = np.asarray(self.activations[layer])[0, row, column]
        order = np.argsort(-values, kind="stable")
        return order, values[order]


def see(run: Run, photo: np.ndarray) -> Seen:
    """Forwards a photo [S, S, C] uint8. RequestError: what the net answers is not finite."""
    logits, activations = run.forward(run.inputs(photo[None]))
    probabilities = np.asarray(jax.nn.softmax(logits[0]))
    last = run.architecture.map_layers[-1]
    if not (np.isfinite(probabilities).all() and np.isfinite(activations[last]).all()):
        raise RequestError(f"step {run.step}'s answer is not finite: the net's weights are damaged")
    return Seen(run, photo, probabilities, activations)


def field_of(run: Run, unit: Unit) -> np.ndarray:
    """What a unit sees, (top, left, bottom, right), which may leave the crop."""
    return fields.seen_by(run.architecture, unit.layer, np.array([unit.row, unit.column]))


def project(seen: Seen, unit: Unit, rectify: Rectify, overlap: Overlap) -> np.ndarray:
    """A unit projected alone to its receptive field, [s, t, C] float32 (Section 2.1)."""
    run = seen.run
    index = {name: np.array([getattr(unit, name)], np.int32) for name in ("row", "column")}
    chosen = Units(
        image=np.zeros(1, np.int32),
        index=np.array([unit.map], np.int32),
        value=np.array([unit.value], np.float32),
        **index,
    )
    projected = project_units(
        run.architecture,
        run.params,
        seen.activations,
        unit.layer,
        jax.tree.map(jnp.asarray, chosen),
        run.input_size,
        rectify=rectify,
        overlap=overlap,
    )
    return np.asarray(projected[0])


def on_crop(projection: np.ndarray, field: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A projection [s, t, C] in its place of the whole crop, [H, W, C]: as `deconvnet.project`."""
    top, left = int(field[0]), int(field[1])
    return window_of(projection, np.array([-top, -left, size[0] - top, size[1] - left]), 0)


def covered(run: Run, photo: np.ndarray, y: int, x: int, square: int) -> Seen:
    """What the net makes of a photo with a grey square over it, as scripts.occlusion has it.

    The whole net is computed anew: that takes as long as forwarding a photo, and no further
    program.

    Args:
      y, x: the square's first pixel in the crop.
    """
    height, width = run.input_size
    top, left = (photo.shape[0] - height) // 2 + y, (photo.shape[1] - width) // 2 + x
    pixels = photo.astype(np.float32)
    pixels[top : top + square, left : left + square] = GREY
    return see(run, pixels)


def activity(seen: Seen, layer: str, number: int) -> float:
    """The sum of a map, as occlusion has it."""
    return float(np.asarray(seen.activations[layer])[0, ..., number].sum(dtype=np.float64))


def occlusion(
    seen: Seen, layer: str, number: int, square: int, stride: int
) -> tuple[Grid, Arrays, Iterator[tuple[range, Arrays]]]:
    """A grey square slid over the photo: where, what is known of the uncovered photo, and the
    answers as they are computed; see `studies.occlusion.measure.slide`.

    ValueError: the square does not fit.
    """
    run = seen.run
    rows, columns = (geometry.square_starts(n, square, stride) for n in run.input_size)
    grid = Grid(run.input_size, rows, columns, square)
    fill = filled(run, seen.photo, "grey", square, ())
    slid = slide(
        run,
        seen.photo[None],
        fill[None],
        None,
        grid,
        layer,
        maps=np.array([number], np.int32),
        count=1,
        batch_size=BATCH,
    )
    return grid, slid.whole, slid.answers


@jax.jit
def _rank(maps: jax.Array) -> tuple[jax.Array, ...]:
    numbers, values = units.strongest_maps(maps, maps.shape[3])
    rows, columns = jax.vmap(lambda number: units.strongest_position(maps, number))(numbers[0])
    return numbers[0], values[0], rows[:, 0], columns[:, 0]
