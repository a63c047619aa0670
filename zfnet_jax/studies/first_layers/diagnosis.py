"""What the paper saw by eye in Fig. 6, as numbers (Sections 3 and 4.1).

The paper found that without the RMS limit one first-layer filter dominates, that 11x11 filters
with stride 4 mix extremely low and high frequencies with little between, that some features are
dead, and that the stride of 4 leaves aliasing artefacts in layer 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zfnet_jax.runs.run import Run
from zfnet_jax.studies.features.mining import dead_maps
from zfnet_jax.studies.features.winners import Winners
from zfnet_jax.studies.first_layers.filters import filter_rms
from zfnet_jax.studies.first_layers.spectrum import frequencies, power, share

BANDS = (1 / 8, 1 / 4)  # where the mid frequencies begin and end, cycles per pixel


def diagnose(run: Run, mined: Winners | None) -> dict[str, Any]:
    """The numbers of one run.

    Args:
      run: the net.
      mined: what mining left of it; without it, 'dead' and 'aliasing' are None.

    Returns:
      'run', 'step'; 'mined', the folder's name;
      'dominance': see `dominance`, of the first layer; 'spectrum': see `spectral_coverage`, of it;
      'dead': {layer: share of maps that no image activates};
      'aliasing': the mean `aliasing_index` of the second layer's projected winners.
    """
    conv = run.architecture.convs[0]
    filters = np.moveaxis(np.asarray(run.params[conv.name]["kernel"]), 3, 0)
    dead = aliasing = None
    if mined:
        layers = mined.layers
        dead = {
            layer: len(dead_maps(mined.winners, layer)) / len(mined.winners[f"{layer}/value"])
            for layer in layers
        }
        if len(layers) > 1:
            aliasing = _mean_aliasing(mined, layers[1], conv.stride)
    return {
        "run": run.directory.resolve().name,
        "step": run.step,
        "mined": mined.folder.name if mined else None,
        "dominance": dominance(filters),
        "spectrum": spectral_coverage(filters),
        "dead": dead,
        "aliasing": aliasing,
    }


def _mean_aliasing(mined: Winners, layer: str, stride: int) -> float | None:
    """Over all winners of a layer, one map in memory at a time; None if there are none."""
    here = mined.winners[f"{layer}/image"] >= 0
    indices = [
        aliasing_index(mined.projection(layer, number)[winners], stride)
        for number, winners in enumerate(here)
        if winners.any()
    ]
    return float(np.concatenate(indices).mean()) if indices else None


def dominance(filters: np.ndarray) -> dict[str, float]:
    """Whether few filters outweigh the rest, from their RMS r_1, ..., r_M.

    Args:
      filters: [M, k, k, C].

    Returns:
      'median', 'largest': of the RMS;
      'ratio': max r / median r, 1 if all are equal;
      'energy': max r^2 / sum r^2, the share of the largest filter, 1 / M if all are equal.
    """
    rms = filter_rms(filters)
    median, largest, energy = np.median(rms), rms.max(), np.square(rms).sum()
    return {
        "median": float(median),
        "largest": float(largest),
        "ratio": float(largest / median) if median > 0 else float("inf"),
        "energy": float(largest**2 / energy) if energy > 0 else 0.0,
    }


def spectral_coverage(filters: np.ndarray) -> dict[str, float]:
    """Which frequencies a layer's filters look at.

    Each filter counts equally: its power spectrum P(u, v) is divided by its sum. With the radial
    frequency f = sqrt(u^2 + v^2) in cycles per pixel, the shares of the power are

        low: f < 1/8,   mid: 1/8 <= f < 1/4,   high: f >= 1/4

    averaged over filters, and the mid-frequency gap is max(0, 1 - mid / min(low, high)): 0 unless
    the mid share is below both others, 1 if there is none at all. For comparison, white noise has
    shares of about 0.05, 0.15 and 0.80. Filters that are zero are left out.

    Args:
      filters: [M, k, k, C].

    Returns:
      'low', 'mid', 'high', which add up to 1, and 'gap'.
    """
    spectra = power(filters)
    spectra = spectra[spectra.sum(axis=(1, 2)) > 0]
    vertical, horizontal = frequencies(spectra.shape[1])
    radius = np.hypot(vertical, horizontal)
    bands = (radius < BANDS[0], (radius >= BANDS[0]) & (radius < BANDS[1]), radius >= BANDS[1])
    low, mid, high = (float(share(spectra, band).mean()) if len(spectra) else 0.0 for band in bands)
    smaller = min(low, high)
    gap = max(0.0, 1 - mid / smaller) if smaller > 0 else 0.0
    return {"low": low, "mid": mid, "high": high, "gap": gap}


def aliasing_index(projections: np.ndarray, stride: int) -> np.ndarray:
    """How much of a projection the first layer's grid of units cannot represent.

    The first layer samples the image every `stride` pixels, so it tells apart frequencies up to
    1 / (2 stride) cycles per pixel along each axis; finer patterns come back from it as others,
    locked to the grid. The index is the share of a projection's power, its mean subtracted, at

        max(u, v) >= 1 / (2 stride) - 1 / s

    where 1 / s is the resolution of its s pixels: near 1 for a checkerboard of stride-pixel
    squares, near 0 for a smooth one. A larger stride finds more of the same projection too fine,
    which is the point: compare nets, not projections of one net at several strides.

    Args:
      projections: [N, s, s, C].
      stride: of the first layer, pixels.

    Returns:
      [N], from 0 to 1; 0 for an empty projection.
    """
    centred = projections - projections.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    spectra = power(centred)
    vertical, horizontal = frequencies(spectra.shape[1])
    limit = 1 / (2 * stride) - 1 / projections.shape[1]
    return share(spectra, np.maximum(vertical, horizontal) >= limit)
