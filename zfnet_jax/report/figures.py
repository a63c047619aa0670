"""Figures drawn from saved arrays: no model code, no accelerator."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from zfnet_jax.files import temporary_name
from zfnet_jax.report import text

Style = Literal["screen", "paper"]
STYLES: dict[str, Path] = {
    "screen": Path(__file__).with_name("style.mplstyle"),
    "paper": Path(__file__).with_name("paper.mplstyle"),
}
CONTRAST = 99.5  # percentile of a projection's absolute values that becomes white or black


def use(style: Style) -> contextlib.AbstractContextManager[None]:
    """The style that figures made and saved inside the context have."""
    return mpl.rc_context(fname=STYLES[style])


def page_width() -> float:
    """The width of a figure in the style in use, inches."""
    return mpl.rcParams["figure.figsize"][0]


def pixels(inches: float) -> int:
    """How many pixels that is in a figure saved in the style in use."""
    return round(inches * mpl.rcParams["savefig.dpi"])


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure to be laid out by hand: one axis over all of it, in inches from the top left."""
    figure = Figure(figsize=(width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axis.set_axis_off()
    return figure, axis


def place(
    axis: Axes, image: np.ndarray, x: float, y: float, w: float, h: float, **how: Any
) -> None:
    """Puts an image on a `sheet`, its top left corner at (x, y), w by h inches."""
    axis.imshow(image, extent=(x, x + w, y + h, y), aspect="auto", **how)


def fitted(image: np.ndarray, x: float, y: float, side: float) -> tuple[float, float, float, float]:
    """Where in a square an image [h, w, ...] is placed whole and in its own shape: x, y, w, h."""
    height, width = (side * n / max(image.shape[:2]) for n in image.shape[:2])
    return x + (side - width) / 2, y + (side - height) / 2, width, height


def save(figure: Figure, path: Path, style: Style = "screen", note: str = "") -> None:
    """Writes a figure, atomically; the kind of file is the path's extension.

    Args:
      note: a line to add below it, if any.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    with use(style), text.without_remarks(), _noted(figure, note) as how:
        text.use_fonts_that_have_its_letters(figure)
        figure.savefig(temporary, **how)
    temporary.replace(path)


@contextlib.contextmanager
def _noted(figure: Figure, note: str) -> Iterator[dict[str, Any]]:
    """The figure with a line in a strip below it; how it is saved so that the strip is there."""
    if not note:
        yield {}
        return
    width, height = figure.get_size_inches()
    strip = 2 * mpl.rcParams["font.size"] / 72  # inches
    line = figure.text(
        0.5, -strip / 2 / height, note, ha="center", va="center", size="small", color="0.4"
    )
    try:
        yield {"bbox_inches": Bbox.from_bounds(0, -strip, width, height + strip)}
    finally:
        line.remove()


def draw(
    make: Callable[[], Figure], path: Path, style: Style = "screen", note: str = ""
) -> list[Path]:
    """Draws a figure in a style and writes it as .png and .pdf beside each other.

    Args:
      path: without an ending.
      note: see `save`.

    Returns:
      the two files.
    """
    with use(style):
        figure = make()
    paths = [path.with_name(path.name + kind) for kind in (".png", ".pdf")]
    for one in paths:
        save(figure, one, style, note)
    return paths


def as_image(make: Callable[[], Figure], style: Style = "screen") -> Image.Image:
    """Draws a figure in a style, for a notebook to show."""
    file = io.BytesIO()
    with use(style), text.without_remarks():
        figure = make()
        text.use_fonts_that_have_its_letters(figure)
        figure.savefig(file, format="png")
    return Image.open(file)
