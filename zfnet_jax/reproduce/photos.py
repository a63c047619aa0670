"""The photos of Figs. 1, 5 and 7: those that were named, or validation images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image

from zfnet_jax.files import whole_file, write_json
from zfnet_jax.reproduce.step import Made, Step
from zfnet_jax.reproduce.study import CROPS, Study, content_digest
from zfnet_jax.studies.errors import predictions
from zfnet_jax.studies.invariance import study as invariance_study

COUNT = 5  # photos of the paper's Fig. 5


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo to look into: where it lies, its class, and what it is called in the data set."""

    path: Path
    label: str
    key: str


def photos_step(study: Study, evaluation: Step) -> Step:
    """Gathers the photos; `evaluation` tells which validation images the net answers right."""
    if study.sources.images:
        return _named(study)
    return Step(
        name="photos",
        title="Choosing validation images to look into",
        make=lambda: _choose(study),
        needs=("evaluate",),
        options={"count": COUNT},
        missing=evaluation.missing and f"{evaluation.missing}; or name photos with --image",
    )


def chosen(study: Study) -> list[Photo]:
    """What the step has left."""
    folder = study.report / "photos"
    records = json.loads((folder / "photos.json").read_text(encoding="utf-8"))
    return [Photo(folder / one["path"], one["class"], one["key"]) for one in records]


def _named(study: Study) -> Step:
    paths = study.sources.images
    where = [str(Path(path).resolve()) for path in paths]
    missing, digests, labels = None, [], []
    try:
        digests = [content_digest(path) for path in paths]
        numbers = invariance_study.photo_labels(study.run, paths, study.sources.labels)
        labels = [study.run.class_names[number] for number in numbers]
    except (ValueError, OSError) as error:
        missing = str(error)

    def make() -> Made:
        records = [
            {"path": path, "class": label, "key": "/".join(Path(path).parts[-2:])}
            for path, label in zip(where, labels, strict=True)
        ]
        return Made([_write(study, records)], [f"The {len(records)} photos were named by hand."])

    options = {"photos": digests, "labels": labels, "paths": where}
    return Step("photos", "Reading the photos", make, options=options, missing=missing)


def _choose(study: Study) -> Made:
    """Of classes evenly spread the first validation image that the net answers right."""
    split = study.split("validation")
    path = predictions.path_of(study.workdir, "validation", study.run.step, CROPS)
    right = predictions.load(path, probabilities=False).rank == 0
    names, files, records = study.run.class_names, [], []
    count = min(COUNT, len(names))
    for number in np.arange(count) * len(names) // count:
        rows = np.flatnonzero(split.labels == number)
        if not len(rows):
            continue
        row = rows[np.argmax(right[rows])]  # the first where none is right
        file = study.report / "photos" / f"{row}.png"
        files.append(_save(split.rows(np.array([row]))[0], file))
        records.append({"path": file.name, "class": names[number], "key": split.keys[row]})
    note = (
        "The photos are validation images: of classes evenly spread the first that the net"
        " answers right, or the first of all where there is none."
    )
    return Made([*files, _write(study, records)], [note])


def _save(pixels: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        Image.fromarray(pixels).save(file, "png")
    return path


def _write(study: Study, records: list[dict[str, str]]) -> Path:
    path = study.report / "photos" / "photos.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, records)
    return path
