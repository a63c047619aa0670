"""The results of a benchmark as Markdown and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from scripts.benchmarks.trials import Row
from zfnet_jax import files
from zfnet_jax.report.table import Column, Table, markdown

_COLUMNS = (
    Column("median"),
    Column("quartiles"),
    Column("ours / this", ".2f"),
    Column("target"),
    Column("of the machine's limit", ".0%"),
)


def heading(about: Mapping[str, Any]) -> str:
    """The machine in a few lines."""
    versions = ", ".join(f"{name} {v}" for name, v in about["versions"].items() if v)
    limits = about["limits"]
    rates = ", ".join(
        f"{rate / 1e9:.0f} ({mode})" for mode, rate in limits["flops_per_second"].items()
    )
    return (
        f"{about['processor']}, {about['cores']} cores; {', '.join(about['devices'])}"
        f" ({about['runtime']}); "
        f"load {about['load']:.1f}\n"
        f"Python {about['python']}, {versions}\n"
        f"limits: matrix product at {rates} GFLOP/s, "
        f"{limits['bytes_per_second'] / 1e9:.1f} GB/s (read and written); {about['trials']} trials"
    )


def table(rows: Sequence[Row]) -> str:
    """A table for each computation."""
    tables = []
    for what, forms in groupby(rows, key=lambda row: row.what):
        lines = [
            (
                row.form,
                f"{_number(row.median)} {row.unit}",
                f"{_number(row.low)} - {_number(row.high)}",
                row.ratio,
                _target(row),
                row.share,
            )
            for row in forms
        ]
        tables.append(Table((Column(what), *_COLUMNS), tuple(lines)))
    return markdown(tables)


def write(folder: Path, about: Mapping[str, Any], suites: Mapping[str, Sequence[Row]]) -> None:
    """results.md and results.json, of all suites measured so far."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [heading(about).replace("\n", "  \n")]
    parts += [f"## {name}\n\n{table(rows)}" for name, rows in suites.items()]
    files.write_text(folder / "results.md", "\n\n".join(parts) + "\n")
    results = [
        {"suite": name, **dataclasses.asdict(row), "reached": row.reached}
        for name, rows in suites.items()
        for row in rows
    ]
    files.write_json(folder / "results.json", {"machine": about, "results": results})


def _target(row: Row) -> str | None:
    if row.target is None:
        return None
    sign = "at least" if row.at_least else "at most"
    return f"{sign} {row.target:.3g}: {'reached' if row.reached else 'missed'}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
