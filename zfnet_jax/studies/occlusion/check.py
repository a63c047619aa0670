"""Occlusion of built-in pictures, whose objects are known, measured and saved."""

from __future__ import annotations

from pathlib import Path

from zfnet_jax.data import augment
from zfnet_jax.data.images import Split, evenly_spread
from zfnet_jax.files import write_arrays, write_json
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import saved
from zfnet_jax.studies.images import in_classes_of
from zfnet_jax.studies.occlusion import masks, study
from zfnet_jax.studies.occlusion.options import CheckOptions, Options
from zfnet_jax.studies.saved import Result, Subject

NAME = "occlusion_check"
NUMBERS = "numbers.json"  # in the result's folder


def measured(
    run: Run,
    split: Split,
    options: CheckOptions,
    *,
    batch_size: int,
    prepared_dir: str | None = None,
    progress: bool,
) -> Result:
    """Slides a square over pictures and holds what it costs against their masks, unless saved.

    Args:
      prepared_dir: where the pictures lie, if not where the run's config says.

    Returns:
      the saved result: the arrays of `measure.occlude`, 'mask' [N, H, W] bool of what the net saw
      and 'validation_row' [N]; and the numbers of `masks.against_masks` in a file of their own.

    Raises:
      ValueError: see `masks.pictures_and_masks` and `measure.occlude`.
    """
    slid = study.resolved(
        run,
        Options(
            square=options.square, stride=options.stride, layer=options.layer, fill=options.fill
        ),
    )
    split = in_classes_of(run, split)
    rows = evenly_spread(split, options.count).chosen
    photos, true_masks = masks.pictures_and_masks(split, rows)

    def make(folder: Path | None) -> None:
        found = study.of_pixels(
            run, slid, photos, split.labels[rows], batch_size=batch_size, progress=progress
        )
        if folder is None:
            return
        seen = augment.centre(true_masks[..., None], run.input_size)[..., 0]
        write_arrays(folder / "arrays.npz", found | {"mask": seen, "validation_row": rows})
        write_json(folder / NUMBERS, masks.against_masks(found, seen))

    options = CheckOptions(len(rows), slid.square, slid.stride, slid.layer, slid.fill)
    data = {"split": "validation", "fingerprint": split.fingerprint}
    words = (f"{len(rows)}_pictures", slid.layer, slid.fill)
    return saved.made_once(
        run,
        Subject(NAME, options, words, data, version=2),  # 1 had no intervals
        make,
        command=saved.command_of(run, NAME, options, prepared_dir=prepared_dir),
    )
