"""Which runs are trainings of one net from several seeds: NAME_seed_0, NAME_seed_1 and so on."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SEED = re.compile(r"_seed_(\d+)$")


def net_of(run: str) -> str:
    """The net's name in that of a run."""
    return _SEED.sub("", run)


def trainings(name: str, runs: Iterable[str]) -> list[str]:
    """Those of some runs that are trainings of the net `name`, by their seeds."""
    seeds: dict[str, int] = {}
    for run in runs:
        if run == name:
            seeds[run] = -1
        elif (found := _SEED.search(run)) and net_of(run) == name:
            seeds[run] = int(found[1])
    return sorted(seeds, key=lambda run: (seeds[run], run))
