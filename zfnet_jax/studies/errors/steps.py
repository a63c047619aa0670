"""How often nets are right: the run's own error, its training curves, and Tables 2 and 3."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from zfnet_jax import entry, parallel
from zfnet_jax.data import splits
from zfnet_jax.studies.context import Context, other_run
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.errors import predictions, study, summary
from zfnet_jax.studies.errors.confusion import confusion
from zfnet_jax.studies.errors.options import Options, ScoreOptions, TableOptions
from zfnet_jax.studies.errors.paper_rows import ROWS
from zfnet_jax.studies.errors.scores import confusion_matrix
from zfnet_jax.studies.errors.table import error_tables
from zfnet_jax.studies.errors.training_curves import curves
from zfnet_jax.studies.options import arguments, command, content_digest, identity
from zfnet_jax.studies.saved import Result
from zfnet_jax.studies.step import Entry, Made, Step
from zfnet_jax.sweep import status
from zfnet_jax.training.metrics import read_metrics

SWEEPS = {2: "configs/ensemble.py", 3: "configs/ablations.py"}
ENTRIES = {
    2: Entry(
        "Table 2: nets and ensembles",
        "5.1",
        "Ensembles should beat their members, and ours the Krizhevsky net.",
    ),
    3: Entry(
        "Table 3: layers removed or resized",
        "5.1",
        "Removing the conv layers 3 and 4 or the dense layers 6 and 7 should cost little,"
        " removing both a lot.",
    ),
}


def training(context: Context) -> Step:
    """Curves of the training, which other nets than ours do not have."""
    path = context.workdir / "metrics.jsonl"

    def make() -> Made:
        records = read_metrics(context.workdir)
        return Made(draw(context, {"training": lambda: curves({"": records})}))

    return Step(
        "training",
        "Drawing the training curves",
        make,
        options={"metrics": content_digest(path) if path.exists() else None},
        missing=None if path.exists() else "the run's folder holds no metrics.jsonl",
        entry=Entry(
            "Training",
            "3",
            "The validation error should fall and then lie flat; where it rises again while"
            " the training error falls, the net learns its images by heart.",
            "70 epochs, the learning rate lowered by hand where the validation error stalled.",
        ),
    )


def evaluate(context: Context, scoring: ScoreOptions) -> Step:
    """The run's own error on the validation images."""
    options = Options()
    lacks, split = context.run.lacks_classes or context.lacks(options.split), None
    if not lacks:
        split = context.split(options.split)
        try:
            study.describe(context.run, split, options)
        except ValueError as error:
            lacks = str(error)

    def make() -> Made:
        result = _predicted(context, options)
        return parallel.by_writer(lambda: show(result))

    def show(result: Result) -> Made:
        (one,) = rows = summary.scored([context.workdir], [result], scoring)
        matrix = confusion_matrix(one.predictions)
        files = draw(context, {"confusion": lambda: confusion(matrix, one.class_titles)})
        files += write_tables(context, "evaluation", summary.tables(rows, scoring))
        scores = summary.write_scores(one, scoring)
        return Made([*files, *predictions.files(result), *scores])

    return Step(
        name="evaluate",
        title="Evaluating with ten crops",
        make=make,
        options={
            **identity(options),
            **identity(scoring),
            "data": split and split.fingerprint,
            **context.titles,
        },
        commands=(
            context.command("evaluate", *arguments(options), *arguments(scoring), images=True),
        ),
        images=options.crops * len(split) if split else 0,
        seconds=8,
        missing=lacks,
        entry=Entry(
            "Errors",
            "3",
            "How often the most probable class is wrong, or with more than five classes all"
            " of the first five, and which classes are taken for which.",
            "One net, ImageNet, ten crops: 38.4% top-1 and 16.5% top-5 error.",
        ),
    )


def evaluate_sweeps(sweeps: Sequence[str], options: TableOptions) -> Step:
    """Predictions of the finished runs that make rows of Tables 2 and 3."""
    missing, finished, reasons = None, [], []
    if not sweeps:
        missing = _further_nets(*SWEEPS)
    try:
        finished, reasons = _finished(sweeps)
    except OSError as error:
        missing = f"--sweep: {error}"
    if not missing and not finished:
        missing = f"--sweep: no run of Table 2 or 3 is finished ({'; '.join(reasons)})"
    # Table 2 has no errors of training images.
    of_table3 = {path for path in finished if any(row.has(path.name) for row in ROWS[3])}
    asked = [
        (workdir, one)
        for workdir in finished
        for one in options.evaluations
        if one.split != "train" or workdir in of_table3
    ]

    def make() -> Made:
        files: list[Path] = []
        for workdir, one in asked:
            files += predictions.files(_predicted(Context(workdir), one))
        return Made(files, [f"Left out: {reason}." for reason in reasons])

    images = 0
    for workdir, one in asked:
        counts = json.loads((workdir / "run.json").read_text(encoding="utf-8"))["images"]
        images += one.crops * counts[one.split]
    return Step(
        name="evaluate_sweeps",
        title="Evaluating the nets of Tables 2 and 3",
        make=make,
        options={
            "runs": [other_run(workdir) for workdir in finished],
            "evaluations": [identity(one) for one in options.evaluations],
            "data": [_images(workdir, one.split) for workdir, one in asked],
        },
        commands=tuple(
            command("evaluate", f"--sweep={sweep}", *arguments(one))
            for sweep in sweeps
            for one in options.evaluations
        ),
        images=images,
        seconds=10 * len(finished),
        missing=missing,
    )


def table(context: Context, number: int, sweeps: Sequence[str], options: TableOptions) -> Step:
    """Table 2 or 3."""
    folders = [Path(sweep) for sweep in sweeps]

    def make() -> Made:
        tables = error_tables(number, folders, options, _images)
        return Made(write_tables(context, f"table{number}", tables))

    what = {2: "errors of nets and ensembles", 3: "layers removed or resized"}[number]
    return Step(
        name=f"table{number}",
        title=f"Table {number}: {what}",
        make=make,
        needs=("evaluate_sweeps",),
        options=identity(options),
        commands=(
            command(
                "tables",
                f"--table={number}",
                *(f"--sweep={sweep}" for sweep in sweeps),
                *arguments(options),
                f"--out={context.report / 'tables'}",
            ),
        ),
        seconds=3,
        missing=None if sweeps else _further_nets(number),
        entry=ENTRIES[number],
    )


def _predicted(context: Context, options: Options) -> Result:
    split = context.split(options.split)
    return study.predicted(
        context.run, split, options, prepared_dir=context.prepared_dir, progress=False
    )


def _images(workdir: Path, split: str) -> str | None:
    """Fingerprint of a run's images as they lie now; None if they cannot be had."""
    config = ConfigDict(json.loads((workdir / "config.json").read_text(encoding="utf-8")))
    try:
        return splits.open_split(config.data, split).fingerprint
    except (ValueError, OSError):
        return None


def _further_nets(*tables: int) -> str:
    """Why these tables cannot be made of one net, and what to do."""
    commands = (
        f"{entry.typed('sweep')} --config={SWEEPS[number]} --workdir=DIR" for number in tables
    )
    return f"it needs further nets: {' and '.join(commands)}, then --sweep=DIR"


def _finished(sweeps: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Folders of finished runs that make rows of a table, and why others are left out."""
    finished, reasons = [], []
    for sweep in sweeps:
        for folder in status.runs_in(sweep):
            if not any(row.has(folder.name) for rows in ROWS.values() for row in rows):
                continue
            reason = status.unfinished(folder)
            if reason:
                reasons.append(f"{folder.name} {reason}")
            else:
                finished.append(folder)
    return finished, reasons
