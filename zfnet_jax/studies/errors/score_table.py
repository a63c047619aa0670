"""Runs evaluated on the same images, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zfnet_jax.report.table import Column, Table, Value
from zfnet_jax.studies.errors.table import percent
from zfnet_jax.studies.intervals import Interval
from zfnet_jax.training.metrics import top_ks

_TITLES = {"top1": "top-1 error", "top5": "top-5 error"}


def of_runs(names: Sequence[str], scores: Sequence[Mapping[str, Any]]) -> Table:
    """One row per run or ensemble.

    Args:
      names: of the rows.
      scores: of `studies.errors.scores.scores`.
    """
    level = scores[0]["options"]["level"]
    shown = [f"top{k}" for k in top_ks(len(scores[0]["per_class"]))]
    rows = []
    for name, score in zip(names, scores, strict=True):
        errors = (percent(score[which]) for which in shown)
        calibration = 100 * score["calibration_error"]
        rows.append((name, score["images"], score["loss"], *errors, calibration))
    return Table(
        columns=(
            Column("run"),
            Column("images"),
            Column("loss", ".3f"),
            *(Column(_title(which, level), ".1f") for which in shown),
            Column("calibration error %", ".1f"),
        ),
        rows=tuple(rows),
    )


def differences(
    names: Sequence[str], first: str, intervals: Mapping[str, Sequence[Interval]], level: float
) -> Table:
    """How much each run's errors differ from those of the run `first`, image by image.

    Args:
      names: of the other runs.
      intervals: 'top1' and perhaps 'top5', one for each name.
    """
    columns, rows = [Column(f"less {first}")], []
    for which in intervals:
        columns.append(Column(_title(which, level), "+.1f"))
        columns.append(Column(f"{_TITLES[which]} is"))
    for place, name in enumerate(names):
        row: list[Value] = [name]
        for values in intervals.values():
            row += [percent(values[place]), _verdict(values[place])]
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows), name="differences")


def _title(which: str, level: float) -> str:
    return f"{_TITLES[which]} % [{level:.0%} interval]"


def _verdict(difference: Interval) -> str:
    """'worse' or 'better' where the interval leaves no doubt, else 'undecided'."""
    if not difference.decided:
        return "undecided"
    return "worse" if difference.value > 0 else "better"
