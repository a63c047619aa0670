"""Fig. 9: accuracy by training images per class, beside the paper's and the best before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zfnet_jax.names import told_apart
from zfnet_jax.report.figures import page_width
from zfnet_jax.report.text import all_within, legend
from zfnet_jax.studies import paper

Curve = Mapping[int, Sequence[float]]  # accuracies of the folds, per cent, by images per class

COLOURS = mpl.color_sequences["tab10"]  # of the data sets
_LINES = {"pretrained": "-", "scratch": "--"}
_NAMES = {"pretrained": "pretrained", "scratch": "from scratch"}
LEGEND = 0.14  # room of a data set's name in the legend, as a share of the page's width
_WIDTH, _HEIGHT = 0.72, 0.42  # shares of the page's width


def figure9(found: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """The curves of some data sets, each with a band of one standard deviation over folds.

    Grey are the published ones: the paper's on Caltech-256 and the best before it (Table 5), and
    where `found` has a 'caltech101' those on Caltech-101 (Table 4).

    Args:
      found: of each data set, of each method ('pretrained', 'scratch') the curve; see
        `accuracies.curves`.
    """
    if len(found) > len(COLOURS):
        raise ValueError(f"figure 9 tells {len(COLOURS)} data sets apart, not {len(found)}")
    size = page_width() * np.array([_WIDTH, _HEIGHT])
    figure = Figure(figsize=tuple(size), layout="constrained")
    axis = figure.subplots()
    most = 60
    names = all_within(dict(enumerate(told_apart(list(found)))), LEGEND * page_width())
    for number, (colour, methods) in enumerate(zip(COLOURS, found.values())):
        for method, curve in methods.items():
            _draw(axis, curve, _LINES[method], colour, f"{names[number]}, {_NAMES[method]}")
            most = max(most, *curve)
    _published(axis, "caltech101" in found)
    axis.set(
        xlabel="training images per class",
        ylabel="accuracy (%)",
        xlim=(0, most + 1),
        ylim=(0, 100),
        xticks=range(0, most + 1, 10),
    )
    axis.grid(color="0.92", lw=0.5)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    legend(figure, loc="outside right center", frameon=False)
    return figure


def _draw(axis: Axes, curve: Curve, line: str, colour: object, label: str) -> None:
    counts = sorted(curve)
    mean = np.array([np.mean(curve[count]) for count in counts])
    spread = np.array([np.std(curve[c], ddof=1) if len(curve[c]) > 1 else 0 for c in counts])
    axis.fill_between(counts, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0, zorder=3)
    axis.plot(counts, mean, ls=line, marker="o", ms=2.5, color=colour, label=label, zorder=4)


def _published(axis: Axes, with_caltech101: bool) -> None:
    def plot(values: Mapping[int, float], grey: str, line: str, marker: str, label: str) -> None:
        axis.plot(
            *zip(*values.items()),
            ls=line,
            marker=marker,
            ms=3,
            mfc="white",
            color=grey,
            label=label,
        )

    plot(paper.figure9(), "0.35", "-", "o", "Caltech-256, paper, pretrained")
    table = paper.table(5)
    rows = {
        "Non-pretr.": ("0.35", "--", "o", "Caltech-256, paper, from scratch"),
        "Bo et al. 2013": ("0.6", "-", "s", "Caltech-256, Bo et al. 2013"),
        "Sohn et al. 2011": ("0.6", "-", "^", "Caltech-256, Sohn et al. 2011"),
    }
    for row, how in rows.items():
        plot({int(c.split("/")[0]): table.value(row, c) for c in table.columns[1:]}, *how)
    if with_caltech101:
        table = paper.table(4)
        rows = {
            "ImageNet-pretrained convnet": ("0.35", "-", "D", "Caltech-101, paper, pretrained"),
            "Non-pretrained convnet": ("0.35", "--", "D", "Caltech-101, paper, from scratch"),
            "Yang (Jianchao) et al. 2009": ("0.6", "-", "v", "Caltech-101, Yang et al. 2009"),
        }
        for row, how in rows.items():
            plot({n: table.value(row, f"Acc % {n}/class") for n in (15, 30)}, *how)
