"""The numbers beside Fig. 6: first and second layers of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zfnet_jax.report.table import Column, Table


def diagnosis_table(results: Sequence[Mapping[str, Any]]) -> Table:
    """One row per run of `diagnosis.diagnose`; a dash where nothing was mined."""
    named = {layer for result in results for layer in result["dead"] or ()}
    layers = sorted(named, key=lambda name: (len(name), name))  # conv2 before conv10
    rows = []
    for result in results:
        spectrum, dead = result["spectrum"], result["dead"] or {}
        rows.append(
            (
                result["run"],
                result["step"],
                result["dominance"]["ratio"],
                result["dominance"]["energy"],
                *(spectrum[name] for name in ("low", "mid", "high", "gap")),
                *(dead.get(layer) for layer in layers),
                result["aliasing"],
            )
        )
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
        remarks=(
            "Low, mid and high: shares of the power of the first layer's filters below 1/8, up to"
            " 1/4 and above it, in cycles per pixel, corrected for the filters' size.",
            "Mid gap: held against noise like that of photos, 0 unless mid is rarer than both"
            " others, 1 where there is none.",
            "Aliasing: the share of the power of layer 2's projections that repeats with the grid"
            " of the first layer's units; noise has none at any stride.",
        ),
    )
