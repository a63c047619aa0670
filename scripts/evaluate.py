"""Evaluates trained nets, alone and together: errors, calibration, classes, confusion.

    python -m scripts.evaluate --workdir=DIR [--workdir=DIR ...]
    python -m scripts.evaluate --sweep=DIR [--split=train --crops=1 --noprobabilities]

Every image of the split counts once; --prepared_dir measures on others, whose classes are matched
by name: all of the net's, in whatever order, or some of them. The predictions of each run go to a
folder of their own in WORKDIR/studies/errors/, where the same command again and scripts.tables find
them; its numbers and the confusion of its classes lie beside them. Several --workdir also are an
ensemble, the average of their probabilities; --out keeps it. --sweep evaluates every finished run
of a sweep's folder on its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from absl import flags

from zfnet_jax.command import outputs, shell, step_flag, study_flags
from zfnet_jax.studies.errors.options import Options, ScoreOptions

if TYPE_CHECKING:
    from zfnet_jax.report.figures import Style

_WORKDIRS = flags.DEFINE_multi_string("workdir", [], "Folder of a run; may be repeated.")
_SWEEP = flags.DEFINE_string("sweep", None, "Folder of a sweep, instead of --workdir.")
_OPTIONS = study_flags.define(Options)
_SCORES = study_flags.define(ScoreOptions)
_STEP = step_flag.define()
_OUT = flags.DEFINE_string("out", None, "Folder for the ensemble, its numbers and its figure.")
_PREPARED = flags.DEFINE_string(
    "prepared_dir", "", "Images, if not the run's: prepared, or photos in class folders."
)
_BATCH = flags.DEFINE_integer("batch_size", None, "Images per step; as the run evaluates.")
_STYLE = flags.DEFINE_enum("style", "screen", ["screen", "paper"], "How the figure looks.")


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.report.table import markdown
    from zfnet_jax.studies.errors import predictions, summary

    out = outputs.folder(_OUT.value) if _OUT.value else None
    workdirs, options, scoring = _workdirs(), _OPTIONS(), _SCORES()
    together = len(_WORKDIRS.value) > 1
    results = summary.predicted(
        workdirs,
        options,
        together=together,
        step=_STEP.value,
        prepared_dir=_PREPARED.value,
        batch_size=_BATCH.value,
    )
    if not parallel.is_writer():
        return
    rows = summary.scored(workdirs, results, scoring)
    if together:
        rows.append(summary.ensemble(rows, scoring, out))
    for row in rows:
        summary.write_scores(row, scoring)
        summary.draw_confusion(row, cast("Style", _STYLE.value))
    print(f"{options.split}, {predictions.crops_text(options.crops)} per image\n")
    print(markdown(summary.tables(rows, scoring)) + "\n")
    if lacking := summary.classes_without_images(rows[0]):
        print(lacking + "\n")
    for row in rows:
        if row.note:
            print(f"{row.name}: {row.note}")
    for row in rows:
        if row.folder:
            print(row.folder)


def _workdirs() -> list[Path]:
    from zfnet_jax import parallel
    from zfnet_jax.sweep import status

    sweep = _SWEEP.value
    if bool(_WORKDIRS.value) == bool(sweep):
        raise ValueError("give either --workdir=DIR, once or more, or --sweep=DIR")
    if _OUT.value and len(_WORKDIRS.value) < 2:
        raise ValueError("--out is for an ensemble: give --workdir at least twice")
    if not sweep:
        return [Path(path) for path in _WORKDIRS.value]
    reasons = {path: status.unfinished(path) for path in status.runs_in(sweep)}
    for path, reason in reasons.items():
        if reason and parallel.is_writer():
            print(f"left out: {path} {reason}")
    finished = [path for path, reason in reasons.items() if not reason]
    if not finished:
        raise ValueError(f"no run in {sweep} is finished")
    return finished


if __name__ == "__main__":
    shell.run(main, several=True)
