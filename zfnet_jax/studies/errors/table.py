"""Tables 2 and 3 from saved predictions: errors, their intervals, and orderings of the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zfnet_jax.report.table import Cell, Column, Number, Table, Value
from zfnet_jax.runs import checkpoint
from zfnet_jax.runs.steps import Which
from zfnet_jax.studies import paper, saved
from zfnet_jax.studies.errors import paper_rows, predictions
from zfnet_jax.studies.errors.options import TableOptions
from zfnet_jax.studies.errors.paper_rows import ROWS
from zfnet_jax.studies.errors.predictions import Predictions
from zfnet_jax.studies.errors.sweep_predictions import Found, Images, infos_of, read
from zfnet_jax.studies.intervals import Interval, difference, interval
from zfnet_jax.studies.trainings import trainings

_CAPTIONS = {
    2: "Error of single nets and ensembles (Table 2)",
    3: "Error of nets with layers removed or resized (Table 3)",
}
_VERDICTS = ("as in the paper", "against the paper", "decided here alone", "undecided")


def percent(found: Sequence[float]) -> Number:
    """An interval (value, low, high) in shares of 1, as per cent."""
    value, low, high = (100 * number for number in found)
    return Number(value, low=low, high=high)


@dataclasses.dataclass(frozen=True)
class _Errors:
    """Errors [S, N] of the S nets of one row on the images of a column (of an ensemble one), or the
    reason why there are none."""

    values: np.ndarray | None = None
    reason: str | None = None
    note: str | None = None


def error_tables(
    number: int,
    sweeps: Sequence[Path],
    options: TableOptions,
    images: Images | None = None,
    step: Which | None = None,
) -> list[Table]:
    """Table 2 or 3 of the runs in the folders of sweeps: see `tables`, `sweep_predictions.read`."""
    return tables(number, read(number, sweeps, options, images, step), options)


def tables(number: int, found: Found, options: TableOptions) -> list[Table]:
    """A table of the paper with what was measured here beside it, and how its rows differ.

    Args:
      number: 2 or 3.
      found: predictions of its runs.

    Returns:
      errors, per cent, of the paper's rows; then the differences between every two rows, image by
      image, those that `paper_rows` compares first and alone to read.
    """
    columns, rows = paper_rows.COLUMNS[number], []
    errors = [[_errors(row, column, found) for column in columns] for row in ROWS[number]]
    for (label, theirs), row, line in zip(
        paper.table(number).rows, ROWS[number], errors, strict=True
    ):
        cells = (_cell(ours, one, options) for ours, one in zip(line, theirs, strict=True))
        rows.append((label, ", ".join(row.runs) or None, *cells))
    level = f"here [{options.level:.0%}]"
    main = Table(
        columns=(
            Column("Error %"),
            Column("runs", not_in=("latex",)),
            *(Column(column.title, ".1f", ours=level) for column in columns),
        ),
        rows=tuple(rows),
        caption=_CAPTIONS[number],
        setting=_setting(found),
        remarks=(*_checkpoints(found), *_left(found)),
    )
    return [main, _differences(number, errors, options)]


def verdict(here: Interval, theirs: float | None) -> str:
    """What a difference says about the paper's ordering of two rows.

    Args:
      theirs: the paper's difference, None if it has none.

    Returns:
      'undecided': zero lies in the interval; else 'as in the paper', 'against the paper', or, where
      the paper orders the rows not at all, 'decided here alone'.
    """
    if not here.decided:
        return "undecided"
    if not theirs:
        return "decided here alone"
    return "as in the paper" if (here.low > 0) == (theirs > 0) else "against the paper"


def _cell(found: _Errors, theirs: Number | None, options: TableOptions) -> Cell:
    here = None if found.values is None else percent(interval(found.values, options.level))
    return Cell(here, theirs, found.reason, found.note)


def _errors(row: paper_rows.Row, column: paper_rows.Column, found: Found) -> _Errors:
    if not row.runs:
        return _Errors(reason="published by others, no net of this code")
    if column.split is None:
        return _Errors(reason="the labels of the test images are not public")
    together = row.averaged == "probabilities"
    of_runs = _of_runs(row, column.split, found)
    there = [one for one in of_runs.values() if isinstance(one, Predictions)]
    lacking = {run: reason for run, reason in of_runs.items() if isinstance(reason, str)}
    why = _reasons(lacking)
    if len(there) < (2 if together else 1):
        return _Errors(reason=why if len(of_runs) > 1 else next(iter(lacking.values())))
    note = f"{len(there)} of {len(of_runs)} nets: {why}" if lacking else None
    if together:
        return _Errors(predictions.ensemble(there, "ensemble").errors(column.k)[None], note=note)
    errors = [one.errors(column.k) for one in there]
    if len(errors) > 1:
        alone = [100 * one.mean() for one in errors]
        spread = f"mean of {len(errors)} nets, {min(alone):.1f} to {max(alone):.1f}"
        note = f"{spread}; {note}" if note else spread
    return _Errors(np.stack(errors), note=note)


def _of_runs(row: paper_rows.Row, split: str, found: Found) -> dict[str, Predictions | str]:
    """What was found of a row's nets: all seeds of each, of an ensemble's the first."""
    runs = [run for run, of_split in found if of_split == split]
    of_nets = [trainings(net, runs) for net in row.runs]
    if row.averaged == "probabilities":
        of_nets = [seeds[:1] for seeds in of_nets]
    return {run: found[run, split] for seeds in of_nets for run in seeds}


def _reasons(lacking: dict[str, str]) -> str:
    """Runs by the reason why they are lacking, such as 'a, b not trained; c not evaluated'."""
    by_reason: dict[str, list[str]] = {}
    for run, reason in lacking.items():
        by_reason.setdefault(reason, []).append(run)
    return "; ".join(f"{', '.join(runs)} {reason}" for reason, runs in by_reason.items())


def _differences(number: int, errors: Sequence[Sequence[_Errors]], options: TableOptions) -> Table:
    """Every two rows that were measured, those that `paper_rows` compares first."""
    published, rows = paper.table(number).rows, ROWS[number]
    measured = [(at, one.title) for at, one in enumerate(paper_rows.COLUMNS[number]) if one.split]
    pairs = [(place, other) for place in range(len(rows)) for other in range(place)]
    pairs.sort(key=lambda pair: rows[pair[0]].against != pair[1])
    compared = sum(rows[place].against == other for place, other in pairs)
    lines, families = [], [_counts(errors, pairs[:compared]), _counts(errors, pairs)]
    shown = 0
    verdicts: dict[str, list[tuple[str, str]]] = {title: [] for _, title in measured}
    for number_of_pair, (place, other) in enumerate(pairs):
        family = families[number_of_pair >= compared]
        cells: list[Cell | Value] = []
        for at, title in measured:
            here, there = errors[place][at].values, errors[other][at].values
            if here is None or there is None:
                cells += [None, None]
                continue
            theirs = _less(published[place][1][at], published[other][1][at])
            ours = difference(here, there, options.level, comparisons=family[at])
            found = verdict(ours, None if theirs is None else theirs.value)
            cells += [Cell(percent(ours), theirs), found]
            above = "above" if ours.value > 0 else "below"
            told = f"{'+'.join(rows[place].runs)} {above} {'+'.join(rows[other].runs)}"
            verdicts[title].append((found, told))
        if any(cells):
            labels = (published[one][0] for one in (place, other))
            runs = (", ".join(rows[one].runs) for one in (place, other))
            lines.append((*labels, *runs, *cells))
            shown += number_of_pair < compared
    columns = [
        Column("Error, points of %"),
        Column("less that of"),
        Column("runs", not_in=("markdown", "latex")),
        Column("less those of", not_in=("markdown", "latex")),
    ]
    for _, title in measured:
        columns += [Column(title, "+.1f", ours="here"), Column(f"{title}, ordering")]
    return Table(
        columns=tuple(columns),
        rows=tuple(lines),
        name="differences",
        caption="Differences, image by image",
        remarks=(_about_differences(options, errors), *_orderings(verdicts)),
        rows_to_read=shown,
    )


def _less(one: Number | None, other: Number | None) -> Number | None:
    """A difference of the paper's numbers, which have one decimal."""
    return None if one is None or other is None else Number(round(one.value - other.value, 1))


def _orderings(verdicts: dict[str, list[tuple[str, str]]]) -> list[str]:
    """For each column how many orderings of two rows are decided, and which oppose the paper."""
    lines = []
    for title, pairs in verdicts.items():
        found = [one for one, _ in pairs]
        counts = [f"{found.count(one)} {one}" for one in _VERDICTS if one in found]
        against = "; ".join(told for one, told in pairs if one == "against the paper")
        line = f"{title}, all pairs of rows: {', '.join(counts)}."
        if pairs:
            lines.append(line + (f" Against the paper: {against}." if against else ""))
    return lines


def _counts(errors: Sequence[Sequence[_Errors]], pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Of each column, how many pairs of rows were measured in it."""
    measured = [[one.values is not None for one in row] for row in errors]
    columns = range(len(measured[0]))
    return [sum(measured[a][at] and measured[b][at] for a, b in pairs) for at in columns]


def _about_differences(options: TableOptions, errors: Sequence[Sequence[_Errors]]) -> str:
    one = any(one.values is not None and len(one.values) == 1 for row in errors for one in row)
    alone = (
        " Of a row of one training, or an ensemble, they hold for those nets: what another seed"
        " would change is not in them."
    )
    return (
        f"Intervals: {options.level:.0%} for all differences of a column at once (Bonferroni): for"
        " those that the paper compares among themselves, for the others among all. They count"
        " images, the same for both rows, and the seeds of training where a row has several."
        f"{alone * one} Where zero lies inside, the ordering is called undecided."
    )


def _checkpoints(found: Found) -> tuple[str, ...]:
    """Of runs whose newest checkpoint it is not, which one was measured."""
    there = (one for _, one in sorted(found.items()) if isinstance(one, Predictions))
    folders = {saved.run_of(one.folder): one.info["step"] for one in there if one.folder}
    notes = {folder.name: checkpoint.note(folder, step) for folder, step in folders.items()}
    return tuple(f"{run}: {note}." for run, note in notes.items() if note)


def _left(found: Found) -> tuple[str, ...]:
    """Which predictions were taken where there are others of the same checkpoint."""
    there = (one for _, one in sorted(found.items()) if isinstance(one, Predictions))
    return tuple(
        f"{one.info['run']}: {one.folder.name} is taken, not {', '.join(one.others)}, of other"
        " images or another net."
        for one in there
        if one.others and one.folder is not None
    )


def _setting(found: Found) -> str:
    """The images, crops and epochs of what was measured."""
    lines = []
    for split in ("train", "validation"):
        infos = infos_of(found, split)
        if infos:
            lines.append(
                f"{split}: {infos[0]['images']} images of {len(infos[0]['class_names'])} "
                f"classes, {predictions.crops_text(infos[0]['crops'])} each"
            )
    there = (one.info for _, one in sorted(found.items()) if isinstance(one, Predictions))
    epochs = {info["run"]: info["epochs"] for info in there}
    if len(set(epochs.values())) == 1:
        lines.append(f"{next(iter(epochs.values()))} epochs each")
    elif epochs:
        each = ", ".join(f"{run} {count}" for run, count in epochs.items())
        lines.append(f"not trained equally long, so rows compare badly; epochs: {each}")
    measured = "; ".join(lines) or "nothing was measured"
    return f"The paper: ImageNet 2012, 1000 classes. Here: {measured}."
