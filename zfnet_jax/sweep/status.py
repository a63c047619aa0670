"""How far a run is, from what lies in its folder."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import statistics
import time
from pathlib import Path

from zfnet_jax.sweep.plan import Run
from zfnet_jax.training.metrics import read_metrics

_RECENT_EPOCHS = 5
_FULL_BYTES = 16 * 2**20  # less room than this is a full disk: a checkpoint needs more


@dataclasses.dataclass(frozen=True)
class Status:
    """What the metrics and checkpoints of a run say.

    Attributes:
      epoch: the last one that ended; 0 before the first.
      error: top-1 validation error after it, a fraction of 1.
      seconds_left: until the last epoch ends if the run is at work now; None while unknown.
      finished: the last epoch's checkpoint is there.
    """

    epoch: int = 0
    error: float | None = None
    seconds_left: float | None = None
    finished: bool = False


def read_status(run: Run) -> Status:
    """The status of a run, also of one that never started."""
    metrics = run.folder / "metrics.jsonl"
    try:
        records = read_metrics(run.folder)
        idle = time.time() - metrics.stat().st_mtime
    except (FileNotFoundError, ValueError):  # for a damaged file the training has its own error
        records, idle = [], 0.0
    if not records:
        return Status()
    last, epochs = records[-1], run.config.epochs
    seconds = statistics.median(record["epoch_seconds"] for record in records[-_RECENT_EPOCHS:])
    # The record is written before its checkpoint: a run killed in between is not finished.
    saved = run.folder / "checkpoints" / str(last["step"])
    return Status(
        epoch=int(last["epoch"]),
        error=1 - last["val/top1"],
        # The epoch at work has begun with the last record, but in a resumed run not so long ago.
        seconds_left=max(0.0, (epochs - last["epoch"]) * seconds - min(idle, seconds)),
        finished=last["epoch"] >= epochs and saved.is_dir(),
    )


def reason_of_failure(run: Run, how: str) -> str:
    """One line on why a run ended early.

    Args:
      run: the run.
      how: how it ended, such as 'exit status 1'.
    """
    lines = _last_lines(run.log)
    full = os.strerror(errno.ENOSPC)
    if any(full in line for line in lines) or _free_bytes(run.folder) < _FULL_BYTES:
        return f"the disk of {run.folder} is full: make room, and the same command goes on"
    errors = [line for line in lines if "error" in line.lower()] or lines
    return f"{how}: {errors[-1]}" if errors else how


def _last_lines(path: Path, size: int = 4000) -> list[str]:
    """The last lines of a text file that are not blank; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _free_bytes(path: Path) -> int:
    """Room on the disk of a folder, or of the nearest one above that exists."""
    existing = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    return shutil.disk_usage(existing).free
