"""Occlusion of chosen photos measured and saved, with all that Fig. 7 shows, and its step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from zfnet_jax import deconvnet, units
from zfnet_jax.runs.run import Run, load_photo
from zfnet_jax.studies import fields, photos, saved
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.drawing import draw
from zfnet_jax.studies.features.winners import Winners
from zfnet_jax.studies.occlusion.figure import figure7
from zfnet_jax.studies.occlusion.measure import BLUR, GREY, Arrays, occlude
from zfnet_jax.studies.occlusion.options import Options, Resolved
from zfnet_jax.studies.options import identity, short_name
from zfnet_jax.studies.saved import Result, Subject
from zfnet_jax.studies.step import Entry, Made, Step
from zfnet_jax.windows import in_words, shortest

NAME = "occlusion"
PAPER_SQUARE, PAPER_STRIDE = 48, 8  # pixels, of the paper's 224
COUNT = 3  # photos of the paper's Fig. 7
_BATCH = 32  # squares


def resolved(run: Run, options: Options) -> Resolved:
    """The options with what is None as the net decides it: sizes in the paper's share of what the
    net sees, the last conv layer."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    sizes = {"square": PAPER_SQUARE, "stride": PAPER_STRIDE}
    for name, size in sizes.items():
        if given[name] is None:
            given[name] = max(1, round(size * min(run.input_size) / 224))
    net = run.architecture
    layer = options.layer
    given["layer"] = run.layer(layer, net.map_layers) if layer else net.convs[-1].name
    if len(options.labels) == 1:
        given["labels"] = options.labels * len(options.images)
    if options.fill != "noise":
        given["seed"] = Options.seed  # which nothing depends on
    return Resolved(**given)


def measured(run: Run, options: Options, *, batch_size: int = _BATCH, progress: bool) -> Result:
    """Slides a square over photos, unless that is saved already.

    Args:
      run: the net.
      options: see there.
      batch_size, progress: see `measure.occlude`.

    Returns:
      the saved result. Its arrays are those of `measure.occlude` for P photos, and
      'projection' [P, H, W, C] float32, the strongest unit of the chosen map projected alone, and
      'window' [P, 4] int32, what it sees (top, left, bottom, right), which may leave the photo;
      'names' [P], folder and file; 'class_names', 'layer', 'step'.

    Raises:
      ValueError: see `measure.occlude`; or a photo cannot be read, or a class does not exist.
    """
    numbers = class_numbers(run, options.labels, len(options.images))
    labels = () if numbers is None else tuple(photos.class_label(run, n) for n in numbers)
    chosen = dataclasses.replace(resolved(run, options), labels=labels)
    layer = chosen.layer
    size = run.config.data.image_size
    pixels = np.stack([load_photo(path, size) for path in options.images])

    def measure() -> Arrays:
        arrays = of_pixels(run, chosen, pixels, numbers, batch_size=batch_size, progress=progress)
        arrays |= _projections(run, pixels, layer, arrays["map"], arrays["position"])
        return arrays | {
            "names": np.array([short_name(path) for path in options.images]),
            "class_names": np.array(run.class_names),
            "layer": np.array(layer),
            "step": np.array(run.step),
        }

    words = (*(Path(path).stem for path in options.images[:2]), layer, chosen.fill)
    return saved.measured_once(
        run,
        Subject(NAME, chosen, words),
        measure,
        command=saved.command_of(run, NAME, options),
        about={
            "grey": GREY,
            "blur": f"Gaussian, standard deviation {BLUR} of the square's side",
        },
    )


def of_pixels(
    run: Run,
    options: Resolved,
    pixels: np.ndarray,
    labels: np.ndarray | None,
    *,
    batch_size: int = _BATCH,
    progress: bool,
) -> Arrays:
    """`measure.occlude` of photos [P, S, S, C] uint8 as the options say."""
    return occlude(
        run,
        pixels,
        labels,
        square=options.square,
        stride=options.stride,
        layer=options.layer,
        fill=options.fill,
        seed=options.seed,
        batch_size=batch_size,
        form="plain" if options.plain else "fast",
        progress=progress,
    )


def fig7(context: Context, mining: Step, mined: Callable[[Context], Winners]) -> Step:
    """Fig. 7, of the first photos chosen.

    Args:
      mining: of the validation images: its projections stand beside those of the photos.
      mined: what that step has left.
    """
    asked = resolved(context.run, Options())
    square, stride, layer = asked.square, asked.stride, asked.layer
    seen = context.run.input_size
    look = (
        "The probability of the class should fall where the square covers the object, and the"
        " strongest map where it covers what the map's projection shows."
    )
    if context.run.lacks_classes:
        look = "The map should fall where the square covers what its projection shows."

    def make() -> Made:
        chosen = photos.chosen(context)
        images, labels, keys = chosen.first(COUNT)
        batch = min(_BATCH, context.run.config.eval_batch_size)
        result = measured(context.run, Options(images, labels), batch_size=batch, progress=False)
        # A validation image is known by its key, not by the file it was written to.
        arrays = result.drawn | {"names": np.array(keys)}
        others = None if mining.missing else mined(context)
        files = draw(context, {"figure7": lambda: figure7(arrays, others)})
        whole = in_words(shortest(seen))
        notes = [f"A square of {square} pixels every {stride}, of the {whole} that the net sees."]
        if context.run.lacks_classes:
            notes.append("No probabilities and classes: the net has no classifier.")
        return Made(
            [*files, *result.files],
            [*notes, *chosen.left_out(COUNT)],
            {layer: sorted(set(arrays["map"].tolist()))},
            [result.about["command"], result.drawn_by("7", context.figures)],
        )

    return Step(
        name="fig7",
        title="Fig. 7: what covering each place costs",
        make=make,
        entry=Entry(
            "Figure 7: occlusion",
            "4.2",
            look,
            "When the object is covered, activity and probability of the class drop strongly.",
        ),
        needs=("photos",) if mining.missing else ("photos", "mine"),
        options=identity(asked) | context.titles,
        images=COUNT * math.prod(len(range(0, n - square + 1, stride)) for n in seen) / 3,
        seconds=12,
    )


def class_numbers(run: Run, labels: Sequence[str], count: int) -> np.ndarray | None:
    """The classes [P] of photos by name; None where none is given.

    ValueError: there is no such class, or neither one nor as many as photos.
    """
    if not labels:
        return None
    if len(labels) not in (1, count):
        raise ValueError(f"{count} photos but {len(labels)} classes: give one or one for each")
    numbers = [photos.class_number(run, name) for name in labels]
    return np.array(numbers * (count // len(numbers)), np.int32)


def _projections(
    run: Run, pixels: np.ndarray, layer: str, number: np.ndarray, position: np.ndarray
) -> Arrays:
    projections = []
    for photo, index, (row, column) in zip(pixels, number, position, strict=True):
        _, activations = run.forward(run.inputs(photo[None]))
        seed = units.unit_at(activations[layer], *(jnp.array([n]) for n in (index, row, column)))
        projections.append(
            deconvnet.project(
                run.architecture, run.params, activations, layer, seed, run.input_size
            )[0]
        )
    window = fields.seen_by(run.architecture, layer, position)
    return {"projection": np.stack(projections), "window": window}
