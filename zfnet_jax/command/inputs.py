"""What a script is given beside the run: what was mined of it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zfnet_jax.runs.steps import Which
    from zfnet_jax.studies.features.winners import Winners
    from zfnet_jax.studies.saved import Result


def mined(workdir: str | Path, split: str | None, step: Which | None) -> Winners:
    """What was mined of a run's checkpoint; says which result is taken where there are several.

    Args:
      split: the one that was mined if None, validation where several were.
      step: the newest that was mined if None.

    Raises:
      FileNotFoundError: nothing was mined, or not that step or split.
      ValueError: a file of it is damaged.
    """
    from zfnet_jax.runs import checkpoint  # after the flags
    from zfnet_jax.studies.features import finding, winners

    taken, *others = finding.mined(workdir, split).of_step(checkpoint.step_of(workdir, step))
    _tell([taken], others)
    return winners.load(taken.folder)


def mined_alike(
    workdir: str | Path,
    split: str | None,
    usual: str = "validation",
    *,
    step: Which | None = None,
    same_k: bool = False,
) -> list[Result]:
    """What was mined of all checkpoints of a run in one way; says which where there are others.

    Args and errors as in `finding.mined`, `same_k` as in `finding.Mined.alike`; of `step` alone if
    it is not None.
    """
    from zfnet_jax.runs import checkpoint  # after the flags
    from zfnet_jax.studies.features import finding

    found = finding.mined(workdir, split, usual)
    if step is not None:
        alone = tuple(found.of_step(checkpoint.step_of(workdir, step)))
        found = dataclasses.replace(found, results=alone)
    taken = found.alike(same_k=same_k)
    _tell(taken, [one for one in found.results if one not in taken])
    return taken


def _tell(taken: Sequence[Result], others: Sequence[Result]) -> None:
    if others:
        names = (", ".join(one.folder.name for one in results) for results in (taken, others))
        print("mined: {} taken, not {}".format(*names), file=sys.stderr)
