"""Figures drawn from saved arrays: no model code, no accelerator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zfnet_jax.files import temporary_name
from zfnet_jax.report.tiles import moved_inside, projection_tile

Style = Literal["screen", "paper"]
STYLES: dict[str, Path] = {
    "screen": Path(__file__).with_name("style.mplstyle"),
    "paper": Path(__file__).with_name("paper.mplstyle"),
}
CONTRAST = 99.5  # percentile of a projection's absolute values that becomes white or black


def strongest_maps(arrays: Mapping[str, np.ndarray]) -> Figure:
    """What the layers see in one photo, from the arrays of `studies.layers.strongest`.

    The photo on the left; on the right one row per layer of its strongest maps: the projection of
    the strongest unit, and under it the patch of the photo that the unit sees.
    """
    layers = [str(name) for name in arrays["layers"]]
    count = max(len(arrays[f"{layer}/map"]) for layer in layers)
    with use("screen"):
        figure = Figure(figsize=(2.4 + count, 2.25 * len(layers) + 0.3), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(2.4, count))[0]
        _photo_and_classes(left, arrays)
        rows = right.subfigures(len(layers), 1) if len(layers) > 1 else [right]
        for row, layer in zip(rows, layers, strict=True):
            _layer_row(row, arrays, layer, count)
    return figure


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


def save(figure: Figure, path: Path, style: Style = "screen") -> None:
    """Writes a figure, atomically; the kind of file is the path's extension."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    with use(style):
        figure.savefig(temporary)
    temporary.replace(path)


def draw(make: Callable[[], Figure], path: Path, style: Style = "screen") -> list[Path]:
    """Draws a figure in a style and writes it as .png and .pdf beside each other.

    Args:
      path: without an ending.

    Returns:
      the two files.
    """
    with use(style):
        figure = make()
    paths = [path.with_name(path.name + kind) for kind in (".png", ".pdf")]
    for one in paths:
        save(figure, one, style)
    return paths


def _photo_and_classes(figure: Figure, arrays: Mapping[str, np.ndarray]) -> None:
    photo, bars, below = figure.subplots(3, 1, height_ratios=(2.2, 1.4, 6))
    photo.imshow(arrays["photo"])
    photo.set_title("what the net saw")
    photo.set_axis_off()
    below.set_axis_off()
    probabilities = arrays["probabilities"]
    best = np.argsort(-probabilities, kind="stable")[:5]
    bars.barh(range(len(best)), probabilities[best], color="0.6", height=0.8)
    for place, index in enumerate(best):
        name = str(arrays["class_names"][index])
        bars.text(0.02, place, f"{probabilities[index]:.0%}  {name}", va="center", parse_math=False)
    bars.set(xlim=(0, 1), ylim=(len(best) - 0.5, -0.5), title="probability of class")
    bars.set_axis_off()


def _layer_row(figure: Figure, arrays: Mapping[str, np.ndarray], layer: str, count: int) -> None:
    windows = arrays[f"{layer}/window"]
    axes = figure.subplots(2, count, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    size = windows[0, 2] - windows[0, 0]
    title = f"layer {layer.removeprefix('conv')}: a unit sees {size} x {size} pixels"
    if size >= min(arrays["photo"].shape[:2]):
        title += ", more than the whole photo"
    figure.suptitle(title, x=0.01, ha="left")
    for column, (number, activation, window, projection) in enumerate(
        zip(
            arrays[f"{layer}/map"],
            arrays[f"{layer}/activation"],
            windows,
            arrays[f"{layer}/projection"],
            strict=True,
        )
    ):
        if activation <= 0:
            axes[0, column].set_title(f"map {number}\nnot active")
            continue
        # Windows that leave the photo are moved inside; where a unit is blind it is grey.
        top, left, bottom, right = moved_inside(window, arrays["photo"].shape)
        seen = np.s_[top:bottom, left:right]
        _tile(axes[0, column], projection_tile(projection[seen], CONTRAST))
        _tile(axes[1, column], arrays["photo"][seen])
        axes[0, column].set_title(f"map {number}\n{activation:.3g}")


def _tile(axis: Axes, pixels: np.ndarray) -> None:
    axis.imshow(pixels, interpolation="nearest")
