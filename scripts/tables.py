"""Writes Tables 2 to 7 of the paper with what was measured beside the published numbers.

    python -m scripts.evaluate --sweep=runs/table3
    python -m scripts.evaluate --sweep=runs/table3 --split=train --crops=1 --noprobabilities
    python -m scripts.tables --table=3 --sweep=runs/table3 --out=FOLDER
    python -m scripts.tables --table=4 --workdir=DIR --out=FOLDER

Tables 2 and 3 come from the saved predictions of a sweep's runs (configs/ablations.py for Table 3,
configs/ensemble.py for Table 2; --sweep may be repeated), 4 to 7 from what scripts.transfer,
scripts.scratch and scripts.voc have measured of one run. Written are tableN.md, .tex, .csv and
.json, and of 2 and 3 tableN-differences.csv. What was not run is a dash with the reason. Table 1
is written by scripts.correspondence.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from zfnet_jax.command import outputs, shell, step_flag, study_flags
from zfnet_jax.studies.errors.options import TableOptions

if TYPE_CHECKING:
    from zfnet_jax.report.table import Table

_TABLE = flags.DEFINE_enum(
    "table", None, ["2", "3", "4", "5", "6", "7"], "Number in the paper.", required=True
)
_SWEEPS = flags.DEFINE_multi_string("sweep", [], "Folder of a sweep; may be repeated (2, 3).")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run (4 to 7).")
_STEP = step_flag.define("the newest that was measured")
_OUT = flags.DEFINE_string("out", None, "The folder to write into.", required=True)
_OPTIONS = study_flags.define(TableOptions)


def main() -> None:
    from zfnet_jax.report import table  # after the flags, so that --help needs no jax

    number, out = int(_TABLE.value), outputs.folder(_OUT.value)
    tables = _errors(number) if number in (2, 3) else _transfer(number)
    print(table.markdown(tables) + "\n")
    for path in table.write(out, f"table{number}", tables):
        print(path)


def _errors(number: int) -> list[Table]:
    """Table 2 or 3."""
    from zfnet_jax.studies.errors.table import error_tables

    if not _SWEEPS.value:
        raise ValueError(f"table {number} needs --sweep")
    sweeps = [Path(path) for path in _SWEEPS.value]
    for sweep in sweeps:
        if not sweep.is_dir():
            raise FileNotFoundError(f"there is no sweep in {sweep}")
    return error_tables(number, sweeps, _OPTIONS(), step=_STEP.value)


def _transfer(number: int) -> list[Table]:
    """Table 4, 5, 6 or 7."""
    from zfnet_jax.runs import checkpoint
    from zfnet_jax.studies.transfer.table import transfer_table

    if not _WORKDIR.value:
        raise ValueError(f"table {number} needs --workdir")
    if not Path(_WORKDIR.value).is_dir():
        raise FileNotFoundError(f"there is no run in {_WORKDIR.value}")
    step = checkpoint.step_of(_WORKDIR.value, _STEP.value)
    return [transfer_table(number, Path(_WORKDIR.value), step)]


if __name__ == "__main__":
    shell.run(main)
