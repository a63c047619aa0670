"""When a run has stopped getting better: `config.early_stopping`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def best_epoch(errors: Sequence[float]) -> int:
    """The first epoch, counted from 1, with the lowest validation error; 0 before there is one."""
    return int(np.argmin(errors)) + 1 if errors else 0


def ends(errors: Sequence[float], patience: int) -> bool:
    """Whether a run with these validation errors, one an epoch, is finished before its last epoch:
    the lowest is `patience` epochs old or older; 0 never ends it."""
    return 0 < patience <= len(errors) - best_epoch(errors)


def words(errors: Sequence[float], steps_per_epoch: int) -> str:
    """What is said of a run that ends early."""
    since = len(errors) - best_epoch(errors)
    best = len(errors) - int(np.argmin(errors[::-1]))  # of equals the newest is kept
    return (
        f"ends early: validation error has not fallen for {since} epochs; the best was epoch"
        f" {best}, step {best * steps_per_epoch}"
    )
