"""Tables in Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

NONE = "-"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column left-aligned and the others right-aligned."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def csv_text(lines: Sequence[Sequence[Any]]) -> str:
    """Lines of cells as CSV; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


class Notes:
    """Numbered notes under a table, each text once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """The mark of a note, such as '(2)'."""
        if text not in self.texts:
            self.texts.append(text)
        return f"({self.texts.index(text) + 1})"

    def lines(self) -> list[str]:
        """'(1) ...' and so on."""
        return [f"({place}) {text}" for place, text in enumerate(self.texts, start=1)]


def diagnosis(results: Sequence[Mapping[str, Any]]) -> str:
    """One row per run of `diagnosis.diagnose`; a dash where nothing was mined."""
    layers = sorted({layer for result in results for layer in result["dead"] or ()})
    header = [
        "run",
        "step",
        "largest / median RMS",
        "energy of the largest filter",
        "low",
        "mid",
        "high",
        "mid gap",
        *(f"dead, layer {layer.removeprefix('conv')}" for layer in layers),
        "aliasing, layer 2",
    ]
    rows = []
    for result in results:
        spectrum, dead = result["spectrum"], result["dead"] or {}
        rows.append(
            [
                result["run"],
                result["step"],
                f"{result['dominance']['ratio']:.2f}",
                _percent(result["dominance"]["energy"]),
                *(_percent(spectrum[band]) for band in ("low", "mid", "high")),
                f"{spectrum['gap']:.2f}",
                *(_percent(dead.get(layer)) for layer in layers),
                NONE if result["aliasing"] is None else f"{result['aliasing']:.2f}",
            ]
        )
    return markdown(header, rows)


def invariance(results: Sequence[Mapping[str, Any]]) -> str:
    """Two tables of `studies.invariance.statistics`, a blank line between them.

    First how soon and how straight the distances rise, a row for each transformation; then
    distances and answers at some amounts.
    """
    layers = results[0]["layers"]
    header = ["transformation", "smallest step", "in proportion"]
    header += [f"{layer} at the smallest step" for layer in layers]
    header += [f"{layer} R^2 of a line" for layer in layers]
    header += [f"{layer} second half / first" for layer in layers]
    rises = [
        [
            result["kind"],
            f"{result['step']:.4g} of {result['last']:.4g}",
            _percent(result["proportional"]),
            *(_percent(result["jump"][layer]) for layer in layers),
            *(_number(result["linearity"][layer]) for layer in layers),
            *(_number(result["late_rise"][layer]) for layer in layers),
        ]
        for result in results
        if result["step"] is not None
    ]
    answers = [
        [
            result["kind"] if index else "none",
            f"{point['deviation']:.4g}",
            *(_number(point["distance"][layer]) for layer in layers),
            f"{point['probability']:.3f}",
            _percent(point["top1"]),
        ]
        for place, result in enumerate(results)
        for index, point in enumerate(result["points"])
        if index or not place
    ]
    columns = [f"{layer} distance / norm" for layer in layers]
    columns = ["transformation", "by", *columns, "probability of the true class", "top-1"]
    return markdown(header, rises) + "\n\n" + markdown(columns, answers)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.1f}%"
