"""How often nets are right: the run's own error, its training curves, and Tables 2 and 3."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zfnet_jax.files import write_json
from zfnet_jax.reproduce.study import (
    BINS,
    CROPS,
    LEVEL,
    SEED,
    Study,
    content_digest,
    other_run,
)
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.errors import evaluation, evaluation_table, predictions
from zfnet_jax.studies.errors.confusion import confusion
from zfnet_jax.studies.errors.curves import curves
from zfnet_jax.studies.errors.paper_rows import ROWS
from zfnet_jax.studies.errors.scores import confusion_matrix, scores
from zfnet_jax.studies.errors.table import Options, error_tables
from zfnet_jax.studies.step import Entry, Made, Step
from zfnet_jax.sweep import status
from zfnet_jax.training.evaluation import Crops
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


def training(study: Study) -> Step:
    """Curves of the training, which other nets than ours do not have."""
    path = study.workdir / "metrics.jsonl"

    def make() -> Made:
        records = read_metrics(study.workdir)
        return Made(draw(study, {"training": lambda: curves({"": records})}))

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


def evaluate(study: Study) -> Step:
    lacks, split = study.lacks("validation"), None
    if not lacks:
        split = study.split("validation")
        try:
            evaluation.describe(study.run, split, "validation", CROPS)
        except ValueError as error:
            lacks = str(error)
    bootstrap = {"level": LEVEL, "resamples": study.effort.resamples, "seed": SEED}

    def make() -> Made:
        path = _evaluate(study, "validation", CROPS, probabilities=True)
        found = predictions.load(path, probabilities=False)
        score = scores(found, bins=BINS, **bootstrap)
        write_json(path.with_suffix(".json"), found.info | {"scores": score})
        matrix, names = confusion_matrix(found), found.info["class_names"]
        files = draw(study, {"confusion": lambda: confusion(matrix, names)})
        name = study.workdir.resolve().name
        files += write_tables(study, "evaluation", [evaluation_table.evaluation([name], [score])])
        return Made([*files, path, path.with_suffix(".json")])

    return Step(
        name="evaluate",
        title="Evaluating with ten crops",
        make=make,
        options={"data": split and split.fingerprint, "bins": BINS, **bootstrap},
        commands=(study.command("evaluate", f"--resamples={study.effort.resamples}", images=True),),
        images=CROPS * len(split) if split else 0,
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


def evaluate_sweeps(study: Study) -> Step:
    """Predictions of the finished runs that make rows of Tables 2 and 3."""
    missing, finished, reasons, crops = None, [], [], study.effort.crops
    if not study.sources.sweeps:
        missing = _further_nets(*SWEEPS)
    try:
        finished, reasons = _finished(study.sources.sweeps)
    except OSError as error:
        missing = f"--sweep: {error}"
    # Table 2 has no errors of training images.
    of_table3 = {path for path in finished if any(path.name in row.runs for row in ROWS[3])}
    if not missing and not finished:
        missing = f"--sweep: no run of Table 2 or 3 is finished ({'; '.join(reasons)})"

    def make() -> Made:
        files: list[Path] = []
        for workdir in finished:
            one = Study(workdir)
            files.append(_evaluate(one, "validation", crops, probabilities=True))
            if workdir in of_table3:
                files.append(_evaluate(one, "train", 1, probabilities=False))
        return Made(files, [f"Left out: {reason}." for reason in reasons])

    images = 0
    for workdir in finished:
        counts = json.loads((workdir / "run.json").read_text(encoding="utf-8"))["images"]
        images += crops * counts["validation"] + counts["train"] * (workdir in of_table3)
    commands = []
    for sweep in study.sources.sweeps:
        evaluation_of = f"python -m scripts.evaluate --sweep={sweep}"
        commands += [
            f"{evaluation_of} --crops={crops}",
            f"{evaluation_of} --split=train --crops=1 --noprobabilities",
        ]
    return Step(
        name="evaluate_sweeps",
        title="Evaluating the nets of Tables 2 and 3",
        make=make,
        options={"runs": [other_run(workdir) for workdir in finished], "crops": crops},
        commands=tuple(commands),
        images=images,
        seconds=10 * len(finished),
        missing=missing,
    )


def error_table_step(study: Study, number: int) -> Step:
    """Table 2 or 3."""
    sweeps = [Path(sweep) for sweep in study.sources.sweeps]
    resamples, crops = study.effort.resamples, study.effort.crops
    options = Options(crops=crops, train_crops=1, level=LEVEL, resamples=resamples, seed=SEED)

    def make() -> Made:
        return Made(write_tables(study, f"table{number}", error_tables(number, sweeps, options)))

    named = " ".join(f"--sweep={sweep}" for sweep in sweeps) or "--sweep=DIR"
    what = {2: "errors of nets and ensembles", 3: "layers removed or resized"}[number]
    return Step(
        name=f"table{number}",
        title=f"Table {number}: {what}",
        make=make,
        needs=("evaluate_sweeps",),
        options={"level": LEVEL, "resamples": resamples, "seed": SEED},
        commands=(
            f"python -m scripts.tables --table={number} {named} --crops={crops}"
            f" --resamples={resamples} --out={study.report / 'tables'}",
        ),
        seconds=3,
        missing=None if sweeps else _further_nets(number),
        entry=ENTRIES[number],
    )


def _further_nets(*tables: int) -> str:
    """Why these tables cannot be made of one net, and what to do."""
    commands = (
        f"python -m scripts.sweep --config={SWEEPS[number]} --workdir=DIR" for number in tables
    )
    return f"it needs further nets: {' and '.join(commands)}, then --sweep=DIR"


def _evaluate(study: Study, split_name: str, crops: Crops, *, probabilities: bool) -> Path:
    split = study.split(split_name)
    info: dict[str, Any] = evaluation.describe(study.run, split, split_name, crops)
    evaluation.evaluate(
        study.run,
        split,
        info,
        batch_size=study.run.config.eval_batch_size,
        probabilities=probabilities,
        progress=False,
    )
    return predictions.path_of(study.workdir, split_name, study.run.step, crops)


def _finished(sweeps: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Folders of finished runs that make rows of a table, and why others are left out."""
    wanted = {run for rows in ROWS.values() for row in rows for run in row.runs}
    finished, reasons = [], []
    for sweep in sweeps:
        for folder in status.runs_in(sweep):
            if folder.name not in wanted:
                continue
            reason = status.unfinished(folder)
            if reason:
                reasons.append(f"{folder.name} {reason}")
            else:
                finished.append(folder)
    return finished, reasons
