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
from zfnet_jax.studies.first_layers.aliasing import grid_share
from zfnet_jax.studies.first_layers.filters import filter_rms
from zfnet_jax.studies.first_layers.spectrum import coverage
from zfnet_jax.windows import Sides


def diagnose(run: Run, mined: Winners | None) -> dict[str, Any]:
    """The numbers of one run.

    Args:
      run: the net.
      mined: what mining left of it; without it, 'dead' and 'aliasing' are None.

    Returns:
      'run', 'step'; 'mined', the folder's name;
      'dominance': see `dominance`, of the first layer; 'spectrum': see `spectrum.coverage`, of it;
      'dead': {layer: share of maps that no image activates};
      'aliasing': `aliasing.grid_share` of the second layer's projected winners.
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
            aliasing = _aliasing(mined, layers[1], conv.stride)
    return {
        "run": run.directory.resolve().name,
        "step": run.step,
        "mined": mined.folder.name if mined else None,
        "dominance": dominance(filters),
        "spectrum": coverage(filters),
        "dead": dead,
        "aliasing": aliasing,
    }


def _aliasing(mined: Winners, layer: str, stride: Sides) -> float | None:
    """Over all winners of a layer, one map in memory at a time."""
    here = mined.winners[f"{layer}/image"] >= 0
    maps = (mined.projection(layer, number)[one] for number, one in enumerate(here) if one.any())
    return grid_share(maps, stride)


def dominance(filters: np.ndarray) -> dict[str, float]:
    """Whether few filters outweigh the rest, from their RMS r_1, ..., r_M.

    Args:
      filters: [M, k, l, C].

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
