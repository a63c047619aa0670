"""Fig. 5: features and the answer as photos are moved, enlarged and turned."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator

from zfnet_jax.names import fit, told_apart
from zfnet_jax.report.figures import page_width
from zfnet_jax.report.mosaic import mosaic
from zfnet_jax.report.text import all_within, legend

Arrays = Mapping[str, np.ndarray]

COLOURS = mpl.color_sequences["tab10"]  # of the photos
SQUARE, FLAT = 1.05, 0.72  # heights of panels, as shares of their width: with photos and without
BAND, WIDE = (25, 75), (5, 95)  # percentiles of the summary's bands
COLUMNS, HANDLE = 5, 0.6  # of the legend; beside a name in it, inches
AXES = {
    "vertical": "vertical translation (pixels)",
    "horizontal": "horizontal translation (pixels)",
    "scale": "scale (ratio)",
    "rotation": "rotation (degrees)",
}


def figure5(arrays: Arrays) -> Figure:
    """One row per transformation: the photos, distances of each layer, the true class.

    Each photo has one colour, at the edge of its pictures and of its curves. Distances are shares
    of the norm of the untransformed photo's features, so that photos and layers compare. Without a
    classifier there is no class, and the photos' files are named instead.

    Args:
      arrays: of up to ten photos, from `study.of_photos`.
    """
    photos = len(arrays["labels"])
    if photos > len(COLOURS):
        most = len(COLOURS)
        raise ValueError(f"figure 5 tells {most} photos apart, not {photos}: measure fewer at once")

    def draw(axis: Axes, amounts: np.ndarray, curves: np.ndarray, _: np.ndarray | None) -> None:
        for colour, curve in zip(COLOURS, curves):
            axis.plot(amounts, curve, color=colour, marker=_marker(amounts))

    figure, axes = _panels(arrays, draw, pictures=1.3)
    for kind, (axis, *_) in zip(arrays["kinds"], axes):
        _pictures(axis, arrays[f"{kind}/photo"], arrays[f"{kind}/shown"])
        axis.set_xlabel(AXES[str(kind)])
    axes[0, 0].set_title("photos", pad=12)
    if _has_classes(arrays):
        shown, named = told_apart(arrays["class_names"]), arrays["labels"].tolist()
    else:
        shown = [fit(name.split("/")[-1]) for name in arrays["names"].tolist()]
        named = list(range(photos))
    room = page_width() / min(COLUMNS, photos) - HANDLE
    short = all_within({number: shown[number] for number in named}, room)
    lines = [
        Line2D([], [], color=colour, label=short[number]) for colour, number in zip(COLOURS, named)
    ]
    _legend(figure, lines)
    return figure


def figure5_summary(arrays: Arrays) -> Figure:
    """The curves over many photos: mean, quartiles, and where nine of ten lie.

    Args:
      arrays: of N images, from `study.of_split`.
    """
    colour = COLOURS[0]

    def draw(axis: Axes, amounts: np.ndarray, curves: np.ndarray, right: np.ndarray | None) -> None:
        for percentiles, alpha in ((WIDE, 0.13), (BAND, 0.25)):
            low, high = np.nanpercentile(curves, percentiles, axis=0)
            axis.fill_between(amounts, low, high, color=colour, alpha=alpha, lw=0)
        axis.plot(amounts, np.nanmean(curves, axis=0), color=colour, marker=_marker(amounts))
        if right is not None:
            axis.plot(amounts, right.mean(axis=0), color="0.25", ls="--", marker=_marker(amounts))

    figure, _ = _panels(arrays, draw, pictures=None)
    handles: list[Artist] = [
        Line2D([], [], color=colour, label=f"mean of {len(arrays['labels'])} images"),
        Patch(color=colour, alpha=0.36, lw=0, label="half of them (quartiles)"),
        Patch(color=colour, alpha=0.13, lw=0, label="nine of ten"),
    ]
    if _has_classes(arrays):
        handles.append(Line2D([], [], color="0.25", ls="--", label="share of right answers"))
    _legend(figure, handles)
    return figure


def _has_classes(arrays: Arrays) -> bool:
    return f"{arrays['kinds'][0]}/class" in arrays


def _panels(
    arrays: Arrays, draw: Callable[..., None], pictures: float | None
) -> tuple[Figure, np.ndarray]:
    """The grid of panels, [kinds, columns]; `pictures` is the first column's share of a panel."""
    kinds, layers = ([str(name) for name in arrays[key]] for key in ("kinds", "layers"))
    has_classes = _has_classes(arrays)
    ratios = ([pictures] if pictures else []) + [1.0] * (len(layers) + has_classes)
    panel = page_width() / sum(ratios) * (SQUARE if pictures else FLAT)
    height = panel * len(kinds) + 0.3
    figure = Figure(figsize=(page_width(), height), layout="constrained")
    axes = figure.subplots(
        len(kinds), len(ratios), squeeze=False, gridspec_kw={"width_ratios": ratios}
    )
    plots = axes[:, 1:] if pictures else axes
    for row, kind in zip(plots, kinds):
        amounts = arrays[f"{kind}/amount"]
        for axis, layer in zip(row, layers):
            draw(axis, amounts, arrays[f"{kind}/relative/{layer}"], None)
            axis.set_ylabel("distance / norm")
        if has_classes:
            right = arrays[f"{kind}/class"] == arrays["labels"][:, None]
            draw(row[-1], amounts, arrays[f"{kind}/probability"], right)
            row[-1].set(ylabel="probability", ylim=(0, 1.02))
        for axis in row:
            axis.set(xlabel=AXES[kind], xlim=_limits(amounts))
            axis.spines[["top", "right"]].set_visible(False)
            if kind == "rotation":
                axis.xaxis.set_major_locator(MultipleLocator(90))
    for column, layer in enumerate(layers):
        top = max(axis.get_ylim()[1] for axis in plots[:, column])
        for axis in plots[:, column]:
            axis.set_ylim(0, top)
        number = "".join(filter(str.isdigit, layer))
        plots[0, column].set_title(f"layer {number} ({layer})")
    if has_classes:
        plots[0, -1].set_title("true class")
    return figure, axes


def _pictures(axis: Axes, photos: np.ndarray, amounts: np.ndarray) -> None:
    """Photos [N, K, H, W, C] in rows, each with its colour at the left, amounts above."""
    count, across = photos.shape[:2]
    image = mosaic(photos.reshape(-1, *photos.shape[2:]), columns=across)
    height, width = image.shape[:2]
    axis.imshow(image)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    for row, colour in zip(range(count), itertools.cycle(COLOURS)):
        y = height * row / count
        axis.plot(
            [-0.02 * width] * 2, [y, y + 0.94 * height / count], color=colour, lw=2, clip_on=False
        )
    for column, amount in enumerate(amounts):
        x = width * (column + 0.5) / across
        axis.text(x, -0.015 * height, f"{amount:.4g}", ha="center", va="bottom", size="small")
    axis.set(xlim=(-0.03 * width, width), ylim=(height, 0))


def _marker(amounts: np.ndarray) -> str | None:
    """Of a single amount there is no line to see."""
    return "o" if len(amounts) == 1 else None


def _limits(amounts: np.ndarray) -> tuple[float, float]:
    low, high = float(amounts.min()), float(amounts.max())
    margin = 1e-3 * (high - low) if low < high else 1  # or rounding would hide the last tick
    return low - margin, high + margin


def _legend(figure: Figure, handles: Sequence[Artist]) -> None:
    columns = min(COLUMNS, len(handles))
    legend(figure, handles=handles, loc="outside lower center", ncols=columns, frameon=False)
