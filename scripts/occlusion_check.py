"""Checks occlusion against the built-in pictures' masks: does covering the object cost most?

python -m scripts.occlusion_check --workdir=DIR [--images=200]

Over validation pictures of a run that was trained on the built-in pictures, evenly spread over the
split: the mean drop of the true class's probability where the square covers the object and where
it misses it, and whether the strongest drop of the strongest map's activity falls on the object,
with 95% intervals over pictures. The numbers go to a folder of their own in
WORKDIR/studies/occlusion_check/, the arrays beside them.
"""

from __future__ import annotations

import json

from absl import flags

from zfnet_jax.command import shell, step_flag, study_flags
from zfnet_jax.studies.occlusion.options import CheckOptions

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OPTIONS = study_flags.define(CheckOptions)
_STEP = step_flag.define()
_PREPARED = flags.DEFINE_string(
    "prepared_dir", None, "Images, if not the run's: prepared, or photos in class folders."
)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Squares per step.", lower_bound=1)


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies import images
    from zfnet_jax.studies.occlusion import check

    run = open_run(_WORKDIR.value, _STEP.value)
    split = images.open_split(run, "validation", _PREPARED.value)
    result = check.measured(
        run,
        split,
        _OPTIONS(),
        batch_size=_BATCH.value,
        prepared_dir=_PREPARED.value,
        progress=parallel.is_writer(),
    )
    if not parallel.is_writer():
        return
    print(f"{run.checkpoint}: {result.folder}")
    numbers = json.loads((result.folder / check.NUMBERS).read_text(encoding="utf-8"))
    for name, value in numbers.items():
        print(f"{name:28s} {_text(value)}")


def _text(value: list[float] | int | None) -> str:
    """A count, or a mean and its interval."""
    if not isinstance(value, list):
        return str(value)
    mean, low, high = value
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    shell.run(main, several=True)
