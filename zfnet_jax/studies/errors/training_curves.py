"""Training curves: loss, error and learning rate by epoch, of one run or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from zfnet_jax.names import told_apart
from zfnet_jax.report.figures import page_width
from zfnet_jax.report.text import all_within, legend

Records = Sequence[Mapping[str, float]]

TALL = 0.27  # of the width of the figure
HANDLE = 0.6  # beside a name in the legend, inches
TRAINING, VALIDATION = "--", "-"  # lines


def curves(runs: Mapping[str, Records]) -> Figure:
    """Three panels: loss, top-1 error, and learning rate with the share of filters clipped.

    Args:
      runs: by name the records of `metrics.read_metrics`; of a single run the name is not shown.
    """
    width = page_width()
    figure = Figure(figsize=(width, TALL * width), layout="constrained")
    loss, error, rate = figure.subplots(1, 3)
    many = len(runs) > 1
    columns = min(4, max(2, len(runs)))
    room = width / columns - HANDLE
    names = all_within(dict(enumerate(told_apart(list(runs)))), room)
    for number, records in enumerate(runs.values()):
        colour = mpl.color_sequences["tab10"][number % 10]
        of_train: dict[str, Any] = {"color": colour, "ls": TRAINING, "alpha": 0.75}
        of_validation: dict[str, Any] = {"color": colour, "ls": VALIDATION}
        label = names[number] if many else "validation"
        _line(loss, records, "train/loss", **of_train, label=None if many else "training")
        _line(loss, records, "val/loss", **of_validation, label=label)
        _line(error, records, "train/top1", **of_train, complement=True)
        _line(error, records, "val/top1", **of_validation, complement=True)
        _line(rate, records, "learning_rate", **of_validation)
    loss.set_title("loss")
    # Labels are smoothed in training alone, where the config asks for it.
    loss.set_xlabel("epoch (training: dropout, augmentation, smoothed labels if any)")
    error.set_title("top-1 error")
    error.set_ylim(0, 1)
    error.yaxis.set_major_formatter(PercentFormatter(1))
    rate.set_title("learning rate")
    rate.set_ylim(0)
    for axis in (error, rate):
        axis.set_xlabel("epoch")
    for axis in (loss, error, rate):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.spines[["top", "right"]].set_visible(False)
    legend(figure, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _line(
    axis: Axes, records: Records, field: str, *, complement: bool = False, **how: Any
) -> None:
    there = [record for record in records if field in record]
    values = [1 - record[field] if complement else record[field] for record in there]
    axis.plot([record["epoch"] for record in there], values, **how)
