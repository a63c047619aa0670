"""The numbers beside Fig. 6: first and second layers of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zfnet_jax.report.table import Column, Number, Table, Value
from zfnet_jax.studies.intervals import of_trainings
from zfnet_jax.studies.trainings import net_of

_REMARKS = (
    "Low, mid and high: shares of the power of the first layer's filters below 1/8, up to"
    " 1/4 and above it, in cycles per pixel, corrected for the filters' size.",
    "Mid gap: held against noise like that of photos, 0 unless mid is rarer than both"
    " others, 1 where there is none.",
    "Aliasing: the share of the power of layer 2's projections that repeats with the grid"
    " of the first layer's units; noise has none at any stride.",
)


def diagnosis_table(results: Sequence[Mapping[str, Any]], level: float) -> Table:
    """One row per run of `diagnosis.diagnose`; a dash where nothing was mined.

    Below them one of each net that was trained from several seeds: means, with the interval of that
    level which the trainings leave.
    """
    named = {layer for result in results for layer in result["dead"] or ()}
    layers = sorted(named, key=lambda name: (len(name), name))  # conv2 before conv10
    nets: dict[str, list[list[float | None]]] = {net_of(result["run"]): [] for result in results}
    rows: list[tuple[Value, ...]] = []
    for result in results:
        found = _numbers(result, layers)
        nets[net_of(result["run"])].append(found)
        rows.append((result["run"], result["step"], *found))
    remarks = list(_REMARKS)
    for net, trained in nets.items():
        if len(trained) > 1:
            of_nets = (_over_trainings(values, level) for values in zip(*trained, strict=True))
            rows.append((f"{net}, {len(trained)} trainings", None, *of_nets))
    if len(rows) > len(results):
        remarks.append(f"Of several trainings of a net: the mean, and its {level:.0%} interval.")
    return Table(
        columns=(
            Column("run"),
            Column("step"),
            Column("largest / median RMS", ".2f"),
            Column("energy of the largest filter", ".1%"),
            *(Column(band, ".1%") for band in ("low", "mid", "high")),
            Column("mid gap", ".2f"),
            *(Column(f"dead, layer {layer.removeprefix('conv')}", ".1%") for layer in layers),
            Column("aliasing, layer 2", ".1%"),
        ),
        rows=tuple(rows),
        remarks=tuple(remarks),
    )


def _numbers(result: Mapping[str, Any], layers: Sequence[str]) -> list[float | None]:
    spectrum, dead = result["spectrum"], result["dead"] or {}
    return [
        result["dominance"]["ratio"],
        result["dominance"]["energy"],
        *(spectrum[name] for name in ("low", "mid", "high", "gap")),
        *(dead.get(layer) for layer in layers),
        result["aliasing"],
    ]


def _over_trainings(values: Sequence[float | None], level: float) -> Number | None:
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        return None
    value, low, high = of_trainings(found, level)
    return Number(value, low=low, high=high)
