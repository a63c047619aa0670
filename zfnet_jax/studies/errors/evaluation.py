"""A run evaluated on a split: its predictions saved with their provenance, and not made twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zfnet_jax import parallel
from zfnet_jax.data.images import Split
from zfnet_jax.runs import array_tree, provenance
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.errors import predictions
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.errors.predictions import Predictions
from zfnet_jax.training.evaluation import Crops

# Saved predictions are those of a net on a split where these fields are equal.
_IDENTITY = ("weights", "data", "class_names", "preprocessing", "crops")


def describe(run: Run, split: Split, split_name: str, crops: Crops) -> dict[str, Any]:
    """What predictions of a run on a split are made from: the `info` of `Predictions`.

    Raises:
      ValueError: the split has other classes, or images of another size, than the run.
    """
    name = run.directory.resolve().name
    if tuple(split.class_names) != run.class_names:
        raise ValueError(
            f"the {split_name} images have other classes than {name}: "
            f"{_few(split.class_names)}, not {_few(run.class_names)}"
        )
    if split.image_size != run.config.data.image_size:
        raise ValueError(
            f"the {split_name} images have {split.image_size} pixels, but data.image_size of "
            f"{name} is {run.config.data.image_size}"
        )
    return (
        provenance.of_run(run)
        | {
            "epochs": run.config.epochs,
            "split": split_name,
            "images": len(split),
            "data": split.fingerprint,
            "class_names": list(run.class_names),
            "crops": crops,
            "preprocessing": {
                "image_size": run.config.data.image_size,
                "crop": run.config.augment.crop,
                "scale": np.asarray(
                    run.config.augment.scale
                ).tolist(),  # one number, or per channel
                "mean": array_tree.digest(run.mean)[:16],
            },
            "weights": run.weights_digest,
        }
    )


def evaluate(
    run: Run,
    split: Split,
    info: dict[str, Any],
    *,
    batch_size: int,
    probabilities: bool,
    progress: bool,
) -> Predictions:
    """The predictions of a run on a split, from its folder if it has them, else made and saved.

    Args:
      info: of `describe`.
      batch_size, probabilities, progress: see `predict.predict`.

    Returns:
      the predictions; read from the folder they are without probabilities unless asked for.
    """
    path = predictions.path_of(run.directory, info["split"], run.step, info["crops"])
    if path.exists():
        saved = predictions.load(path, probabilities=probabilities)
        same = all(saved.info[field] == info[field] for field in _IDENTITY)
        if same and (saved.probabilities is not None or not probabilities):
            return saved
    arrays = predict(
        run,
        split,
        crops=info["crops"],
        batch_size=batch_size,
        probabilities=probabilities,
        progress=progress and parallel.is_writer(),
    )
    kept = arrays.pop("probabilities", None)
    result = Predictions(info=info, **arrays, probabilities=kept)
    if parallel.is_writer():
        predictions.save(path, result)
    return result


def _few(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join([*names[:3], *['...'] * (len(names) > 3)])})"
