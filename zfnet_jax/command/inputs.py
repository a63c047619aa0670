"""What a script is given beside the run: what was mined of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zfnet_jax.studies.features.winners import Winners
    from zfnet_jax.studies.saved import Result


def mined(workdir: str | Path, split: str | None, step: int | None) -> Winners:
    """What was mined of a run's checkpoint; says which result is taken where there are several.

    Args:
      split: the one that was mined if None, validation where several were.
      step: the newest that was mined if None.

    Raises:
      FileNotFoundError: nothing was mined, or not that step or split.
      ValueError: a file of it is damaged.
    """
    from zfnet_jax.studies.features import finding, winners  # after the flags

    taken, *others = finding.mined(workdir, split).of_step(step)
    _tell([taken], others)
    return winners.load(taken.folder)


def mined_alike(
    workdir: str | Path, split: str | None, usual: str = "validation", *, same_k: bool = False
) -> list[Result]:
    """What was mined of all checkpoints of a run in one way; says which where there are others.

    Args and errors as in `finding.mined`, `same_k` as in `finding.Mined.alike`.
    """
    from zfnet_jax.studies.features import finding  # after the flags

    found = finding.mined(workdir, split, usual)
    taken = found.alike(same_k=same_k)
    _tell(taken, [one for one in found.results if one not in taken])
    return taken


def _tell(taken: Sequence[Result], others: Sequence[Result]) -> None:
    if others:
        names = (", ".join(one.folder.name for one in results) for results in (taken, others))
        print("mined: {} taken, not {}".format(*names), file=sys.stderr)
