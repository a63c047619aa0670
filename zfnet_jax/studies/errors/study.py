"""The predictions of a run for a split: made and saved once, with what they were made from."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import parallel
from zfnet_jax.data.images import Split
from zfnet_jax.runs import provenance
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import saved
from zfnet_jax.studies.errors import predictions
from zfnet_jax.studies.errors.options import Options
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.images import in_classes_of
from zfnet_jax.studies.saved import Result, Subject


def describe(run: Run, split: Split, options: Options) -> dict[str, Any]:
    """What predictions of a run for a split are made from: the `info` of `Predictions`.

    Raises:
      ValueError: the run does not know a class of the split, or has images of another size.
    """
    name = run.directory.resolve().name
    in_classes_of(run, split)
    if split.image_size != run.config.data.image_size:
        raise ValueError(
            f"the {options.split} images have {split.image_size} pixels, but data.image_size of "
            f"{name} is {run.config.data.image_size}"
        )
    return (
        provenance.of_run(run)
        | {
            "epochs": run.config.epochs,
            "split": options.split,
            "images": len(split),
            "data": _data(split),
            "class_names": list(run.class_names),
            "crops": options.crops,
            "preprocessing": {
                "image_size": run.config.data.image_size,
                "crop": run.config.augment.crop,
                "scale": np.asarray(
                    run.config.augment.scale
                ).tolist(),  # one number, or per channel
                "mean": run.mean_digest[:16],
            },
            "weights": run.weights_digest,
        }
    )


def predicted(
    run: Run,
    split: Split,
    options: Options,
    *,
    batch_size: int | None = None,
    prepared_dir: str | None = None,
    progress: bool,
) -> Result:
    """Shows every image of a split to a run, unless that is saved already.

    Args:
      run: the net.
      split: named in the options.
      options: see there; predictions saved with their probabilities serve also without.
      batch_size: see `predict.predict`; as the run evaluates if None.
      prepared_dir: where the images lie, if not where the run's config says.
      progress: whether to show a bar.

    Returns:
      the saved result, which `predictions.of_result` reads.

    Raises:
      ValueError, FloatingPointError: see `describe` and `predict.predict`.
    """
    info = describe(run, split, options)
    split = in_classes_of(run, split)
    if not options.probabilities:
        whole = dataclasses.replace(options, probabilities=True)
        there = parallel.is_writer() and saved.is_there(run, _subject(split, whole))
        if parallel.from_writer("there" if there else ""):
            options = whole

    def make(folder: Path | None) -> None:
        kept = options.probabilities and folder is not None
        with predictions.probabilities_file(folder) if kept else contextlib.nullcontext() as file:
            arrays = predict(
                run,
                split,
                crops=options.crops,
                batch_size=batch_size or run.config.eval_batch_size,
                probabilities=kept,
                file=file,
                progress=progress and parallel.is_writer(),
            )
        if folder is not None:
            predictions.write(folder, arrays)

    return saved.made_once(
        run,
        _subject(split, options),
        make,
        command=saved.command_of(run, "evaluate", options, prepared_dir=prepared_dir),
        about=info,
    )


def _subject(split: Split, options: Options) -> Subject:
    words = (options.split, predictions.crops_text(options.crops).replace(" ", ""))
    return Subject(predictions.NAME, options, words, _data(split))


def _data(split: Split) -> dict[str, Any]:
    return {"fingerprint": split.fingerprint}
