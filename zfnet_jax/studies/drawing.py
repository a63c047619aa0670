"""How steps leave figures and tables in a run's report folder: one process draws and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from zfnet_jax import parallel
from zfnet_jax.report import figures, table
from zfnet_jax.report.table import Table
from zfnet_jax.studies.context import Context


def draw(context: Context, drawings: Mapping[str, Callable[[], Figure]]) -> list[Path]:
    """Draws and writes figures, as .png and .pdf, by their names."""
    return parallel.by_writer(
        lambda: [
            path
            for name, make in drawings.items()
            for path in figures.draw(make, context.figures / name, note=context.run.note)
        ]
    )


def write_tables(context: Context, stem: str, tables: Sequence[Table]) -> list[Path]:
    """Writes the tables of one result, in every form, under names that begin with `stem`."""
    return parallel.by_writer(lambda: table.write(context.report / "tables", stem, tables))
