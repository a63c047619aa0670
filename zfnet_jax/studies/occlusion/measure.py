"""Where in a photo a feature map and a class get their evidence: a square slid over it (Fig. 7).

For every position of the square (paper, Section 4.2): the summed activity of one feature map, the
probability of one class, and the most probable class.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageFilter

from zfnet_jax import geometry, model, parallel, passes, units
from zfnet_jax.data import augment
from zfnet_jax.model import ZFNet
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.occlusion.options import Fill
from zfnet_jax.studies.occlusion.plan import Grid
from zfnet_jax.studies.occlusion.recompute import Squares, occluded, unoccluded
from zfnet_jax.training.optimizer import Params

Arrays = dict[str, np.ndarray]

# 'fast' recomputes only what the square can reach, 'plain' the whole net; they agree to rounding.
Form = Literal["fast", "plain"]

GREY = 128.0
BLUR = 0.25  # standard deviation of the blur, as a share of the square's side

_PHOTOS = 8  # whose unoccluded maps are in memory together


def occlude(
    run: Run,
    photos: np.ndarray,
    labels: np.ndarray | None,
    *,
    square: int,
    stride: int,
    layer: str,
    fill: Fill,
    seed: int,
    batch_size: int,
    form: Form = "fast",
    progress: bool = True,
) -> Arrays:
    """Slides a square over photos.

    Squares lie inside what the net sees, `stride` pixels apart from its top left corner; the last
    of a row or column touches the edge.

    Args:
      run: the net.
      photos: [P, S, S, C] uint8.
      labels: int [P], the class of each photo whose probability is asked for; None for the one that
        is most probable when nothing is covered.
      square: its side, pixels.
      stride: pixels between squares.
      layer: a conv or pool layer. Of its maps the one with the strongest activation in the
        uncovered photo is summed.
      fill: what the square shows, see `Fill`.
      seed: of the noise.
      batch_size: squares per step, of all devices and processes together.
      form: see `Form`.
      progress: whether to show a bar with squares per second and the time left.

    Returns:
      for R rows and Q columns of squares 'rows' [R] and 'columns' [Q] int32, their first pixels;
      'activity' [P, R, Q] float32, 'probability' [P, R, Q] float32 and 'class' [P, R, Q] int32;
      of the uncovered photos 'whole_activity', 'whole_probability' and 'whole_class', each [P];
      'label' [P] int32, the class of 'probability', 'map' [P] int32, the map of 'activity', and
      'position' [P, 2] int32, (row, column) of that map's strongest unit; 'photo' and 'fill'
      [P, H, W, C] uint8, what the net saw and what the square shows; and 'square'. Without a
      classifier there is no probability, class or label.

    Raises:
      ValueError: there is no photo, the square does not fit, or there is no such layer or class.
      FloatingPointError: the net's answer is not finite.
    """
    run.architecture.stages_to(layer)  # or there is none
    rows, columns = (geometry.square_starts(n, square, stride) for n in run.input_size)
    if not len(photos):
        raise ValueError("occlusion needs at least one photo")
    if labels is not None and run.lacks_classes:
        raise ValueError(run.lacks_classes)
    if labels is not None and not all(0 <= label < len(run.class_names) for label in labels):
        raise ValueError(f"classes are 0 to {len(run.class_names) - 1}, got {list(labels)}")
    grid = Grid(run.input_size, rows, columns, square)
    fills = np.stack(
        [filled(run, photo, fill, square, (seed, n)) for n, photo in enumerate(photos)]
    )
    group = min(len(photos), _PHOTOS)
    found: list[Arrays] = []
    total = len(photos) * len(rows) * len(columns)
    with passes.bar(total, "occlusion", "squares", progress) as bar:
        for begin in range(0, len(photos), group):
            # The last group is filled up, so that it has the size that is compiled already.
            here = np.minimum(np.arange(begin, begin + group), len(photos) - 1)
            real = min(group, len(photos) - begin)
            slid = slide(
                run,
                photos[here],
                fills[here],
                None if labels is None else labels[here],
                grid,
                layer,
                count=real,
                batch_size=batch_size,
                form=form,
            )
            shape, parts = (real, len(rows), len(columns)), []
            for squares, answers in slid.answers:
                parts.append(answers)
                bar.update(len(squares))
            joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            found.append(
                {name: array.reshape(shape) for name, array in joined.items()}
                | {name: array[:real] for name, array in slid.whole.items()}
            )
    result = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    for name in ("activity", "probability"):
        if name in result and not np.isfinite(result[name]).all():
            raise FloatingPointError(f"{name} is not finite: the net's weights are damaged")
    return result | {
        "rows": np.array(rows, np.int32),
        "columns": np.array(columns, np.int32),
        "square": np.array(square),
        "photo": augment.centre(photos, run.input_size),
        "fill": augment.centre(fills.round().astype(np.uint8), run.input_size),
    }


class Slid(NamedTuple):
    """What squares do to photos, as it is computed.

    Attributes:
      whole: of the uncovered photos, as in `occlude`, with 'label', 'map' and 'position'.
      answers: batch by batch the numbers of its squares, photo by photo in row-major order, and
        'activity', 'probability' and 'class' of each.
    """

    whole: Arrays
    answers: Iterator[tuple[range, Arrays]]


def slide(
    run: Run,
    photos: np.ndarray,
    fills: np.ndarray,
    labels: np.ndarray | None,
    grid: Grid,
    layer: str,
    *,
    maps: np.ndarray | None = None,
    count: int,
    batch_size: int,
    form: Form = "fast",
) -> Slid:
    """Slides a square over the first `count` of photos [G, S, S, C].

    Args:
      fills: [G, S, S, C], see `filled`.
      labels: [G], or None for the answers.
      grid: where the squares lie.
      maps: [G], the maps to sum; the strongest ones if None.
      run, layer, batch_size, form: see `occlude`.
    """
    # A Flax module has a hash of its fields, which the decorator that makes it does not tell.
    prepare, step = _make_steps(run.net, grid, layer, form)  # pyrefly: ignore [bad-argument-type]
    given = (None if array is None else jnp.asarray(array, jnp.int32) for array in (labels, maps))
    state, whole = prepare(run.params, run.inputs(photos), run.inputs(fills), *given)
    shape = (count, len(grid.rows), len(grid.columns))
    answers = passes.over_rows(
        math.prod(shape),
        functools.partial(_read, shape),
        step,
        (parallel.replicate(run.params), parallel.replicate(state)),
        batch_size=batch_size,
    )
    return Slid({name: np.asarray(array) for name, array in whole.items()}, answers)


def filled(
    run: Run, photo: np.ndarray, fill: Fill, square: int, seed: tuple[int, ...]
) -> np.ndarray:
    """What squares show of a photo [S, S, C] uint8, as a whole photo, float32 pixels."""
    if fill == "grey":
        return np.full(photo.shape, GREY, np.float32)
    if fill == "mean":
        return np.asarray(run.mean, np.float32)
    if fill == "blur":
        blur = ImageFilter.GaussianBlur(BLUR * square)
        return np.asarray(Image.fromarray(photo).filter(blur), np.float32)
    if fill == "noise":
        return np.random.default_rng(seed).integers(0, 256, photo.shape).astype(np.float32)
    raise ValueError(f"fill must be one of {', '.join(get_args(Fill))}, got {fill!r}")


@functools.lru_cache(maxsize=8)  # or every call would compile anew
def _make_steps(
    net: ZFNet, grid: Grid, layer: str, form: Form
) -> tuple[Callable[..., tuple[Any, dict[str, jax.Array]]], Callable[..., dict[str, jax.Array]]]:
    """(params, inputs, fills, labels, maps) -> what a group of photos leaves for the second, and
    what is known of the uncovered photos; (params, that, squares) -> arrays [N]."""

    @jax.jit
    def prepare(
        params: Params,
        inputs: jax.Array,
        fills: jax.Array,
        labels: jax.Array | None,
        chosen: jax.Array | None,
    ) -> tuple[Any, dict[str, jax.Array]]:
        logits, activations = model.forward(net, params, inputs)
        maps = activations[layer]
        number = units.strongest_maps(maps, 1)[0][:, 0] if chosen is None else chosen
        position = jnp.stack(units.strongest_position(maps, number), axis=1)
        label = labels
        if label is None and logits.shape[1]:
            label = jnp.argmax(logits, axis=1).astype(jnp.int32)
        whole = _answers(logits, _chosen(maps, number), label)
        whole = {f"whole_{name}": value for name, value in whole.items()}
        whole |= {"map": number, "position": position.astype(jnp.int32)}
        whole |= {} if label is None else {"label": label}
        if form == "fast":
            state: Any = unoccluded(net, params, inputs, fills, grid, layer, number)
        else:
            state = (inputs, fills, number)
        return (state, label), whole

    def step(params: Params, state: Any, batch: _Batch) -> dict[str, jax.Array]:
        (maps, label), squares = state, batch.squares
        if form == "fast":
            logits, activity = occluded(net, params, maps, grid, layer, squares)
        else:
            inputs, fills, number = maps
            logits, activations = model.forward(net, params, _covered(inputs, fills, grid, squares))
            activity = _chosen(activations[layer], number[squares.photo])
        return _answers(logits, activity, None if label is None else label[squares.photo])

    return prepare, passes.gathered(step)


def _answers(
    logits: jax.Array, activity: jax.Array, label: jax.Array | None
) -> dict[str, jax.Array]:
    if label is None:  # the net has no classifier
        return {"activity": activity}
    probabilities = jax.nn.softmax(logits)
    return {
        "activity": activity,
        "probability": jnp.take_along_axis(probabilities, label[:, None], axis=1)[:, 0],
        "class": jnp.argmax(logits, axis=1).astype(jnp.int32),
    }


def _chosen(maps: jax.Array, number: jax.Array) -> jax.Array:
    """The sum [N] of one map of each of [N, h, w, C]."""
    return jnp.take_along_axis(maps, number[:, None, None, None], axis=3).sum(axis=(1, 2, 3))


def _covered(inputs: jax.Array, fills: jax.Array, grid: Grid, squares: Squares) -> jax.Array:
    """Photos [N, H, W, C] with their squares."""
    corner = (jnp.asarray(grid.rows)[squares.row], jnp.asarray(grid.columns)[squares.column])
    inside = [
        (jnp.arange(size) >= first[:, None]) & (jnp.arange(size) < first[:, None] + grid.square)
        for size, first in zip(grid.image_size, corner, strict=True)
    ]
    here = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return jnp.where(here, fills[squares.photo], inputs[squares.photo])


class _Batch(NamedTuple):
    """Squares [b] and their numbers, -1 for padding."""

    index: Any
    squares: Squares


def _read(shape: tuple[int, int, int], index: np.ndarray) -> _Batch:
    """The squares at `index` [b] among (photos, rows, columns) in row-major order."""
    places = np.stack(np.unravel_index(np.maximum(index, 0), shape)).astype(np.int32)
    return _Batch(index.astype(np.int32), Squares(*places))
