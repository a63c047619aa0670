"""A reproduction in the terminal: its plan, and one progress bar over all of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from zfnet_jax.reproduce.execute import Row

_PER_SECOND = 2  # how often the bar moves


class OneBar:
    """A line for each step that was made, and under them one bar with the time that is left.

    The bar goes by estimated time; estimates are scaled by how long the steps before really took.
    Where standard error is no terminal there are only the lines.
    """

    def __init__(self, *, shown: bool = True) -> None:
        """`shown`: whether there is anything to see: one process of a job shows."""
        self._shown = shown
        # Steps may print into a log: the bar stays where standard error was.
        console = Console(file=sys.stderr, highlight=False)
        self._state = _State()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            _Share(self._state),
            _Left(self._state),
            console=console,
            refresh_per_second=_PER_SECOND,
            disable=not (shown and console.is_terminal),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=1.0)
        self._told: set[str] = set()

    def show(self, rows: Sequence[Row]) -> None:
        """Called whenever a step begins or ends."""
        if not self._shown:
            return
        self._state.update(rows)
        work = [row for row in rows if row.state in ("waiting", "running", "made", "failed")]
        for number, row in enumerate(work, start=1):
            if row.state == "running":
                text = f"{number}/{len(work)}  {row.step.title}"
                self._progress.update(self._task, description=text)
                if self._progress.disable:
                    print(text, flush=True)
            elif row.state in ("made", "failed") and row.step.name not in self._told:
                self._told.add(row.step.name)
                self._print(f"{number}/{len(work)}  {row.step.title}: {_outcome(row)}")

    def _print(self, text: str) -> None:
        if self._progress.disable:
            print(text, flush=True)
        else:
            self._progress.console.print(text, markup=False, soft_wrap=True)

    def __enter__(self) -> OneBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def print_plan(rows: Sequence[Row]) -> None:
    """Prints what there is to do, how long it takes, and what cannot be done and why."""
    wide = max(len(row.step.name) for row in rows)
    for row in rows:
        what = {
            "waiting": f"about {duration(row.seconds)}",
            "done": "done",
            "missing": f"cannot be made: {row.reason}",
        }[row.state]
        print(f"{row.step.name:{wide}}  {row.step.title}: {what}")
    waiting = [row for row in rows if row.state == "waiting"]
    total = sum(row.seconds for row in waiting)
    print(f"{len(waiting)} of {len(rows)} steps to make, about {duration(total)} in all")


def duration(seconds: float) -> str:
    """'45 s', '3 min' or '2 h 5 min'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class _State:
    """Times done and left, the running step's by the clock."""

    def __init__(self) -> None:
        self._done = self._estimated = self._rest = 0.0
        self._running: Row | None = None
        self._began = 0.0
        self._estimates: dict[str, float] = {}

    def update(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.state in ("waiting", "running"):
                self._estimates.setdefault(row.step.name, row.seconds)
        made = [row for row in rows if row.state == "made"]
        self._done = sum(row.seconds for row in made)
        self._estimated = sum(self._estimates.get(row.step.name, 0) for row in made)
        self._rest = sum(row.seconds for row in rows if row.state == "waiting")
        running = next((row for row in rows if row.state == "running"), None)
        if running is not self._running:
            self._running, self._began = running, time.monotonic()

    def times(self) -> tuple[float, float]:
        """Seconds gone and seconds left."""
        # Half a minute's worth of trust in the estimates, so that the first step does not rule.
        scale = (self._done + 30) / (self._estimated + 30)
        gone, left = self._done, self._rest * scale
        if self._running:
            here = time.monotonic() - self._began
            gone += here
            # A step that takes longer than it should is always nearly done.
            left += max(self._running.seconds * scale - here, 0.05 * here)
        return gone, left


class _Share(ProgressColumn):
    def __init__(self, state: _State) -> None:
        super().__init__()
        self._state = state

    def render(self, task: Task) -> Text:
        gone, left = self._state.times()
        task.completed = gone / max(gone + left, 1e-9)
        return Text(f"{task.completed:4.0%}")


class _Left(ProgressColumn):
    def __init__(self, state: _State) -> None:
        super().__init__()
        self._state = state

    def render(self, task: Task) -> Text:  # noqa: ARG002 (rich's signature)
        _, left = self._state.times()
        return Text(f"{duration(left)} left")


def _outcome(row: Row) -> str:
    if row.state == "failed":
        return f"failed: {row.reason}"
    return duration(row.seconds) if row.seconds >= 1 else "below 1 s"
