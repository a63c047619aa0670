"""A first look at a net and some photos: its accuracy on them, what every feature map responds to,
what each layer sees in a few of them, and what covering their parts costs.

Of the plan of the paper it has the steps of that name; the others are below.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import lock, model
from zfnet_jax.data.examples import Source
from zfnet_jax.data.folders import few
from zfnet_jax.data.images import evenly_spread
from zfnet_jax.data.sources import FolderSource, PicturesSource
from zfnet_jax.importers import check, write
from zfnet_jax.importers.preprocessing import Pixels
from zfnet_jax.importers.write import Imported
from zfnet_jax.report.table import Column, Table
from zfnet_jax.reproduce import display, execute
from zfnet_jax.reproduce.execute import Row
from zfnet_jax.reproduce.plan import reasoned
from zfnet_jax.reproduce.report import write_report
from zfnet_jax.reproduce.reproduction import Reproduction, Sources
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies import photos
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.drawing import write_tables
from zfnet_jax.studies.features import study as features
from zfnet_jax.studies.features.options import Options as Mining
from zfnet_jax.studies.images import decoded, in_classes_of
from zfnet_jax.studies.layers import study as layers
from zfnet_jax.studies.memory import images_at_once
from zfnet_jax.studies.occlusion import study as occlusion
from zfnet_jax.studies.step import Entry, Made, Step

PHOTOS = 3  # to look into
CHECKED, TRIED = 200, 50  # photos that are named, and named with other preprocessings
PER_CLASS = 12  # built-in pictures


class Look(NamedTuple):
    """What a look has left.

    Attributes:
      rows: the steps, and where each stands.
      photos: folder of the photos as the net takes them.
      page: that shows it all.
    """

    rows: list[Row]
    photos: Path
    page: Path


def look(
    out: Path,
    imported: Imported,
    base: ConfigDict,
    images: str | None,
    *,
    winners: int = Mining.k,
    batch_size: int | None = None,
) -> Look:
    """Makes all that is not there yet.

    Args:
      out: becomes the net's run folder.
      imported: the net.
      base: see `write.write_workdir`.
      images: folder of photos, in class folders or in none; None for the built-in pictures.
      winners: per feature map; their projections are most of the work.
      batch_size: images per step; see `images_at_once` if None.

    Raises:
      FileExistsError: `out` holds another net.
      ValueError, OSError: there are no such photos, or too many are unreadable.
    """
    reproduction = opened(out, imported, base, images)
    run, most = reproduction.run, reproduction.run.config.eval_batch_size
    run.config.eval_batch_size = batch_size or images_at_once(run, most)
    rows = execute.make_rows(reproduction, make_plan(reproduction, imported.pixels, winners))
    execute.estimate(reproduction, rows)
    waiting = [row.seconds for row in rows if row.state == "waiting"]
    if waiting:
        print(f"{len(waiting)} parts to make, about {display.duration(sum(waiting))} in all")
    reproduction.report.mkdir(parents=True, exist_ok=True)
    with lock.locked(reproduction.report / "reproduce.lock", "a reproduction"):
        try:
            with display.OneBar() as bar:
                execute.execute(reproduction, rows, bar)
        finally:
            execute.keep_plan(reproduction, rows)
            page = write_report(reproduction.report)
    return Look(rows, Path(reproduction.prepared_dir), page)


def opened(out: Path, imported: Imported, base: ConfigDict, images: str | None) -> Reproduction:
    """The net in its folder and the photos, both made unless they are there. See `look`."""
    write.write_once(out, imported, base)
    prepared = _prepared(open_run(out), images)
    return Reproduction(out, sources=Sources(prepared_dir=str(prepared)))


def make_plan(context: Context, pixels: Pixels | None, winners: int = Mining.k) -> list[Step]:
    """The steps, each after those that it needs; what they cannot do without is in `missing`.

    Args:
      pixels: what the imported net's preprocessing was made of; None where its file says it itself.
      winners: per feature map.
    """
    options = Mining(k=winners)
    mining = features.mine(context, options)
    steps = [
        photos.spread(context, PHOTOS),
        _check(context, pixels),
        mining,
        features.atlas_step(context, options),
        layers.strongest_step(context, PHOTOS),
        occlusion.fig7(context, mining, partial(features.of_validation, options=options)),
    ]
    return reasoned(steps)


def _prepared(run: Run, images: str | None) -> Path:
    """The folder of the photos as the net takes them, in the run's."""
    source: Source
    if images is None:
        source, name = PicturesSource("objects", "validation", PER_CLASS, 0), "pictures"
    else:
        source = FolderSource(images, "--images", plain=True)
        name = Path(images).resolve().name
    return decoded(run, source, run.directory / "photos", name).parent


def _check(context: Context, pixels: Pixels | None) -> Step:
    """How many photos the net names right; where that is near chance, what its preprocessing may
    be."""
    lacks = context.lacks("validation") or _cannot_name(context)

    def make() -> Made:
        run = context.run
        known = in_classes_of(run, context.split("validation"))
        classes, crop = len(run.class_names), run.input_size
        answer = _answer(run)

        def some(count: int) -> tuple[np.ndarray, np.ndarray]:
            chosen = evenly_spread(known, count)
            return chosen.rows(np.arange(len(chosen))), chosen.labels

        shown, labels = some(CHECKED)
        given = pixels or Pixels("rgb", run.mean, run.config.augment.scale)
        right = check.named_right(answer, shown, labels, given, crop, given.order)
        note = f"{right / len(labels):.1%} of {len(labels)} photos are named right"
        if not check.is_near_chance(right, len(labels), classes):
            return Made([], [f"{note}."])
        note = f"{note}, which is near chance ({1 / classes:.1%})"
        if pixels is None:
            return Made([], [f"{note}, though the file says its preprocessing itself."])
        shown, labels = some(TRIED)
        tried = check.likely_mends(answer, shown, labels, given, crop)
        files = write_tables(context, "check", [_table(tried, len(labels))])
        return Made(files, [f"{note}: {check.advice(tried, len(labels), classes)}"])

    return Step(
        "check",
        "Checking the preprocessing",
        make,
        options={
            "data": None if lacks else context.split("validation").fingerprint,
            "pixels": pixels and check.flags_of(pixels),
            "photos": [CHECKED, TRIED],
        },
        images=0 if lacks else min(CHECKED, len(context.split("validation"))),
        seconds=3,
        missing=lacks,
        entry=Entry(
            "Photos named right",
            "3",
            "A net that gets other images than it was trained on answers almost at random.",
        ),
    )


def _table(tried: Sequence[check.Tried], photos: int) -> Table:
    return Table(
        (Column("preprocessing"), Column("named right", ".1%")),
        tuple((one.flags, one.right / photos) for one in tried),
        caption="Preprocessings tried",
        setting=f"{photos} of the photos.",
    )


def _cannot_name(context: Context) -> str | None:
    """Why it cannot be told whether the net names the photos right; None if it can."""
    names, split = context.run.class_names, context.split("validation")
    if context.run.lacks_classes:
        return context.run.lacks_classes
    if all(name == f"class {number}" for number, name in enumerate(names)):
        return (
            "the file does not name the classes: --classes=FILE, one name per line in their order"
        )
    try:
        in_classes_of(context.run, split)
    except ValueError:
        own = few(context.run.class_titles)
        return f"the photos are of {few(split.class_names)}, but the net's classes are {own}"
    return None


def _answer(run: Run) -> check.Answer:
    scores = jax.jit(lambda params, images: model.forward(run.net, params, images)[0])
    return lambda images: np.asarray(scores(run.params, images))
