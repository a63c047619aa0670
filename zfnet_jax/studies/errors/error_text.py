"""Tables 2 and 3 as text: the paper's numbers, ours beside them, and which orderings hold.

Takes the values of `analysis.error_table.error_table`. A number that was not measured is a dash,
with a note that says why.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from zfnet_jax.report import latex
from zfnet_jax.report.table import NONE, Notes, csv_text, markdown

Table = dict[str, Any]

_CAPTIONS = {
    2: "Error of single nets and ensembles (Table 2)",
    3: "Error of nets with layers removed or resized (Table 3)",
}
_VERDICTS = ("as in the paper", "against the paper", "decided here alone", "undecided")


def as_files(table: Table) -> dict[str, str]:
    """The table in every form, by the ending of its file."""
    return {
        ".md": as_markdown(table),
        ".tex": as_latex(table),
        ".csv": as_csv(table),
        "-differences.csv": differences_as_csv(table),
        ".json": json.dumps(table, indent=2) + "\n",
    }


def as_markdown(table: Table) -> str:
    """The table, its notes, the differences between rows, and a count of the orderings."""
    notes = Notes()
    header, rows = _errors(table, notes)
    parts = [f"## {_caption(table)}", _setting(table), markdown(header, rows)]
    if notes.texts:
        parts.append("\n".join(notes.lines()))
    if table["differences"]:
        parts += ["### Differences, image by image", markdown(*_differences(table))]
        parts += [_about_differences(table), "\n".join(f"- {line}" for line in _orderings(table))]
    return "\n\n".join(parts) + "\n"


def as_csv(table: Table) -> str:
    """One line per row: for each column the paper's error and ours, per cent, or the reason."""
    fields = ("paper", "here", "low", "high", "reason", "note")
    header = ["row", "runs"]
    header += [f"{title} {field}" for title in table["columns"] for field in fields]
    lines = [header]
    for row in table["rows"]:
        line = [row["label"], " ".join(row["runs"])]
        for cell in row["cells"]:
            line += [cell["paper"], *(cell["here"] or [None] * 3), cell["reason"], cell["note"]]
        lines.append(line)
    return csv_text(lines)


def differences_as_csv(table: Table) -> str:
    """One line per two rows and column: the paper's difference and ours, points of per cent."""
    lines = [["column", "row", "runs", "less row", "less runs", "paper", "here", "low", "high"]]
    lines[0].append("ordering")
    for one in table["differences"]:
        pair = (table["rows"][one[end]] for end in ("row", "against"))
        names = [text for row in pair for text in (row["label"], " ".join(row["runs"]))]
        column = table["columns"][one["column"]]
        lines.append([column, *names, one["paper"], *one["here"], one["verdict"]])
    return csv_text(lines)


def as_latex(table: Table) -> str:
    """Tabulars for a document that uses the package booktabs."""
    notes = Notes()
    header, rows = _errors(table, notes, run_names=False)
    parts = [latex.PREAMBLE, latex.tabular(header, rows)]
    parts += [latex.paragraph(f"{_caption(table)}. {_setting(table)}")]
    parts += [latex.paragraph(line) for line in notes.lines()]
    if table["differences"]:
        parts += ["\\medskip", latex.tabular(*_differences(table))]
        parts += [latex.paragraph(_about_differences(table))]
        parts += [latex.paragraph(line) for line in _orderings(table)]
    return "\n\n".join(parts) + "\n"


def interval_text(values: Sequence[float], *, signed: bool = False) -> str:
    """(value, low, high) in per cent as '38.4 [37.9, 38.8]'; signed: '+0.3 [-0.1, +0.7]'."""
    value, low, high = (_decimal(number, signed=signed) for number in values)
    return f"{value} [{low}, {high}]"


def _decimal(number: float, *, signed: bool) -> str:
    rounded = round(number, 1) + 0.0  # never -0.0
    return f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"


def _errors(
    table: Table, notes: Notes, *, run_names: bool = True
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the main table."""
    level = f"[{table['options']['level']:.0%}]"
    header = ["Error %", *(["runs"] if run_names else [])]
    for title in table["columns"]:
        header += [f"{title}, paper", f"here {level}"]
    rows = []
    for row in table["rows"]:
        line = [row["label"], *([_runs(row["runs"])] if run_names else [])]
        for cell in row["cells"]:
            line.append(NONE if cell["paper"] is None else f"{cell['paper']:.1f}")
            line.append(_measured(cell, notes))
        rows.append(line)
    return header, rows


def _measured(cell: dict[str, Any], notes: Notes) -> str:
    if cell["here"] is None:
        return f"{NONE} {notes.mark(cell['reason'])}"
    text = interval_text(cell["here"])
    return f"{text} {notes.mark(cell['note'])}" if cell["note"] else text


def _differences(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each row against the one that it varies."""
    compared = [one for one in table["differences"] if one["compared"]]
    columns = sorted({one["column"] for one in compared})
    header = ["Error, points of %", "less that of"]
    for column in columns:
        header += [f"{table['columns'][column]}, paper", "here", "ordering"]
    rows = []
    for place, against in sorted({(one["row"], one["against"]) for one in compared}):
        line = [table["rows"][place]["label"], table["rows"][against]["label"]]
        for column in columns:
            cell = [o for o in compared if (o["row"], o["column"]) == (place, column)]
            if not cell:
                line += [NONE] * 3
                continue
            theirs = cell[0]["paper"]
            line.append(NONE if theirs is None else f"{theirs:+.1f}" if theirs else "0.0")
            line += [interval_text(cell[0]["here"], signed=True), cell[0]["verdict"]]
        rows.append(line)
    return header, rows


def _orderings(table: Table) -> list[str]:
    """For each column how many orderings of two rows are decided, and which oppose the paper."""
    lines = []
    for column, title in enumerate(table["columns"]):
        pairs = [one for one in table["differences"] if one["column"] == column]
        if not pairs:
            continue
        counts = {v: sum(one["verdict"] == v for one in pairs) for v in _VERDICTS}
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        line = f"{title}, all pairs of rows: {told}"
        against = [
            f"{_place(table, one['row'])} {'above' if one['here'][0] > 0 else 'below'} "
            f"{_place(table, one['against'])}"
            for one in pairs
            if one["verdict"] == "against the paper"
        ]
        lines.append(line + (f". Against the paper: {'; '.join(against)}" if against else "") + ".")
    return lines


def _about_differences(table: Table) -> str:
    options = table["options"]
    return (
        f"Intervals: {options['level']:.0%}, paired bootstrap over images, "
        f"{options['resamples']} resamples, seed {options['seed']}; where zero lies inside, the "
        "ordering is called undecided. They hold for these trained nets: what another training "
        "seed would change is not in them, nor is the number of comparisons allowed for."
    )


def _setting(table: Table) -> str:
    measured = "; ".join(table["setting"]) or "nothing was measured"
    return f"The paper: ImageNet 2012, 1000 classes. Here: {measured}."


def _caption(table: Table) -> str:
    return _CAPTIONS[table["number"]]


def _runs(runs: Sequence[str]) -> str:
    return ", ".join(runs) or NONE


def _place(table: Table, place: int) -> str:
    return "+".join(table["rows"][place]["runs"])
