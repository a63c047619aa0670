"""Invariance of a run measured and saved: of chosen photos, and over a split.

WORKDIR/analysis/invariance/ holds the arrays, photos-STEP.npz and SPLIT-STEP.npz, each beside a
.json of the same name that says what they were made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import files, parallel
from zfnet_jax.data.images import Photos, Split, evenly_spread
from zfnet_jax.runs import provenance
from zfnet_jax.runs.run import Run, load_photo
from zfnet_jax.studies import photos
from zfnet_jax.studies.invariance import measure as invariance
from zfnet_jax.studies.invariance.measure import Arrays, Sweeps

SHOWN = 5  # amounts of each transformation whose photos are kept for the figure


def study_photos(
    run: Run,
    paths: Sequence[str | Path],
    labels: Sequence[str],
    sweeps: Sweeps,
    layers: Sequence[str],
    *,
    name: str = "photos",
    progress: bool,
) -> tuple[Path, Arrays]:
    """Measures and saves the curves of single photos.

    Args:
      run: the net.
      paths: N photos.
      labels: the class of each by name; none at all: the name of the folder that a photo lies in.
      sweeps, layers: see `invariance.measure`.
      name: of the study, at the head of the files'; one of the same name is replaced.

    Returns:
      where the arrays lie, and the arrays: those of `invariance.measure` and
      `invariance.transformed`, 'names' [N] of the photos and 'class_names'.

    Raises:
      ValueError: there is no photo, one cannot be read, or a class does not exist.
    """
    if not paths:
        raise ValueError("invariance needs at least one image")
    numbers = photos.class_numbers(run.class_names, paths, labels)
    size = run.config.data.image_size
    images = Photos(np.stack([load_photo(path, size) for path in paths]), numbers)
    arrays = invariance.measure(
        run, images, sweeps, layers, batch_size=_batch_size(run, len(paths)), progress=progress
    )
    arrays |= invariance.transformed(run, images.images, sweeps, SHOWN)
    arrays |= {"names": np.array([Path(path).name for path in paths])}
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] for path in paths]
    classes = [run.class_names[number] for number in numbers]
    made_from = {
        "photos": [
            {"path": str(path), "class": name, "sha256": digest}
            for path, name, digest in zip(paths, classes, digests)
        ]
    }
    return _save(run, f"{name}-{run.step}", arrays, made_from)


def study_split(
    run: Run,
    split: Split,
    split_name: str,
    count: int,
    sweeps: Sweeps,
    layers: Sequence[str],
    *,
    name: str | None = None,
    progress: bool,
) -> tuple[Path, Arrays]:
    """Measures and saves the curves of `count` images of a split, evenly spread; see above.

    The study has the name of the split if none is given.
    """
    images = evenly_spread(split, count)
    arrays = invariance.measure(
        run, images, sweeps, layers, batch_size=_batch_size(run, len(images)), progress=progress
    )
    arrays["rows"] = images.chosen
    made_from = {"split": split_name, "data": split.fingerprint, "of_images": len(split)}
    return _save(run, f"{name or split_name}-{run.step}", arrays, made_from)


def _batch_size(run: Run, images: int) -> int:
    """As the run evaluates, or less where the images would not fill a batch."""
    return min(run.config.eval_batch_size, images)


def _save(run: Run, name: str, arrays: Arrays, made_from: dict[str, Any]) -> tuple[Path, Arrays]:
    folder = run.directory / "analysis" / "invariance"
    path = folder / f"{name}.npz"
    arrays["class_names"] = np.array(run.class_names)
    if parallel.is_writer():
        files.write_arrays(path, arrays)
        files.write_json(path.with_suffix(".json"), made_from | _provenance(run, arrays))
    return path, arrays


def _provenance(run: Run, arrays: Arrays) -> dict[str, Any]:
    kinds = arrays["kinds"].tolist()
    return provenance.of_run(run) | {
        "images": len(arrays["labels"]),
        "layers": arrays["layers"].tolist(),
        "sweeps": {kind: arrays[f"{kind}/amount"].tolist() for kind in kinds},
        "resampling": "Keys cubic, antialiased where it shrinks",
        "beyond_the_photo": "mean of the training set",
    }
