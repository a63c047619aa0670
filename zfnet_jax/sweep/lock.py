"""One sweep at a time in a folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLURM_JOBS = "slurm_jobs.json"  # {run: job} of the jobs that a sweep left to Slurm


@contextmanager
def locked(directory: Path) -> Iterator[int]:
    """Holds the folder's lock; yields its file descriptor, for processes to keep it held too.

    Raises:
      ValueError: another sweep holds it, or a training that a killed sweep left behind.
    """
    path = directory / "sweep.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"a sweep (process {file.read().strip()}), or a training that it left behind, is "
                f"at work in {directory}: wait for it or end it"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()


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
