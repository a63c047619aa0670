"""The numbers behind Fig. 5: how soon and how straight distances rise, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zfnet_jax.report.table import Column, Table
from zfnet_jax.studies.invariance.intervals import Bootstrap, with_intervals


def tables_of(arrays: Mapping[str, np.ndarray]) -> list[Table]:
    """`invariance_tables` of what `measure.measure` found."""
    options = Bootstrap()
    return invariance_tables(with_intervals(arrays, options), options.level)


def invariance_tables(results: Sequence[Mapping[str, Any]], level: float) -> list[Table]:
    """Two tables of `intervals.with_intervals` at a level: `rises`, `answers`."""
    return [rises(results, level), answers(results)]


def rises(results: Sequence[Mapping[str, Any]], level: float) -> Table:
    """How soon and how straight the distances rise, a row for each transformation."""
    layers = results[0]["layers"]
    rows = [
        (
            result["kind"],
            f"{result['step']:.4g} of {result['last']:.4g}",
            result["proportional"],
            *(result["jump"][layer] for layer in layers),
            *(result["linearity"][layer] for layer in layers),
            *(result["late_rise"][layer] for layer in layers),
        )
        for result in results
        if result["step"] is not None
    ]
    return Table(
        columns=(
            Column("transformation"),
            Column("smallest step"),
            Column("in proportion", ".1%"),
            *(Column(f"{layer} at the smallest step", ".1%") for layer in layers),
            *(Column(f"{layer} R^2 of a line", ".2f") for layer in layers),
            *(Column(f"{layer} second half / first", ".2f") for layer in layers),
        ),
        rows=tuple(rows),
        remarks=(
            "At the smallest step: how much of the largest distance it already brings, beside what"
            " it would bring in proportion.",
            "R^2: how well a straight line fits the mean of all but the untransformed photos.",
            "Second half / first: what the second half of the range adds, as a share of the first"
            " (1 where the distance grows in proportion).",
            f"In brackets {level:.0%} intervals over photos, by the bootstrap; the net is one.",
        ),
    )


def answers(results: Sequence[Mapping[str, Any]]) -> Table:
    """Distances, and answers if the net has classes, at some amounts of each transformation."""
    layers = results[0]["layers"]
    of_classes = {"probability": ("probability of the true class", ".3f"), "top1": ("top-1", ".1%")}
    known = {name: how for name, how in of_classes.items() if name in results[0]["points"][0]}
    rows = [
        (
            result["kind"] if index else "none",
            point["deviation"],
            *(point["distance"][layer] for layer in layers),
            *(point[name] for name in known),
        )
        for place, result in enumerate(results)
        for index, point in enumerate(result["points"])
        if index or not place
    ]
    return Table(
        columns=(
            Column("transformation"),
            Column("by", ".4g"),
            *(Column(f"{layer} distance / norm", ".2f") for layer in layers),
            *(Column(*how) for how in known.values()),
        ),
        rows=tuple(rows),
        name="answers",
    )
