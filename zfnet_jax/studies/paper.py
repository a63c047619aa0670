"""The numbers that the paper published, for tables that put ours beside them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zfnet_jax.report.table import Number

_FILE = Path(__file__).with_name("paper_tables.json")


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """One table, numbered as in arXiv 1311.2901v3.

    Attributes:
      columns: headings; the first is that of the row labels.
      rows: labels, which need not differ, and the other columns' numbers, with their spread where
        the paper gives one; None where there is none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Number | None, ...]], ...]

    def cell(self, row: str, column: str) -> Number | None:
        """The cell at a row, whose label must be unique, and a column.

        KeyError if there is no such row or column, or several.
        """
        found = [cells for label, cells in self.rows if label == row]
        if len(found) != 1 or column not in self.columns[1:]:
            raise KeyError(f"{len(found)} rows {row!r}; columns are {', '.join(self.columns[1:])}")
        return found[0][self.columns.index(column) - 1]

    def value(self, row: str, column: str) -> float:
        """The number in a cell. KeyError as in `cell`, or if there is none."""
        cell = self.cell(row, column)
        if cell is None:
            raise KeyError(f"row {row!r} has nothing in {column!r}")
        return cell.value


def table(number: int) -> PaperTable:
    """Table 1 to 7; KeyError for another number."""
    record = _published()["tables"][str(number)]
    return PaperTable(
        columns=tuple(record["columns"]),
        rows=tuple((label, tuple(map(_cell, cells))) for label, *cells in record["rows"]),
    )


def figure9() -> dict[int, float]:
    """Caltech-256 accuracy, per cent, by training images per class; most read off the plot."""
    record = _published()["figure9"]
    return dict(
        zip(record["x_train_images_per_class"], record["acc_percent_approx_pm_0.5"], strict=True)
    )


def is_like(outputs: Mapping[int, str]) -> bool:
    """Whether a net's layers are the paper's, or some of them: maps up to layer 5, dense from 6 on.

    Its layers stand beside the paper's by their numbers; those of other nets do not.

    Args:
      outputs: see `Architecture.outputs`.
    """
    return max((n for n, name in outputs.items() if not name.startswith("fc")), default=0) == 5


def _cell(number: Any) -> Number | None:
    if number is None:
        return None
    return Number(*number) if isinstance(number, list) else Number(number)


@functools.cache
def _published() -> dict[str, Any]:
    return json.loads(_FILE.read_text(encoding="utf-8"))
