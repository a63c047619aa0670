"""A sweep in the terminal: its list, and the table that lives while it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from zfnet_jax.sweep.execute import Row, State

_SECONDS_BETWEEN_REPRINTS = 60.0
_COLOURS = {"running": "cyan", "finished": "green", "failed": "red"}


class LiveTable:
    """State, epoch, error and time left of each run.

    In a terminal it stays in place. In a log file it is printed again when a run changes state, and
    once a minute while only numbers move.
    """

    def __init__(self) -> None:
        self._console = _console()
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
        self._states: list[tuple[State, str]] = []
        self._printed = float("-inf")

    def show(self, rows: Sequence[Row]) -> None:
        """Shows the rows as they are now."""
        if self._live is not None:
            self._live.update(table(rows), refresh=True)
            return
        states = [(row.state, row.note) for row in rows]
        now = time.monotonic()
        if states != self._states or now - self._printed > _SECONDS_BETWEEN_REPRINTS:
            self._states, self._printed = states, now
            self._console.print(time.strftime("%H:%M:%S"))
            self._console.print(table(rows))

    def __enter__(self) -> LiveTable:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()


def print_plan(rows: Sequence[Row]) -> None:
    """Prints what a sweep would do: each run, where it stands, and the fields that it changes."""
    for row in rows:
        epochs = f"{row.status.epoch} of {row.run.config.epochs} epochs done"
        label = f" ({row.run.label})" if row.run.label != row.run.name else ""
        print(f"{row.run.name}{label}: {row.state}, {epochs}")
        for field, value in row.run.changes.items():
            print(f"    {field} = {value!r}")


def _console() -> Console:
    """Standard output; wide and plain where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160, no_color=True)


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table for the terminal."""
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("run", "state"):
        result.add_column(column, no_wrap=True)
    for column in ("epoch", "top-1 error", "time left"):
        result.add_column(column, justify="right", no_wrap=True)
    result.add_column("", overflow="fold")
    for row in rows:
        status = row.status
        left = status.seconds_left if row.state == "running" else None
        result.add_row(
            row.run.name,
            row.state,
            f"{status.epoch}/{row.run.config.epochs}",
            "" if status.error is None else f"{status.error:.1%}",
            "" if left is None else _duration(left),
            row.note,
            style=_COLOURS.get(row.state),
        )
    return result


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
