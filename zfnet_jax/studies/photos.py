"""The photos of Figs. 1, 5 and 7: those that were named, or validation images."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from zfnet_jax import parallel
from zfnet_jax.data.images import Split, evenly_spread
from zfnet_jax.files import whole_file, write_json
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.errors import predictions, study
from zfnet_jax.studies.errors.options import Options
from zfnet_jax.studies.images import in_classes_of
from zfnet_jax.studies.options import content_digest
from zfnet_jax.studies.saved import Result
from zfnet_jax.studies.step import Made, Step

COUNT = 5  # photos of the paper's Fig. 5


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo to look into: where it lies, its class ('' where the net does not know it), and what
    it is called in the data set."""

    path: Path
    label: str
    key: str


@dataclasses.dataclass(frozen=True)
class Named:
    """Photos that somebody named: files, and their classes or none (the names of their folders)."""

    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The photos to look into, and whether somebody named them."""

    photos: tuple[Photo, ...]
    named: bool

    def first(self, count: int) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Files, classes and keys of the first `count`; no classes where one is not known."""
        few = self.photos[:count]
        return (
            tuple(str(one.path) for one in few),
            tuple(one.label for one in few) if all(one.label for one in few) else (),
            tuple(one.key for one in few),
        )

    def left_out(self, count: int) -> list[str]:
        """What a report says where only the first `count` of those named are shown."""
        if not self.named or len(self.photos) <= count:
            return []
        return [f"The first {count} of the photos that were named."]


def step(context: Context, named: Named, evaluation: Step) -> Step:
    """Gathers the photos; `evaluation` tells which validation images the net answers right."""
    if named.images:
        return _named(context, named)
    if context.run.lacks_classes:
        any_class = spread(context, COUNT)
        missing = any_class.missing and f"{any_class.missing}; or name photos with --image"
        return dataclasses.replace(any_class, missing=missing)
    return Step(
        name="photos",
        title="Choosing validation images to look into",
        make=lambda: _choose(context),
        needs=("evaluate",),
        options={"count": COUNT},
        missing=evaluation.missing and f"{evaluation.missing}; or name photos with --image",
    )


def spread(context: Context, count: int) -> Step:
    """Takes the first validation image of each of some classes, or of too few classes images evenly
    spread, whether or not the net knows their classes."""

    def make() -> Made:
        split = context.split("validation")
        try:
            known = in_classes_of(context.run, split)
        except ValueError:
            known = None
        rows = _spread_rows(split, count)

        def write() -> Made:
            records, files = [], []
            for row, pixels in zip(rows.tolist(), split.rows(rows), strict=True):
                file = context.report / "photos" / f"{row}.png"
                files.append(_save(pixels, file))
                label = class_label(context.run, int(known.labels[row])) if known else ""
                records.append({"path": file.name, "class": label, "key": split.keys[row]})
            return Made([*files, _write(context, records, named=False)])

        return parallel.by_writer(write)

    lacks = context.lacks("validation")
    return Step(
        "photos",
        "Choosing images to look into",
        make,
        options={
            "count": count,
            "of": "classes",
            "data": None if lacks else context.split("validation").fingerprint,
        },
        missing=lacks,
    )


def _spread_rows(split: Split, count: int) -> np.ndarray:
    """Rows of the images that `spread` takes, ascending."""
    _, first = np.unique(split.labels, return_index=True)
    if len(first) < count:
        return evenly_spread(split, count).chosen
    return np.sort(first[np.arange(count) * len(first) // count])


def chosen(context: Context) -> Chosen:
    """What the step has left."""
    folder = context.report / "photos"
    record = json.loads((folder / "photos.json").read_text(encoding="utf-8"))
    found = (Photo(folder / one["path"], one["class"], one["key"]) for one in record["photos"])
    return Chosen(tuple(found), record["named"])


def class_numbers(run: Run, paths: Sequence[str | Path], labels: Sequence[str]) -> np.ndarray:
    """The classes [N] int32 of photos by name; without names those of the folders they lie in.

    Of a net without classes all are -1.

    ValueError: there is no such class, or there are not as many names as photos.
    """
    if not run.class_names and not labels:
        return np.full(len(paths), -1, np.int32)
    if labels and len(labels) != len(paths):
        raise ValueError(
            f"{len(paths)} photos but {len(labels)} classes: give one for each, or none"
        )
    numbers = []
    for path, name in zip(paths, labels or [Path(path).resolve().parent.name for path in paths]):
        source = "" if labels else " (the name of its folder: give the class yourself)"
        numbers.append(class_number(run, name, f"{path}: ", source))
    return np.array(numbers, np.int32)


def class_number(run: Run, name: str, where: str = "", source: str = "") -> int:
    """The class of that name or title.

    ValueError, with `where` before it and `source` after the name: there is none, or several.
    """
    if not run.class_names:
        raise ValueError(f"{where}the class {name!r}: {run.lacks_classes}")
    found = [number for number, one in enumerate(run.class_names) if one == name]
    found = found or [number for number, one in enumerate(run.class_titles) if one == name]
    # Of two classes of one title each is followed by its name.
    found = found or [n for n, one in enumerate(run.class_titles) if one.startswith(f"{name} (")]
    if len(found) == 1:
        return found[0]
    if found:
        which = " or ".join(run.class_titles[number] for number in found)
        raise ValueError(f"{where}{name!r}{source} is no single class: say {which}")
    few = ", ".join(run.class_titles[:5]) + (", ..." if len(run.class_names) > 5 else "")
    raise ValueError(f"{where}there is no class {name!r}{source}, only {few}")


def class_label(run: Run, number: int) -> str:
    """What `class_number` finds a class by: its name, or where others share it its title; '' for
    -1, no class."""
    if number < 0:
        return ""
    name = run.class_names[number]
    return name if run.class_names.count(name) == 1 else run.class_titles[number]


def _named(context: Context, named: Named) -> Step:
    where = [str(Path(path).resolve()) for path in named.images]
    missing, digests, labels = None, [], []
    try:
        digests = [content_digest(path) for path in named.images]
        numbers = class_numbers(context.run, named.images, named.labels)
        labels = [class_label(context.run, number) for number in numbers]
    except (ValueError, OSError) as error:
        missing = str(error)

    def make() -> Made:
        records = [
            {"path": path, "class": label, "key": "/".join(Path(path).parts[-2:])}
            for path, label in zip(where, labels, strict=True)
        ]
        note = f"The {len(records)} photos were named by hand."
        return Made([parallel.by_writer(lambda: _write(context, records, named=True))], [note])

    options = {"photos": digests, "labels": labels, "paths": where}
    return Step("photos", "Reading the photos", make, options=options, missing=missing)


def _choose(context: Context) -> Made:
    """Of classes evenly spread the first validation image that the net answers right."""
    options = Options(probabilities=False)  # of the evaluation, which has made them
    split = context.split(options.split)
    result = study.predicted(
        context.run, split, options, prepared_dir=context.prepared_dir, progress=False
    )
    return parallel.by_writer(lambda: _chosen_of(context, split, result))


def _chosen_of(context: Context, split: Split, result: Result) -> Made:
    right = predictions.of_result(result).rank == 0
    split = in_classes_of(context.run, split)
    files, records = [], []
    classes = len(context.run.class_names)
    count = min(COUNT, classes)
    for number in np.arange(count) * classes // count:
        rows = np.flatnonzero(split.labels == number)
        if not len(rows):
            continue
        row = rows[np.argmax(right[rows])]  # the first where none is right
        file = context.report / "photos" / f"{row}.png"
        files.append(_save(split.rows(np.array([row]))[0], file))
        label = class_label(context.run, int(number))
        records.append({"path": file.name, "class": label, "key": split.keys[row]})
    note = (
        "The photos are validation images: of classes evenly spread the first that the net"
        " answers right, or the first of all where there is none."
    )
    return Made([*files, _write(context, records, named=False)], [note])


def _save(pixels: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        Image.fromarray(pixels).save(file, "png")
    return path


def _write(context: Context, records: list[dict[str, str]], *, named: bool) -> Path:
    path = context.report / "photos" / "photos.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"named": named, "photos": records})
    return path
