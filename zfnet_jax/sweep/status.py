"""How far a run is, from what lies in its folder."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from zfnet_jax.training import early_stopping
from zfnet_jax.training.metrics import read_metrics

if TYPE_CHECKING:
    from zfnet_jax.sweep.plan import Run

_RECENT_EPOCHS = 5
_FULL_BYTES = 16 * 2**20  # less room than this is a full disk: a checkpoint needs more


@dataclasses.dataclass(frozen=True)
class Status:
    """What the metrics and checkpoints of a run say.

    Attributes:
      epoch: the last one that ended; 0 before the first.
      error: top-1 validation error after it, a fraction of 1.
      seconds_left: until the last epoch ends if the run is at work now; None while unknown.
      ended: it was the last one, or `config.early_stopping` made it so.
      finished: and its checkpoint is there.
    """

    epoch: int = 0
    error: float | None = None
    seconds_left: float | None = None
    ended: bool = False
    finished: bool = False


def read_status(run: Run) -> Status:
    """The status of a run, also of one that never started."""
    try:
        return status_of(run.folder, run.config.epochs, run.config.early_stopping)
    except ValueError:  # for a damaged file the training has its own error
        return Status()


def status_of(folder: Path, epochs: int, patience: int = 0) -> Status:
    """The status of the run in a folder, which is to be trained for so many epochs, or ends early
    after so many without a lower error.

    ValueError: its metrics are damaged.
    """
    try:
        records = read_metrics(folder)
        idle = time.time() - (folder / "metrics.jsonl").stat().st_mtime
    except FileNotFoundError:
        records, idle = [], 0.0
    if not records:
        return Status()
    last = records[-1]
    seconds = statistics.median(record["epoch_seconds"] for record in records[-_RECENT_EPOCHS:])
    # The record is written before its checkpoint: a run killed in between is not finished.
    saved = folder / "checkpoints" / str(last["step"])
    errors = [1 - record["val/top1"] for record in records]
    ended = last["epoch"] >= epochs or early_stopping.ends(errors, patience)
    return Status(
        epoch=int(last["epoch"]),
        error=errors[-1],
        # The epoch at work has begun with the last record, but in a resumed run not so long ago.
        seconds_left=max(0.0, (epochs - last["epoch"]) * seconds - min(idle, seconds)),
        ended=ended,
        finished=ended and saved.is_dir(),
    )


def unfinished(folder: Path) -> str | None:
    """Why a run is not one to compare yet, such as 'trained for 3 of 42 epochs'; None if it is.

    ValueError: its metrics are damaged.
    """
    if not (folder / "config.json").exists():
        return "not trained"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # Runs from before there was early stopping have no such field.
    epochs = config["epochs"]
    status = status_of(folder, epochs, config.get("early_stopping", 0))
    if status.finished:
        return None
    if status.ended:
        return "has not saved its last checkpoint"
    return f"trained for {status.epoch} of {epochs} epochs"


def runs_in(sweep: str | Path) -> list[Path]:
    """The folders of a sweep's runs, those not begun left out.

    Raises:
      FileNotFoundError: there is none.
    """
    found = sorted(path.parent for path in Path(sweep).glob("*/config.json"))
    if not found:
        raise FileNotFoundError(f"{sweep} holds no folder of a run")
    return found


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
