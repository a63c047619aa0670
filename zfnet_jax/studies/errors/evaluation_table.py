"""Runs evaluated on the same images, as Markdown tables.

Of five classes or fewer the true one is always among the first five: no top-5 error is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zfnet_jax.report.table import markdown
from zfnet_jax.studies.errors.error_text import interval_text

_TITLES = {"top1": "top-1 error", "top5": "top-5 error"}


def evaluation(names: Sequence[str], scores: Sequence[Mapping[str, Any]]) -> str:
    """One row per run or ensemble.

    Args:
      names: of the rows.
      scores: of `analysis.scores.scores`.
    """
    level = f"{scores[0]['options']['level']:.0%}"
    shown = ("top1", "top5") if len(scores[0]["per_class"]) > 5 else ("top1",)
    rows = [
        [
            name,
            str(score["images"]),
            f"{score['loss']:.3f}",
            *(_percent(score[name]) for name in shown),
            f"{100 * score['calibration_error']:.1f}",
        ]
        for name, score in zip(names, scores, strict=True)
    ]
    errors = (f"{_TITLES[name]} % [{level} interval]" for name in shown)
    return markdown(["run", "images", "loss", *errors, "calibration error %"], rows)


def differences(
    names: Sequence[str], first: str, intervals: Mapping[str, Sequence[Any]], level: float
) -> str:
    """How much each run's errors differ from those of the run `first`, image by image.

    Args:
      names: of the other runs.
      intervals: 'top1' and perhaps 'top5', a `bootstrap.Interval` for each name.
    """
    rows = [
        [
            name,
            *(
                f"{_percent(values[place], signed=True)}, {_verdict(values[place])}"
                for values in intervals.values()
            ),
        ]
        for place, name in enumerate(names)
    ]
    titles = (f"{_TITLES[which]} % [{level:.0%} interval]" for which in intervals)
    return markdown([f"less {first}", *titles], rows)


def _verdict(difference: Any) -> str:
    """'worse' or 'better' where the interval leaves no doubt, else 'undecided'."""
    if not difference.decided:
        return "undecided"
    return "worse" if difference.value > 0 else "better"


def _percent(interval: Sequence[float], *, signed: bool = False) -> str:
    return interval_text([100 * number for number in interval], signed=signed)
