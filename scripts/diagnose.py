"""Diagnoses trained nets: dominance, spectrum, dead maps and aliasing, as a table.

python -m scripts.diagnose --workdir=DIR [--workdir=DIR ...]

The numbers of each run, at --step or its newest checkpoint that was mined, go to a folder of their
own in WORKDIR/studies/first_layers/. Where that was not mined, dead maps and aliasing stay open.
Runs whose names differ by the seed alone, as a sweep's NAME_seed_0 and NAME_seed_1, are put
together below: means, and what interval their trainings leave.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from zfnet_jax.command import inputs, shell, step_flag, study_flags
from zfnet_jax.studies.first_layers.options import Options, TableOptions

_WORKDIRS = flags.DEFINE_multi_string(
    "workdir", None, "Folder of a run; may be repeated.", required=True
)
_OPTIONS = study_flags.define(Options)
_TABLE = study_flags.define(TableOptions)
_STEP = step_flag.define("the newest that was mined")


def main() -> None:
    from zfnet_jax.report.table import markdown  # after the flags, so that --help needs nothing
    from zfnet_jax.studies.first_layers.table import diagnosis_table

    results = [_diagnose(workdir) for workdir in _WORKDIRS.value]
    print(markdown([diagnosis_table(results, _TABLE().level)]))


def _diagnose(workdir: str) -> dict[str, Any]:
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.first_layers import study

    split, step, mined = _OPTIONS().split, _STEP.value, None
    try:
        mined = inputs.mined(workdir, split, step)
    except FileNotFoundError:
        if split:
            raise
    run = open_run(workdir, mined.about["step"] if mined else step)
    return study.numbers(study.measured(run, mined))


if __name__ == "__main__":
    shell.run(main)
