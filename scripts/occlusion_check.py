"""Checks occlusion against the built-in pictures' masks: does covering the object cost most?

python -m scripts.occlusion_check --workdir=DIR [--images=200]

Over validation pictures of a run that was trained on the built-in pictures, evenly spread over the
split: the mean drop of the true class's probability where the square covers the object and where
it misses it, and whether the strongest drop of the strongest map's activity falls on the object.
The numbers go to WORKDIR/analysis/occlusion/masks-STEP.json, the arrays beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from zfnet_jax.command import inputs, processes, shell

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_IMAGES = flags.DEFINE_integer("images", 200, "Validation pictures; at most all.", lower_bound=1)
_SQUARE = flags.DEFINE_integer("square", None, "Side, pixels; 48 of 224 if not given.")
_STRIDE = flags.DEFINE_integer("stride", None, "Pixels between positions; 8 of 224.")
_LAYER = flags.DEFINE_string("layer", None, "Whose strongest map; the last conv layer.")
_FILL = flags.DEFINE_enum("fill", "grey", ["grey", "mean", "blur", "noise"], "The square shows.")
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
_PREPARED = flags.DEFINE_string("prepared_dir", None, "Prepared images, if not the run's.")
_BATCH = flags.DEFINE_integer("batch_size", 32, "Squares per step.", lower_bound=1)


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.data import augment
    from zfnet_jax.files import write_arrays, write_json
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.occlusion import masks as occlusion_masks
    from zfnet_jax.studies.occlusion import study as occlusion_study
    from zfnet_jax.studies.occlusion.measure import occlude

    processes.join()
    run = open_run(_WORKDIR.value, _STEP.value)
    split = inputs.open_split(run, "validation", _PREPARED.value)
    count = min(_IMAGES.value, len(split))
    rows = np.arange(count) * len(split) // count
    photos, masks = occlusion_masks.pictures_and_masks(split, rows)
    square, stride = occlusion_study.paper_sizes(run)
    options: dict[str, Any] = {
        "square": square if _SQUARE.value is None else _SQUARE.value,
        "stride": stride if _STRIDE.value is None else _STRIDE.value,
        "layer": _LAYER.value or run.architecture.convs[-1].name,
        "fill": _FILL.value,
        "seed": 0,
    }
    found = occlude(
        run,
        photos,
        split.labels[rows],
        **options,
        batch_size=_BATCH.value,
        progress=parallel.is_writer(),
    )
    if not parallel.is_writer():
        return
    seen = augment.centre(masks[..., None], run.input_size)[..., 0]
    numbers = occlusion_masks.against_masks(found, seen)
    path = Path(_WORKDIR.value) / "analysis" / "occlusion" / f"masks-{run.step}.npz"
    write_arrays(path, found | {"mask": seen, "validation_row": rows})
    made_from = {"split": "validation", "data": split.fingerprint}
    made_from |= occlusion_study.describe(run, options)
    write_json(path.with_suffix(".json"), numbers | made_from)
    print(f"step {run.step}: {path}")
    for name, value in numbers.items():
        print(f"{name:28s} {value if value is None or isinstance(value, int) else f'{value:.3f}'}")


if __name__ == "__main__":
    shell.run(main)
