"""One sweep at a time in a folder."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

from zfnet_jax import lock

SLURM_JOBS = "slurm_jobs.json"  # {run: job} of the jobs that a sweep left to Slurm


def locked(directory: Path) -> AbstractContextManager[int]:
    """Holds the folder's lock; gives its file descriptor, for processes to keep it held too.

    ValueError if another sweep holds it, or a training that a killed sweep left behind.
    """
    return lock.locked(directory / "sweep.lock", "a sweep, or a training that it left behind")


def check_not_with_slurm(directory: Path) -> None:
    """ValueError if a sweep left runs of the folder to Slurm."""
    path = directory / SLURM_JOBS
    jobs = json.loads(path.read_text()) if path.exists() else {}
    if jobs:
        names = ", ".join(f"{run} (job {job})" for run, job in jobs.items())
        raise ValueError(
            f"{directory} has runs with Slurm: {names}. Go on with --launcher=slurm, or scancel "
            f"them and remove {path}"
        )
