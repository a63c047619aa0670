"""Tables 4 to 7 as text: the paper's accuracies and average precisions, and ours beside them.

Takes the values of `analysis.transfer_table.transfer_table`. A number that was not measured is a
dash, with a note that says why.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from zfnet_jax.report import latex
from zfnet_jax.report.table import NONE, Notes, csv_text, markdown

Table = dict[str, Any]

_CAPTIONS = {
    4: "Caltech-101: accuracy by training images per class (Table 4)",
    5: "Caltech-256: accuracy by training images per class (Table 5)",
    6: "PASCAL VOC 2012: average precision of each class (Table 6)",
    7: "Accuracy of classifiers on the features of each layer (Table 7)",
}
_FIRST = {4: "Accuracy %", 5: "Accuracy %", 6: "Average precision %", 7: "Accuracy %"}
_ACCURACY = (
    "Accuracies are means over classes, then over folds; ± is here the deviation over the folds"
)
_ABOUT = {
    4: _ACCURACY,
    5: _ACCURACY,
    6: "The paper's numbers are of the test images, ours of the validation images",
    7: f"{_ACCURACY}; rows marked as extra are not in the paper",
}


def as_files(table: Table) -> dict[str, str]:
    """The table in every form, by the ending of its file."""
    return {
        ".md": as_markdown(table),
        ".tex": as_latex(table),
        ".csv": as_csv(table),
        ".json": json.dumps(table, indent=2) + "\n",
    }


def as_markdown(table: Table) -> str:
    """The table with its notes."""
    notes = Notes()
    header, rows = _cells(table, notes)
    parts = [f"## {_CAPTIONS[table['number']]}", _about(table), markdown(header, rows)]
    if notes.texts:
        parts.append("\n".join(notes.lines()))
    return "\n\n".join(parts) + "\n"


def as_csv(table: Table) -> str:
    """One line per row: for each column the paper's number and ours, or the reason."""
    header = ["row", "extra"]
    for column in table["columns"]:
        header += [f"{column['title']} {field}" for field in _fields(column)]
    lines = [header]
    for row in table["rows"]:
        line = [row["label"], "extra" if row["extra"] else ""]
        for column, cell in zip(table["columns"], row["cells"]):
            line += cell["paper"] or [None, None]
            if column["measured"]:
                line += [*(cell["here"] or [None, None]), cell["reason"], cell["note"]]
        lines.append(line)
    return csv_text(lines)


def as_latex(table: Table) -> str:
    """A tabular for a document that uses the package booktabs."""
    notes = Notes()
    header, rows = _cells(table, notes)
    parts = [latex.PREAMBLE, latex.tabular(header, rows)]
    parts.append(latex.paragraph(f"{_CAPTIONS[table['number']]}. {_about(table)}"))
    parts += [latex.paragraph(line) for line in notes.lines()]
    return "\n\n".join(parts) + "\n"


def _cells(table: Table, notes: Notes) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    header = [_FIRST[table["number"]]]
    for column in table["columns"]:
        header.append(f"{column['title']}, paper" if column["measured"] else column["title"])
        if column["measured"]:
            header.append("here, validation" if table["number"] == 6 else "here")
    rows = []
    for row in table["rows"]:
        line = [f"{row['label']}, extra" if row["extra"] else row["label"]]
        for column, cell in zip(table["columns"], row["cells"]):
            line.append(_number(cell["paper"]))
            if column["measured"]:
                mark = cell["reason"] or cell["note"]
                line.append(_number(cell["here"]) + (f" {notes.mark(mark)}" if mark else ""))
        rows.append(line)
    return header, rows


def _fields(column: dict[str, Any]) -> tuple[str, ...]:
    theirs = ("paper", "paper spread")
    return (*theirs, "here", "here spread", "reason", "note") if column["measured"] else theirs


def _number(cell: Sequence[float | None] | None) -> str:
    if cell is None:
        return NONE
    value, spread = cell
    return f"{value:.1f}" if spread is None else f"{value:.1f} ± {spread:.1f}"


def _about(table: Table) -> str:
    setting = "; ".join(table["setting"]) or "nothing was measured"
    return f"{_ABOUT[table['number']]}. Here: {setting}."
