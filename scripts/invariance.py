"""Measures how features and the answer change as photos are moved, enlarged and turned.

python -m scripts.invariance --workdir=DIR [--image=PHOTO --label=CLASS ...] [--summary=N]

The curves of the paper's Fig. 5, for each photo named and over N images of a split, go to
WORKDIR/analysis/invariance/. Without --label a photo's class is the name of its folder. A range is
FIRST:LAST:STEP; the paper's stand for those not given, "" leaves a transformation out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from zfnet_jax.command import inputs, processes, shell

if TYPE_CHECKING:
    from zfnet_jax.studies.invariance.measure import Sweeps
    from zfnet_jax.studies.invariance.transforms import Kind

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_IMAGES = flags.DEFINE_multi_string("image", [], "A photo; may be repeated.")
_LABELS = flags.DEFINE_multi_string("label", [], "Its class; one for each photo.")
_SUMMARY = flags.DEFINE_integer(
    "summary", 0, "Images of the split to summarise, evenly spread; at most all.", lower_bound=0
)
_SPLIT = flags.DEFINE_enum("split", "validation", ["train", "validation"], "To summarise.")
_PREPARED = flags.DEFINE_string("prepared_dir", None, "Prepared images, if not the run's.")
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
_LAYERS = flags.DEFINE_multi_string(
    "layer", [], "An activation such as pool1, conv5 or fc7; the outputs of layers 1 and 7."
)
_RANGES: dict[Kind, flags.FlagHolder[str | None]] = {
    "vertical": flags.DEFINE_string("vertical", None, "Shifts, pixels, positive is down."),
    "horizontal": flags.DEFINE_string("horizontal", "", "Shifts, pixels, positive is right."),
    "scale": flags.DEFINE_string("scale", None, "Factors, above 1 enlarges."),
    "rotation": flags.DEFINE_string("rotation", None, "Degrees, anticlockwise."),
}

_MOST = 10_000  # amounts of a range; more is a slip of the pen


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.report.table import markdown
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.invariance import measure as invariance
    from zfnet_jax.studies.invariance import study as invariance_study
    from zfnet_jax.studies.invariance.statistics import statistics
    from zfnet_jax.studies.invariance.table import invariance_tables

    if not _IMAGES.value and not _SUMMARY.value:
        raise ValueError("invariance needs at least one image: give --image or --summary")
    processes.join()
    run = open_run(_WORKDIR.value, _STEP.value)
    layers = _LAYERS.value or invariance.first_and_last(run.architecture)
    sweeps = _sweeps(invariance.paper_sweeps(run.config.augment.crop))
    progress, studies = parallel.is_writer(), []
    if _IMAGES.value:
        studies.append(
            invariance_study.study_photos(
                run, _IMAGES.value, _LABELS.value, sweeps, layers, progress=progress
            )
        )
    if _SUMMARY.value:
        split = inputs.open_split(run, _SPLIT.value, _PREPARED.value)
        studies.append(
            invariance_study.study_split(
                run, split, _SPLIT.value, _SUMMARY.value, sweeps, layers, progress=progress
            )
        )
    if parallel.is_writer():
        for path, arrays in studies:
            images = len(arrays["labels"])
            print(f"step {run.step}: {path}, {images} image{'s' * (images > 1)}\n")
            print(markdown(invariance_tables(statistics(arrays))) + "\n")


def _sweeps(paper: Sweeps) -> Sweeps:
    sweeps: dict[Kind, np.ndarray] = {}
    for kind, flag in _RANGES.items():
        if flag.value is None:
            sweeps[kind] = paper[kind]
        elif flag.value:
            sweeps[kind] = _range(kind, flag.value)
    return sweeps


def _range(kind: str, text: str) -> np.ndarray:
    """'-60:60:5' as amounts, the last included; a single number is that amount alone."""
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        return np.array(numbers)
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise ValueError(f"--{kind}={text}: a range is FIRST:LAST:STEP, such as 1:1.8:0.05")
    first, last, step = numbers
    if step <= 0 or last < first:
        raise ValueError(f"--{kind}={text} is empty: LAST must not be below FIRST, STEP be above 0")
    count = int((last - first) / step + 1e-6) + 1
    if count > _MOST:
        raise ValueError(f"--{kind}={text}: {count} amounts, more than {_MOST}: enlarge STEP")
    return first + step * np.arange(count)


if __name__ == "__main__":
    shell.run(main)
