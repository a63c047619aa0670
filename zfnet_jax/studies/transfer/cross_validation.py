"""How strongly to regularise a head: cross-validation on the training images alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zfnet_jax import heap
from zfnet_jax.studies.transfer import heads
from zfnet_jax.studies.transfer.gram import Products
from zfnet_jax.studies.transfer.options import Head


def choose_c(
    head: Head,
    inputs: Products,
    labels: np.ndarray,
    per_class: int,
    grid: Sequence[float],
    *,
    folds: int,
    tolerance: float,
    told: Callable[[float], None] | None = None,
) -> float:
    """The C of the grid whose heads answer best on training images that they have not seen.

    Each class's images are dealt to the folds in turn; each fold is held out once. Of equally good
    values the smallest. With fewer images per class than folds there are as many folds as images;
    with one nothing can be held out, and the middle of the grid stands.

    Args:
      head: the loss.
      inputs: of n * K training images, image i of class k in place k * n + i.
      labels: [n * K].
      per_class: n.
      grid: values of C, ascending.
      folds: how many, at least 2.
      tolerance, told: see `heads.fit`.
    """
    folds = min(folds, per_class)
    if folds < 2:
        return grid[len(grid) // 2]
    fold_of = np.arange(len(labels)) % per_class % folds
    classes = len(labels) // per_class
    right = np.zeros((len(grid), folds))
    for fold in range(folds):
        seen, held = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        part = inputs.part(seen, held)
        found = heads.fit(
            head,
            part.train,
            heads.one_hot(labels[seen], classes),
            grid,
            tolerance=tolerance,
            told=told,
        )
        for place, weights in enumerate(found):
            predicted = heads.logits(part, weights).argmax(axis=1)
            right[place, fold] = np.mean(predicted == labels[held])
        del part, found  # before the next ones
        heap.give_back()
    return grid[int(right.mean(axis=1).argmax())]
