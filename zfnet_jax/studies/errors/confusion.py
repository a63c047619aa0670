"""Which classes a net takes for which: the confusion matrix, and each class's accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from zfnet_jax.names import told_apart
from zfnet_jax.report.figures import page_width
from zfnet_jax.report.text import all_within, from_the_left

NAMED = 32  # up to so many classes have their names and numbers in the figure
LISTED = 24  # of more classes, the most frequent confusions in words
LABELS, BARS, PAIRS = 0.11, 0.17, 0.23  # room of names, as shares of the figure's width


def confusion(matrix: np.ndarray, class_names: Sequence[str]) -> Figure:
    """The matrix, each row a true class, and beside it the accuracies or the worst confusions.

    Cells are shares of their row, in per cent; the shade is their square root, so that rare
    confusions show.

    Args:
      matrix: [C, C] images by true class (rows) and most probable class (columns).
    """
    class_names = told_apart(class_names)
    images = matrix.sum(axis=1)
    shares = matrix / np.maximum(images, 1)[:, None]
    named = len(matrix) <= NAMED
    width = page_width()
    figure = Figure(figsize=(width, 0.66 * width), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 1) if named else (2, 1))
    left.imshow(shares, cmap="Greys", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    left.set(xlabel="most probable class", ylabel="true class")
    right_answers = np.trace(matrix)
    left.set_title(f"{right_answers} of {matrix.sum()} images right, in % of the true class")
    if named:
        _names_and_numbers(left, shares, class_names)
        _accuracies(right, shares, images, class_names)
    else:
        _most_frequent(right, matrix, shares, class_names)
    return figure


def _names_and_numbers(axis: Axes, shares: np.ndarray, class_names: Sequence[str]) -> None:
    places = range(len(shares))
    room = LABELS * page_width()
    short = all_within(dict(enumerate(class_names)), room, mpl.rcParams["xtick.labelsize"])
    axis.set_xticks(places, short.values(), rotation=90, parse_math=False)
    axis.set_yticks(places, short.values(), parse_math=False)
    axis.tick_params(length=0)
    room = 0.5 * page_width() / len(shares) * 72  # points of a cell
    size = min(mpl.rcParams["xtick.labelsize"], room / 2.6)
    for row, column in np.argwhere(shares >= 0.005):
        colour = "white" if shares[row, column] > 0.3 else "black"
        text = f"{100 * shares[row, column]:.0f}"
        axis.text(column, row, text, ha="center", va="center", size=size, color=colour)


def _accuracies(
    axis: Axes, shares: np.ndarray, images: np.ndarray, class_names: Sequence[str]
) -> None:
    accuracies = np.where(images > 0, np.diag(shares), np.nan)
    order = np.argsort(accuracies, kind="stable")
    places = np.arange(len(order))
    axis.barh(places, accuracies[order], color="0.7", height=0.8)
    short = all_within(dict(enumerate(class_names)), BARS * page_width(), "small")
    for place, index in enumerate(order):
        known = f"{accuracies[index]:.0%}" if images[index] else "no image"
        text = from_the_left(f"{known}  {short[int(index)]}")
        axis.text(0.02, place, text, va="center", size="small", parse_math=False)
    axis.set(xlim=(0, 1), ylim=(-0.5, len(order) - 0.5), title="accuracy by class")
    axis.set_axis_off()


def _most_frequent(
    axis: Axes, matrix: np.ndarray, shares: np.ndarray, class_names: Sequence[str]
) -> None:
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, shares)
    rows, columns = np.unravel_index(np.argsort(-wrong, axis=None, kind="stable"), matrix.shape)
    pairs = [pair for pair in zip(rows[:LISTED], columns[:LISTED]) if wrong[pair]]
    shown = {int(number): class_names[number] for pair in pairs for number in pair}
    short = all_within(shown, PAIRS * page_width() / 2, "small")
    for place, (row, column) in enumerate(pairs):
        taken = f"{short[int(row)]} as {short[int(column)]}"
        text = from_the_left(f"{wrong[row, column]:.0%}  {taken}")
        axis.text(0, place, text, va="center", size="small", clip_on=True, parse_math=False)
    axis.set(xlim=(0, 1), ylim=(LISTED - 0.5, -0.5), title="most frequent confusions")
    axis.set_axis_off()
