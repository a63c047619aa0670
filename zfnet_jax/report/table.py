"""A table: what was measured, beside the paper's numbers where it has some, in every form.

    study's results -> Table -> Markdown, LaTeX, HTML (to read), CSV, JSON (to compute with)

A number that was not measured is a dash, with a note under the table that says why.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from markdown_it import MarkdownIt

from zfnet_jax import names
from zfnet_jax.files import write_text

NONE = "-"
Form = Literal["markdown", "latex"]


@dataclasses.dataclass(frozen=True)
class Number:
    """A number, its spread (plus-minus) or the interval [low, high] that it lies in."""

    value: float
    spread: float | None = None
    low: float | None = None
    high: float | None = None


Value = str | float | Number | None


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell with more to say than a value.

    Attributes:
      here: what was measured or is told; None if nothing was.
      paper: what the paper has.
      reason: why nothing was measured.
      note: what else is to be known of what was.
    """

    here: Value = None
    paper: Number | None = None
    reason: str | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """A column, or two: the paper's numbers and ours.

    Attributes:
      title: heading, unlike those of the other columns.
      format: of its numbers, such as '.1f', '+.1f' (signed) or '.1%'.
      ours: heading of our numbers, where the paper's stand before them; None if they do not.
      not_in: forms that have no room for it: 'latex', 'markdown'.
    """

    title: str
    format: str = ""
    ours: str | None = None
    not_in: tuple[Form, ...] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      columns: the first names the rows.
      rows: of each a cell, or its value alone, for every column.
      name: of its CSV file among others of the same result; '' for the first or only one.
      caption: what it shows.
      setting: what was measured, in a line above it.
      remarks: lines below it.
      rows_to_read: the first so many are shown to readers, CSV and JSON hold all; None: all are.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell | Value, ...], ...]
    name: str = ""
    caption: str = ""
    setting: str = ""
    remarks: tuple[str, ...] = ()
    rows_to_read: int | None = None

    def __post_init__(self) -> None:
        titles = [column.title for column in self.columns]
        if len(set(titles)) < len(titles):
            raise ValueError(f"two columns have one title: {', '.join(titles)}")
        for row in self.rows:
            if len(row) != len(titles):
                raise ValueError(f"{len(row)} cells for {len(titles)} columns: {row}")


# To read.


def markdown(tables: Sequence[Table]) -> str:
    """Tables one below the other, each first column left-aligned and the others right-aligned."""
    parts = []
    for table in tables:
        header, lines, notes = _shown(table, "markdown")
        if not lines:
            continue
        rule = ["---"] + ["---:"] * (len(header) - 1)
        if table.caption:
            parts.append(f"{'###' if table.name else '##'} {_in_markdown(table.caption)}")
        rows = [
            f"| {' | '.join(cells)} |"
            for cells in ([*map(_in_markdown, line)] for line in (header, rule, *lines))
        ]
        setting, *remarks = map(_in_markdown, (table.setting, *table.remarks))
        notes = [*map(_in_markdown, notes)]
        remarks = [f"- {line}" for line in remarks]
        parts += ["\n".join(part) for part in ([setting], rows, notes, remarks) if any(part)]
    return "\n\n".join(parts)


def latex(tables: Sequence[Table]) -> str:
    """Tabulars for a document that uses the package booktabs, their captions and notes below."""
    parts = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        header, lines, notes = _shown(table, "latex")
        if not lines:
            continue
        head, *body = (f"{' & '.join(map(_in_latex, line))} \\\\" for line in (header, *lines))
        begin = f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}"
        rows = [begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
        caption = table.caption and f"{table.caption}."
        about = [" ".join(filter(None, (caption, table.setting))), *notes, *table.remarks]
        parts += [r"\medskip"] * (len(parts) > 1) + ["\n".join(rows)]
        parts += [f"\\par\\noindent {_in_latex(line)}" for line in about if line]
    return "\n\n".join(parts)


def html(text: str) -> str:
    """`markdown` of tables as HTML: headings, lists, paragraphs and tables; all else is text."""
    return _parser().render(text)


@functools.cache
def _parser() -> MarkdownIt:
    # 'zero' knows nothing but paragraphs: no links, no pictures, no HTML.
    parser = MarkdownIt("zero", {"breaks": True})  # numbered notes have a line each
    parser.enable(["table", "heading", "list", "escape", "newline"])
    parser.add_render_rule("table_open", lambda *_: '<div class="table"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    parser.add_render_rule("heading_open", lambda *_: "<h4>")
    parser.add_render_rule("heading_close", lambda *_: "</h4>\n")
    return parser


def _shown(table: Table, form: Form) -> tuple[list[str], list[list[str]], list[str]]:
    """Headings, lines of cells, and notes, each text once and numbered in the order of cells."""
    header, lines, notes = [], [], {}
    shown = [(at, column) for at, column in enumerate(table.columns) if form not in column.not_in]
    for _, column in shown:
        title = column.title
        header += [title] if column.ours is None else [f"{title}, paper", column.ours]
    for row in table.rows[: table.rows_to_read]:
        line = []
        for at, column in shown:
            cell = _cell(row[at])
            if column.ours is not None:
                line.append(_text(cell.paper, column.format))
            text, told = _text(cell.here, column.format), cell.reason or cell.note
            if told:
                text += f" ({notes.setdefault(told, len(notes) + 1)})"
            line.append(text)
        lines.append(line)
    return header, lines, [f"({number}) {told}" for told, number in notes.items()]


def _cell(value: Cell | Value) -> Cell:
    return value if isinstance(value, Cell) else Cell(value)


def _text(value: Value, spec: str) -> str:
    if value is None:
        return NONE
    if isinstance(value, str):
        return names.line(value)
    if not isinstance(value, Number):
        text = format(value, spec)
        # Zero has no sign, nor has what rounds to it.
        return text if text.strip("+-0.%") else text.lstrip("+-")
    text = _text(value.value, spec)
    if value.spread is not None:
        text += f" ± {_text(value.spread, spec.lstrip('+'))}"
    if value.low is not None:
        text += f" [{_text(value.low, spec)}, {_text(value.high, spec)}]"
    return text


# What Markdown, mathematics in it, or HTML would act on; not a number's minus, brackets or percent.
_MARKDOWN = re.compile(r"[\\|<`*~$]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[])|&(?=#?\w+;)")


def _in_markdown(text: str) -> str:
    """A line of text, such as a cell, which Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", names.line(text))


_LATEX = {character: f"\\{character}" for character in "&%_#${}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$"}


def _in_latex(text: str) -> str:
    """Text with LaTeX's own characters escaped; a dash, minuses and plus-minus as such."""
    text = names.line(text).translate(str.maketrans(_LATEX))
    text = re.sub(r"(?<!\w)-(?=\d)", "$-$", text)
    text = re.sub("-(?=-)", "-{}", text)  # two hyphens would be a dash
    text = re.sub(r"\A(?=[\[*])", "{}", text)  # or they belong to the end of the line before
    return "-" + text if text == NONE or text.startswith(f"{NONE} (") else text


# To compute with.


def csv_text(table: Table) -> str:
    """One line per row.

    A column has the field TITLE, and those of TITLE spread, low, high, reason and note that it
    needs; one with the paper's numbers all of these, TITLE here, paper and paper spread.
    """
    fields: dict[str, list[Any]] = {}
    for place, column in enumerate(table.columns):
        cells = [_fields(row[place]) for row in table.rows]
        for name in _fields(None):
            values = [cell[name] for cell in cells]
            if column.ours is not None:
                fields[f"{column.title} {name}"] = values
            elif name == "here":
                fields[column.title] = values
            elif any(value is not None for value in values):
                fields[f"{column.title} {name}"] = values
    text = io.StringIO()
    for row in ([*fields], *zip(*fields.values(), strict=True)):
        # A carriage return ends a line for those who read it, but Python quotes none.
        returns = any(isinstance(cell, str) and "\r" in cell for cell in row)
        quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
        csv.writer(text, lineterminator="\n", quoting=quoting).writerow(row)
    return names.encodable(text.getvalue())


def _fields(value: Cell | Value) -> dict[str, Any]:
    cell = _cell(value)
    of: tuple[Any, Any] = (cell.paper, cell.here)
    paper, here = (one if isinstance(one, Number) else Number(one) for one in of)
    return {
        "paper": paper.value,
        "paper spread": paper.spread,
        "here": here.value,
        "spread": here.spread,
        "low": here.low,
        "high": here.high,
        "reason": cell.reason,
        "note": cell.note,
    }


def to_json(table: Table) -> dict[str, Any]:
    """JSON values that `from_json` reads; what is None is left out."""
    return dataclasses.asdict(
        table, dict_factory=lambda items: {name: one for name, one in items if one is not None}
    )


def from_json(record: Mapping[str, Any]) -> Table:
    """The table of `to_json`."""
    values: dict[str, Any] = {**record, "remarks": tuple(record["remarks"])}
    values["columns"] = tuple(
        Column(**one | {"not_in": tuple(one["not_in"])}) for one in record["columns"]
    )
    values["rows"] = tuple(tuple(map(_from_json, row)) for row in record["rows"])
    return Table(**values)


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "value" in value:
        return Number(**value)
    return Cell(**{name: _from_json(one) for name, one in value.items()})


def write(folder: Path, stem: str, tables: Sequence[Table]) -> list[Path]:
    """Writes the tables of one result: STEM.md, .tex and .json of all, and a CSV file of each.

    Returns:
      their paths; the CSV files are STEM.csv or, where a table has a name, STEM-NAME.csv.
    """
    texts = {
        f"{stem}.md": markdown(tables) + "\n",
        f"{stem}.tex": latex(tables) + "\n",
        **{f"{stem}{'-' * bool(one.name)}{one.name}.csv": csv_text(one) for one in tables},
        f"{stem}.json": json.dumps([*map(to_json, tables)], indent=2, allow_nan=False) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
