"""How strongly to regularise a head: cross-validation on the training images alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zfnet_jax.studies.transfer import heads
from zfnet_jax.studies.transfer.heads import Head


def choose_c(
    head: Head,
    inputs: np.ndarray,
    labels: np.ndarray,
    per_class: int,
    grid: Sequence[float],
    *,
    parts: int,
    tolerance: float,
) -> float:
    """The C of the grid whose heads answer best on training images that they have not seen.

    Each class's images are dealt to the parts in turn; each part is held out once. Of equally good
    values the smallest. With fewer images per class than parts there are as many parts as images;
    with one nothing can be held out, and the middle of the grid stands.

    Args:
      head: the loss.
      inputs: [n * K, R] coordinates, image i of class k in place k * n + i.
      labels: [n * K].
      per_class: n.
      grid: values of C, ascending.
      parts: how many, at least 2.
      tolerance: see `heads.fit`.
    """
    parts = min(parts, per_class)
    if parts < 2:
        return grid[len(grid) // 2]
    part_of = np.arange(len(labels)) % per_class % parts
    classes = len(labels) // per_class
    largest = classes * (per_class - per_class // parts)
    right = np.zeros((len(grid), parts))
    for part in range(parts):
        seen, held = part_of != part, part_of == part
        weights = None
        for place, c in enumerate(grid):
            weights = heads.fit(
                head,
                inputs[seen],
                labels[seen],
                classes,
                c,
                tolerance=tolerance,
                size=largest,
                start=weights,
            )
            right[place, part] = np.mean(weights.predict(inputs[held]) == labels[held])
    return grid[int(right.mean(axis=1).argmax())]
