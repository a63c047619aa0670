"""Tables 2 and 3 from saved predictions: errors, their intervals, and orderings of the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.studies import paper
from zfnet_jax.studies.errors import predictions
from zfnet_jax.studies.errors.bootstrap import interval
from zfnet_jax.studies.errors.paper_rows import COLUMNS, ROWS, Column, Row
from zfnet_jax.studies.errors.predictions import Predictions
from zfnet_jax.studies.errors.progress import unfinished


@dataclasses.dataclass(frozen=True)
class Options:
    """How a table is made.

    Attributes:
      crops, train_crops: of the evaluations on validation and on training images.
      level, resamples, seed: see `bootstrap.interval`.
    """

    crops: int
    train_crops: int
    level: float
    resamples: int
    seed: int

    def interval(self, values: np.ndarray) -> list[float]:
        """[value, low, high] in per cent."""
        found = interval(values, level=self.level, resamples=self.resamples, seed=self.seed)
        return [100 * number for number in found]


@dataclasses.dataclass(frozen=True)
class _Cell:
    """Errors [N] of one row on the images of a column, or the reason why there are none."""

    errors: np.ndarray | None = None
    reason: str | None = None
    note: str | None = None


def error_table(number: int, sweeps: Sequence[Path], options: Options) -> dict[str, Any]:
    """A table of the paper with what was measured here beside it, as JSON values.

    Args:
      number: 2 or 3.
      sweeps: folders that hold the runs' folders, named as in `paper_rows`.

    Returns:
      'number', 'options', 'columns' (titles);
      'rows': each 'label', 'runs', and 'cells', for each column 'paper' (per cent or None), 'here'
      ([value, low, high] per cent, or None), 'reason' for None, and 'note';
      'differences': of every two rows that were measured, in each column: 'column', 'row',
      'against' (places), 'paper' (per cent or None), 'here' [value, low, high], 'verdict' (see
      `verdict`), and whether the row is 'compared' with that one in `paper_rows`;
      'setting': lines on what was measured.

    Raises:
      ValueError: runs that do not match, naming fields; or two sweeps hold a run of one name.
    """
    published, columns, rows = paper.table(number), COLUMNS[number], ROWS[number]
    saved = _Saved(sweeps, options)
    table: dict[str, Any] = {
        "number": number,
        "options": dataclasses.asdict(options),
        "columns": [column.title for column in columns],
        "rows": [
            {"label": label, "runs": row.runs} for (label, _), row in zip(published.rows, rows)
        ],
        "differences": [],
    }
    cells = [[_cell(row, column, saved) for column in columns] for row in rows]
    saved.check_match()
    places = [published.columns.index(column.title) - 1 for column in columns]
    known = [[_value(line[place]) for place in places] for _, line in published.rows]
    for line, record, numbers in zip(cells, table["rows"], known, strict=True):
        record["cells"] = [
            {
                "paper": number,
                "here": None if cell.errors is None else options.interval(cell.errors),
                "reason": cell.reason,
                "note": cell.note,
            }
            for cell, number in zip(line, numbers, strict=True)
        ]
    for column in range(len(columns)):
        errors = [line[column].errors for line in cells]
        measured = [(place, own) for place, own in enumerate(errors) if own is not None]
        for place, of_row in measured:
            for other, of_other in measured:
                if other >= place:
                    continue
                here = options.interval(of_row - of_other)
                one, two, theirs = known[place][column], known[other][column], None
                if one is not None and two is not None:
                    theirs = round(one - two, 1)
                table["differences"].append(
                    {
                        "column": column,
                        "row": place,
                        "against": other,
                        "paper": theirs,
                        "here": here,
                        "verdict": verdict(here, theirs),
                        "compared": rows[place].against == other,
                    }
                )
    return table | {"setting": saved.setting()}


def _value(cell: paper.Cell | None) -> float | None:
    return None if cell is None else cell.value


def verdict(here: Sequence[float], theirs: float | None) -> str:
    """What a difference says about the paper's ordering of two rows.

    Args:
      here: (value, low, high).
      theirs: the paper's difference, None if it has none.

    Returns:
      'undecided': zero lies in the interval; else 'as in the paper', 'against the paper', or, where
      the paper orders the rows not at all, 'decided here alone'.
    """
    _, low, high = here
    if low <= 0 <= high:
        return "undecided"
    if not theirs:
        return "decided here alone"
    return "as in the paper" if (low > 0) == (theirs > 0) else "against the paper"


class _Saved:
    """The predictions of the runs in some sweeps' folders, each read once."""

    def __init__(self, sweeps: Sequence[Path], options: Options) -> None:
        self._sweeps, self._options = sweeps, options
        self._read: dict[tuple[str, str], Predictions | str] = {}

    def get(self, run: str, split: str, *, probabilities: bool) -> Predictions | str:
        """Predictions of a run's end on a split, or why there are none."""
        key = (run, split)
        found = self._read.get(key)
        if found is None or (
            probabilities and not isinstance(found, str) and found.probabilities is None
        ):
            found = self._read[key] = self._load(run, split, probabilities)
        return found

    def check_match(self) -> None:
        """ValueError unless all that was read for a split compares."""
        for split in ("train", "validation"):
            infos = self._infos(split)
            if infos:
                predictions.check_match(infos)

    def setting(self) -> list[str]:
        """Lines on the images, crops and epochs of what was read."""
        lines = []
        for split in ("train", "validation"):
            infos = self._infos(split)
            if infos:
                crops = infos[0]["crops"]
                lines.append(
                    f"{split}: {infos[0]['images']} images of {len(infos[0]['class_names'])} "
                    f"classes, {crops} crop{'s' * (crops > 1)} each"
                )
        epochs = {info["run"]: info["epochs"] for _, info in sorted(self._all())}
        if len(set(epochs.values())) == 1:
            lines.append(f"{next(iter(epochs.values()))} epochs each")
        elif epochs:
            each = ", ".join(f"{run} {count}" for run, count in epochs.items())
            lines.append(f"not trained equally long, so rows compare badly; epochs: {each}")
        return lines

    def _all(self) -> list[tuple[tuple[str, str], dict[str, Any]]]:
        return [(k, one.info) for k, one in self._read.items() if isinstance(one, Predictions)]

    def _infos(self, split: str) -> list[dict[str, Any]]:
        return [info for (_, of_split), info in self._all() if of_split == split]

    def _load(self, run: str, split: str, probabilities: bool) -> Predictions | str:
        folders = [sweep / run for sweep in self._sweeps if (sweep / run).is_dir()]
        if len(folders) > 1:
            raise ValueError(f"{' and '.join(map(str, folders))}: two runs of one name")
        if not folders:
            return "not trained"
        reason = unfinished(folders[0])
        if reason:
            return reason
        crops = self._options.train_crops if split == "train" else self._options.crops
        steps = predictions.evaluated_steps(folders[0], split, crops)
        if not steps:
            images = {"train": "training", "validation": "validation"}[split]
            return f"not evaluated on {images} images with {crops} crop{'s' * (crops > 1)}"
        found = predictions.load(steps[max(steps)], probabilities=probabilities)
        epoch, epochs = found.info["epoch"], found.info["epochs"]
        if epoch is not None and epoch < epochs:
            return f"evaluated only after {epoch:g} of {epochs} epochs"
        return found


def _cell(row: Row, column: Column, saved: _Saved) -> _Cell:
    if not row.runs:
        return _Cell(reason="published by others, no net of this code")
    if column.split is None:
        return _Cell(reason="the labels of the test images are not public")
    together = row.averaged == "probabilities"
    found = {run: saved.get(run, column.split, probabilities=together) for run in row.runs}
    there = [one for one in found.values() if isinstance(one, Predictions)]
    lacking = {run: reason for run, reason in found.items() if isinstance(reason, str)}
    why = _reasons(lacking)
    if len(there) < (2 if together else 1):
        return _Cell(reason=why if len(found) > 1 else lacking[row.runs[0]])
    note = f"{len(there)} of {len(found)} nets: {why}" if lacking else None
    if together:
        return _Cell(predictions.ensemble(there, "ensemble").errors(column.k), note=note)
    predictions.check_match([one.info for one in there])
    errors = [one.errors(column.k) for one in there]
    if len(errors) > 1:
        alone = [100 * one.mean() for one in errors]
        spread = f"mean of {len(errors)} nets, {min(alone):.1f} to {max(alone):.1f}"
        note = f"{spread}; {note}" if note else spread
    return _Cell(np.mean(errors, axis=0), note=note)


def _reasons(lacking: dict[str, str]) -> str:
    """Runs by the reason why they are lacking, such as 'a, b not trained; c not evaluated'."""
    by_reason: dict[str, list[str]] = {}
    for run, reason in lacking.items():
        by_reason.setdefault(reason, []).append(run)
    return "; ".join(f"{', '.join(runs)} {reason}" for reason, runs in by_reason.items())
