"""Takes every run of a sweep to its end through a launcher, and shows how far each is."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from zfnet_jax.sweep.plan import Run
from zfnet_jax.sweep.status import Status, read_status, reason_of_failure

State = Literal["waiting", "queued", "running", "finished", "failed"]
_ATTEMPTS = 2


@dataclasses.dataclass(frozen=True)
class Job:
    """A run in the hands of a launcher: 'queued' by a scheduler, 'running' or 'ended'.

    `note` says what it waits for, or how it ended; `again` whether a failure may be retried;
    `interrupted` whether it was told to stop and saved, which is no failure.
    """

    state: Literal["queued", "running", "ended"]
    note: str = ""
    again: bool = True
    interrupted: bool = False


class Launcher(Protocol):
    """Starts runs and watches them; a run is in its hands from `start` until it is 'ended'."""

    seconds_between_polls: float

    def room(self) -> int:
        """How many more runs it takes now."""

    def start(self, runs: Sequence[Run]) -> None:
        """Starts the training of each run; whatever goes wrong with it, `poll` tells."""

    def poll(self) -> dict[str, Job]:
        """The runs in its hands by name; one that has ended is told once."""

    def stop(self) -> None:
        """Called last: ends what must not outlive the sweep."""


@dataclasses.dataclass
class Row:
    """A line of the live table."""

    run: Run
    state: State
    status: Status
    note: str = ""
    attempts: int = 0


def make_rows(runs: Sequence[Run]) -> list[Row]:
    """One row per run, in order: 'finished' by an earlier sweep, or 'waiting'."""
    rows = []
    for run in runs:
        status = read_status(run)
        rows.append(Row(run, "finished" if status.finished else "waiting", status))
    return rows


def execute(rows: Sequence[Row], launcher: Launcher, show: Callable[[Sequence[Row]], None]) -> None:
    """Starts the runs that wait, watches them, and tries a failed one once more.

    One that was interrupted goes on as often as it is.

    Returns when every row is 'finished' or 'failed'. KeyboardInterrupt, on SIGTERM and SIGHUP as on
    Ctrl-C, leaves the runs resumable.
    """
    by_name = {row.run.name: row for row in rows}
    with _Interrupts() as interrupts:
        try:
            while True:
                waiting = [row for row in rows if row.state == "waiting"][: launcher.room()]
                for row in waiting:
                    row.state, row.attempts = "running", row.attempts + 1
                if waiting:
                    launcher.start([row.run for row in waiting])
                for name, job in launcher.poll().items():
                    _update(by_name[name], job)
                show(rows)
                if all(row.state in ("finished", "failed") for row in rows):
                    break
                interrupts.sleep(launcher.seconds_between_polls)
        finally:
            launcher.stop()


def _update(row: Row, job: Job) -> None:
    row.status = read_status(row.run)
    if job.state != "ended":
        row.state, row.note = job.state, job.note
    elif row.status.finished:  # its folder counts, not how the process went away
        row.state, row.note = "finished", ""
    elif job.interrupted:
        row.state, row.note, row.attempts = "waiting", f"goes on after {job.note}", row.attempts - 1
    else:
        again = job.again and row.attempts < _ATTEMPTS
        row.state = "waiting" if again else "failed"
        row.note = ("tried again after " if again else "") + reason_of_failure(row.run, job.note)


class _Interrupts:
    """Turns SIGTERM and SIGHUP into KeyboardInterrupt, as Ctrl-C is, and only while it sleeps.

    So no run is lost between its start and the note of it. A signal that is ignored (nohup) stays
    ignored.
    """

    def __init__(self) -> None:
        self._told = self._sleeping = False

    def sleep(self, seconds: float) -> None:
        """Sleeps; KeyboardInterrupt if a signal came since the last time or comes meanwhile."""
        self._sleeping = True
        try:
            if self._told:
                raise KeyboardInterrupt
            time.sleep(seconds)
        finally:
            self._sleeping = False

    def _tell(self, *_: object) -> None:
        self._told = True
        if self._sleeping:
            raise KeyboardInterrupt

    def __enter__(self) -> _Interrupts:
        self._before = {
            number: signal.signal(number, self._tell)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
