"""Invariance measured and saved, of chosen photos and over a split, and the step of Fig. 5."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TypeVar

import numpy as np

from zfnet_jax.data.images import Images, Photos, Split, evenly_spread
from zfnet_jax.runs.run import Run, load_photo
from zfnet_jax.studies import photos, saved
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.images import in_classes_of
from zfnet_jax.studies.invariance.figure import COLOURS, figure5, figure5_summary
from zfnet_jax.studies.invariance.measure import Arrays, first_and_last, measure, transformed
from zfnet_jax.studies.invariance.options import (
    Changes,
    PhotoOptions,
    SplitOptions,
    paper_ranges,
    sweeps,
)
from zfnet_jax.studies.invariance.table import tables_of
from zfnet_jax.studies.options import identity, short_name
from zfnet_jax.studies.saved import Result, Subject
from zfnet_jax.studies.step import Entry, Made, Step

NAME = "invariance"
SHOWN = 5  # amounts of each transformation whose photos are kept for the figure
_ABOUT = {
    "resampling": "Keys cubic, antialiased where it shrinks",
    "beyond_the_photo": "mean of the training set",
}

Given = TypeVar("Given", bound=Changes)


def resolved(run: Run, options: Given) -> Given:
    """The options with the paper's ranges and layers for those not given."""
    net = run.architecture
    ranges = {
        kind: text
        for kind, text in paper_ranges(run.input_size[0]).items()
        if getattr(options, kind) is None
    }
    named = tuple(run.layer(name, net.activations) for name in options.layers)
    layers = named or first_and_last(net)
    return dataclasses.replace(options, layers=layers, **ranges)


def of_photos(run: Run, options: PhotoOptions, *, progress: bool) -> Result:
    """The curves of single photos, measured unless they are saved already.

    Args:
      run: the net.
      options: see there.
      progress: whether to show bars.

    Returns:
      the saved result. Its arrays are those of `measure.measure` and `measure.transformed` for N
      photos, and 'names' [N], folder and file, and 'class_names'.

    Raises:
      ValueError: there is no photo, one cannot be read, a class does not exist, or as
        `options.sweeps` and `measure.measure`.
    """
    if not options.images:
        raise ValueError("invariance needs at least one image")
    numbers = photos.class_numbers(run, options.images, options.labels)
    labels = tuple(photos.class_label(run, number) for number in numbers if number >= 0)
    asked = dataclasses.replace(resolved(run, options), labels=labels)
    size = run.config.data.image_size
    images = Photos(np.stack([load_photo(path, size) for path in options.images]), numbers)

    def curves() -> Arrays:
        arrays = _measured(run, images, asked, progress)
        arrays |= transformed(run, images.images, sweeps(asked), SHOWN)
        return arrays | {"names": np.array([short_name(path) for path in options.images])}

    stems = [Path(path).stem for path in options.images[:2]]
    named = [f"{label}-{stem}" for label, stem in zip(labels, stems)] or stems
    words = (*named, *asked.layers)
    command = saved.command_of(run, NAME, options)
    return saved.measured_once(
        run, Subject(NAME, asked, words), curves, command=command, about=_ABOUT
    )


def of_split(
    run: Run, split: Split, options: SplitOptions, *, prepared_dir: str | None, progress: bool
) -> Result:
    """The curves of some images of a split, evenly spread, measured unless they are saved already.

    Args:
      run: the net.
      split: that which the options name.
      options: see there.
      prepared_dir: prepared images, if not those of the run's config.
      progress: whether to show bars.

    Returns:
      the saved result. Its arrays are those of `measure.measure` for N images, and 'rows' [N] of
      the split and 'class_names'.

    Raises:
      ValueError: see `options.sweeps`, `measure.measure` and `images.in_classes_of`.
    """
    known = split if run.lacks_classes else in_classes_of(run, split)
    images = evenly_spread(known, options.count)
    asked = dataclasses.replace(resolved(run, options), count=len(images))

    def curves() -> Arrays:
        return _measured(run, images, asked, progress) | {"rows": images.chosen}

    words = (f"{len(images)}_{options.split}_images", *asked.layers)
    return saved.measured_once(
        run,
        Subject(NAME, asked, words, {"fingerprint": split.fingerprint}),
        curves,
        command=saved.command_of(run, NAME, options, prepared_dir=prepared_dir),
        about=_ABOUT | {"of_images": len(split)},
    )


def fig5(context: Context, count: int) -> Step:
    """Fig. 5, of the photos chosen, and over `count` validation images or all that there are."""
    run = context.run
    lacks = context.lacks("validation", of_classes=not run.lacks_classes)
    split = None if lacks else context.split("validation")
    many = SplitOptions(count=min(count, len(split)) if split else 0)
    asked = resolved(run, many)

    def make() -> Made:
        chosen = photos.chosen(context)
        images, labels, _ = chosen.first(len(COLOURS))
        few = of_photos(run, PhotoOptions(images=images, labels=labels), progress=False)
        files = [*draw(context, {"figure5": lambda: figure5(few.drawn)}), *few.files]
        commands = [few.about["command"], few.drawn_by("5", context.figures)]
        notes = chosen.left_out(len(COLOURS))
        if run.lacks_classes:
            notes.append("No probability of the true class: the net has no classifier.")
        if split is None or not many.count:
            notes.append("No summary over many images: there are no validation images.")
            return Made(files, notes, commands=commands)
        summary = of_split(run, split, many, prepared_dir=context.prepared_dir, progress=False)
        files += draw(context, {"figure5_summary": lambda: figure5_summary(summary.arrays)})
        files += write_tables(context, "figure5", tables_of(summary.arrays))
        files += summary.files
        commands += [summary.about["command"], summary.drawn_by("5", context.figures)]
        notes.append(f"The summary is over {many.count} validation images, evenly spread.")
        return Made(files, notes, commands=commands)

    amounts = sum(map(len, sweeps(asked).values()))
    return Step(
        name="fig5",
        title="Fig. 5: what moving, enlarging and turning changes",
        make=make,
        entry=Entry(
            "Figure 5: invariance",
            "4",
            "The distance in layer 1 should jump at the smallest change; in layer 7 it should"
            " grow slowly and nearly in proportion.",
            "Layer 7 is quasi-linear for shifts and scale; nothing is invariant to rotation"
            " but symmetric objects.",
        ),
        needs=("photos",),
        options=identity(asked) | {"data": split and split.fingerprint} | context.titles,
        images=(many.count + photos.COUNT) * amounts,
        seconds=10,
    )


def _measured(run: Run, images: Images, asked: Changes, progress: bool) -> Arrays:
    # As the run evaluates, or less where the images would not fill a batch.
    batch = min(run.config.eval_batch_size, len(images))
    arrays = measure(run, images, sweeps(asked), asked.layers, batch_size=batch, progress=progress)
    return arrays | {"class_names": np.array(run.class_names)}
