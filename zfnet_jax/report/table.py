"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NONE = "-"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column left-aligned and the others right-aligned."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def diagnosis(results: Sequence[Mapping[str, Any]]) -> str:
    """One row per run of `analysis.diagnosis.diagnose`; a dash where nothing was mined."""
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


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.1f}%"
