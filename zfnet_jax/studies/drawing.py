"""How steps leave figures and tables in a run's report folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from zfnet_jax.files import write_text
from zfnet_jax.report import figures
from zfnet_jax.studies.context import Context


def draw(context: Context, drawings: Mapping[str, Callable[[], Figure]]) -> list[Path]:
    """Draws and writes figures, as .png and .pdf, by their names."""
    return [
        path
        for name, make in drawings.items()
        for path in figures.draw(make, context.figures / name)
    ]


def write_table(context: Context, number: int, texts: Mapping[str, str]) -> list[Path]:
    """Writes a table of the paper in every form, by the endings of the files."""
    return write_texts(context, {f"table{number}{ending}": text for ending, text in texts.items()})


def write_texts(context: Context, texts: Mapping[str, str]) -> list[Path]:
    """Writes tables and the like, by their file names."""
    folder = context.report / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
