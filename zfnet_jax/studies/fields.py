"""Where in an image units look."""

from __future__ import annotations

import numpy as np

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture


def seen_by(net: Architecture, layer: str, positions: np.ndarray) -> np.ndarray:
    """The receptive fields of units of a layer of maps, which may leave the image.

    Args:
      positions: [..., 2], their rows and columns.

    Returns:
      [..., 4] int32, first row and column and the ones past the last: (top, left, bottom, right).
    """
    fields = geometry.receptive_fields(net, layer)
    first = positions * [field.jump for field in fields] + [field.start for field in fields]
    past = first + [field.size for field in fields]
    return np.concatenate([first, past], axis=-1).astype(np.int32)
