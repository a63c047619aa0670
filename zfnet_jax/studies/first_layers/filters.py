"""First-layer filters of a run, as pixels, with what was done to train them (Fig. 6)."""

from __future__ import annotations

import numpy as np

from zfnet_jax.runs.run import Run

Arrays = dict[str, np.ndarray]


def first_layer(run: Run) -> Arrays:
    """The filters of the first layer, and the settings that Fig. 6 compares.

    Returns:
      'filters' [M, k, l, C] float32; 'rms' [M], each filter's root mean square; 'stride', one
      number or (down, across);
      'rms_limit' (0: none; NaN: not known, the net is imported); 'run', the folder's name; 'step'.
    """
    conv = run.architecture.convs[0]
    filters = np.moveaxis(np.asarray(run.params[conv.name]["kernel"]), 3, 0)
    return {
        "filters": filters,
        "rms": filter_rms(filters),
        "stride": np.array(conv.stride),
        "rms_limit": np.array(np.nan if run.is_imported else run.config.optimizer.rms_limit),
        "run": np.array(run.directory.resolve().name),
        "step": np.array(run.step),
    }


def filter_rms(filters: np.ndarray) -> np.ndarray:
    """Root mean square [M] of filters [M, k, l, C], over rows, columns and input maps."""
    return np.sqrt(np.square(filters, dtype=np.float64).mean(axis=(1, 2, 3)))
