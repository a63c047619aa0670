"""How steps leave figures and tables in a run's report folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from zfnet_jax.files import write_text
from zfnet_jax.report import figures
from zfnet_jax.reproduce.study import Study


def draw(study: Study, drawings: Mapping[str, Callable[[], Figure]]) -> list[Path]:
    """Draws and writes figures, as .png and .pdf, by their names."""
    paths = []
    for name, make in drawings.items():
        with figures.use("screen"):
            figure = make()
        for kind in (".png", ".pdf"):
            path = study.report / "figures" / (name + kind)
            figures.save(figure, path)
            paths.append(path)
    return paths


def write_table(study: Study, number: int, texts: Mapping[str, str]) -> list[Path]:
    """Writes a table of the paper in every form, by the endings of the files."""
    return write_texts(study, {f"table{number}{ending}": text for ending, text in texts.items()})


def write_texts(study: Study, texts: Mapping[str, str]) -> list[Path]:
    """Writes tables and the like, by their file names."""
    folder = study.report / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
