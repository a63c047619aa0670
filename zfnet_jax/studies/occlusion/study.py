"""Occlusion of chosen photos measured and saved, with all that Fig. 7 shows.

WORKDIR/analysis/occlusion/photos-STEP-LAYER-FILL.npz holds the arrays, a .json of the same name
says what they were made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from zfnet_jax import deconvnet, files, geometry, parallel, units
from zfnet_jax.runs import provenance
from zfnet_jax.runs.run import Run, load_photo
from zfnet_jax.studies.occlusion.measure import BLUR, GREY, Arrays, Fill, Form, occlude

SQUARE, STRIDE = 48, 8  # pixels, of the paper's 224


def paper_sizes(run: Run) -> tuple[int, int]:
    """Side of the square and pixels between positions, in the paper's share of what a net sees."""
    square, stride = (max(1, round(n * run.config.augment.crop / 224)) for n in (SQUARE, STRIDE))
    return square, stride


def study_photos(
    run: Run,
    paths: Sequence[str | Path],
    labels: Sequence[str],
    *,
    square: int,
    stride: int,
    layer: str,
    fill: Fill,
    seed: int,
    batch_size: int,
    form: Form,
    name: str = "photos",
    progress: bool,
) -> tuple[Path, Arrays]:
    """Slides a square over photos and saves what was found.

    Args:
      run: the net.
      paths: P photos.
      labels: the class of each by name, one for all of them, or none: then it is the most probable
        one of the uncovered photo.
      square, stride, layer, fill, seed, batch_size, form: see `occlusion.occlude`.
      name: of the study, at the head of the files'; one of the same name is replaced.

    Returns:
      where the arrays lie, and the arrays: those of `occlusion.occlude`, and
      'projection' [P, H, W, C] float32, the strongest unit of the chosen map projected alone, and
      'window' [P, 4] int32, what it sees (top, left, bottom, right), which may leave the photo;
      'names' [P], folder and file; 'class_names', 'layer', 'step'.

    Raises:
      ValueError: see `occlusion.occlude`; or a photo cannot be read, or a class does not exist.
    """
    numbers = class_numbers(run, labels, len(paths))
    photos = [load_photo(path, run.config.data.image_size) for path in paths]
    options = {"square": square, "stride": stride, "layer": layer, "fill": fill, "seed": seed}
    arrays = occlude(
        run,
        np.stack(photos) if photos else np.zeros((0, *run.mean.shape), np.uint8),
        numbers,
        square=square,
        stride=stride,
        layer=layer,
        fill=fill,
        seed=seed,
        batch_size=batch_size,
        form=form,
        progress=progress,
    )
    arrays |= _projections(run, np.stack(photos), layer, arrays["map"], arrays["position"])
    arrays |= {
        "names": np.array(["/".join(Path(path).resolve().parts[-2:]) for path in paths]),
        "class_names": np.array(run.class_names),
        "layer": np.array(layer),
        "step": np.array(run.step),
    }
    path = run.directory / "analysis" / "occlusion" / f"{name}-{run.step}-{layer}-{fill}.npz"
    if parallel.is_writer():
        files.write_arrays(path, arrays)
        digests = [hashlib.sha256(Path(photo).read_bytes()).hexdigest()[:16] for photo in paths]
        made_from = {"photos": dict(zip(map(str, paths), digests, strict=True))}
        files.write_json(path.with_suffix(".json"), made_from | describe(run, options))
    return path, arrays


def class_numbers(run: Run, labels: Sequence[str], count: int) -> np.ndarray | None:
    """The classes [P] of photos by name; None where none is given.

    ValueError: there is no such class, or neither one nor as many as photos.
    """
    if not labels:
        return None
    if len(labels) not in (1, count):
        raise ValueError(f"{count} photos but {len(labels)} classes: give one or one for each")
    for name in labels:
        if name not in run.class_names:
            few = ", ".join(run.class_names[:10]) + (", ..." if len(run.class_names) > 10 else "")
            raise ValueError(f"there is no class {name!r}, only {few}")
    numbers = [run.class_names.index(name) for name in labels]
    return np.array(numbers * (count // len(numbers)), np.int32)


def describe(run: Run, options: Mapping[str, Any]) -> dict[str, Any]:
    """What occlusion was made with; of photos and data the caller says more."""
    return provenance.of_run(run) | {
        "options": dict(options),
        "grey": GREY,
        "blur": f"Gaussian, standard deviation {BLUR} of the square's side",
    }


def _projections(
    run: Run, photos: np.ndarray, layer: str, number: np.ndarray, position: np.ndarray
) -> Arrays:
    projections = []
    for photo, index, (row, column) in zip(photos, number, position, strict=True):
        _, activations = run.forward(run.inputs(photo[None]))
        seed = units.unit_at(activations[layer], *(jnp.array([n]) for n in (index, row, column)))
        projections.append(
            deconvnet.project(
                run.architecture, run.params, activations, layer, seed, run.input_size
            )[0]
        )
    field = geometry.receptive_field(run.architecture, layer)
    first = position * field.jump + field.start
    window = np.concatenate([first, first + field.size], axis=1).astype(np.int32)
    return {"projection": np.stack(projections), "window": window}
