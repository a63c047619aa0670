"""Runs evaluated on the same images, as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zfnet_jax.report.error_table import interval_text
from zfnet_jax.report.table import markdown


def evaluation(names: Sequence[str], scores: Sequence[Mapping[str, Any]]) -> str:
    """One row per run or ensemble.

    Args:
      names: of the rows.
      scores: of `analysis.scores.scores`.
    """
    level = f"{scores[0]['options']['level']:.0%}"
    rows = [
        [
            name,
            str(score["images"]),
            f"{score['loss']:.3f}",
            _percent(score["top1"]),
            _percent(score["top5"]),
            f"{100 * score['calibration_error']:.1f}",
        ]
        for name, score in zip(names, scores, strict=True)
    ]
    header = ["run", "images", "loss", f"top-1 error % [{level}]", f"top-5 error % [{level}]"]
    return markdown([*header, "calibration error %"], rows)


def differences(
    names: Sequence[str], first: str, intervals: Mapping[str, Sequence[Any]], level: float
) -> str:
    """How much each run's errors differ from those of the run `first`, image by image.

    Args:
      names: of the other runs.
      intervals: 'top1' and 'top5', a `bootstrap.Interval` for each name.
    """
    rows = [
        [
            name,
            *(
                f"{_percent(values[place], signed=True)}, {_verdict(values[place])}"
                for values in (intervals["top1"], intervals["top5"])
            ),
        ]
        for place, name in enumerate(names)
    ]
    titles = (f"{which} error % [{level:.0%}]" for which in ("top-1", "top-5"))
    return markdown([f"less {first}", *titles], rows)


def _verdict(difference: Any) -> str:
    """'worse' or 'better' where the interval leaves no doubt, else 'undecided'."""
    if not difference.decided:
        return "undecided"
    return "worse" if difference.value > 0 else "better"


def _percent(interval: Sequence[float], *, signed: bool = False) -> str:
    return interval_text([100 * number for number in interval], signed=signed)
