"""Makes the steps of a plan, each once, and tells how far it is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal, Protocol

import jax
from absl import logging

from zfnet_jax import entry, failures, lifeline, parallel
from zfnet_jax.files import write_json
from zfnet_jax.reproduce import speed
from zfnet_jax.reproduce.record import FOLDER, fingerprints, is_done, write_record
from zfnet_jax.reproduce.reproduction import Reproduction
from zfnet_jax.runs import provenance
from zfnet_jax.studies.step import Step
from zfnet_jax.training.preemption import PreemptedError

State = Literal["waiting", "running", "done", "made", "missing", "failed"]

SMALLER = "--batch_size=N takes fewer images at once"


@dataclasses.dataclass
class Row:
    """A step, where it stands, and how long it takes.

    Attributes:
      state: 'done' by an earlier reproduction, 'made' by this one, 'missing' if it cannot be made.
      seconds: that it took, or is estimated to take; 0 if there is nothing to do.
      reason: why it is missing or failed.
    """

    step: Step
    fingerprint: str
    state: State
    seconds: float
    reason: str = ""


class Display(Protocol):
    """What shows the progress."""

    def show(self, rows: Sequence[Row]) -> None:
        """Called whenever a step begins or ends."""


def make_rows(reproduction: Reproduction, steps: Sequence[Step]) -> list[Row]:
    """Where the steps stand."""
    digests = fingerprints(steps, reproduction.net)
    done = parallel.by_writer(
        lambda: {
            one.name for one in steps if is_done(reproduction.report, one.name, digests[one.name])
        }
    )
    rows = []
    stale: set[str] = set()
    for step in steps:
        row = Row(step, digests[step.name], "waiting", 0.0)
        if step.missing:
            row.state, row.reason = "missing", step.missing
        elif stale.isdisjoint(step.needs) and step.name in done:
            row.state = "done"
        else:
            stale.add(step.name)
        rows.append(row)
    return rows


def estimate(reproduction: Reproduction, rows: Sequence[Row]) -> None:
    """Sets the seconds of the steps that wait, from the speed of this machine.

    Where that cannot be measured, what they need beside the net alone counts.
    """
    waiting = [row for row in rows if row.state == "waiting"]
    images_per_second = float("inf")
    if waiting:
        try:
            images_per_second = parallel.by_writer(lambda: speed.images_per_second(reproduction))
        except Exception as error:
            logging.warning("no times are estimated: %s", failures.told(error, SMALLER))
    for row in waiting:
        row.seconds = row.step.seconds + row.step.images / images_per_second


def execute(reproduction: Reproduction, rows: Sequence[Row], display: Display) -> None:
    """Makes every waiting step; what a step has left is on the disk before the next begins.

    A step that meets an error has failed, and those that need it; others are made all the same. Of
    an error that the user may be unable to mend the step's log says where it was raised. Ctrl-C and
    PreemptedError, a training that was told to stop, end it all.
    All processes of a job make each step together.
    """
    try:
        _execute(reproduction, rows, display)
    except BaseException:
        for row in rows:
            if row.state in ("waiting", "running"):
                row.reason = "it was stopped before this was made"
        raise


def _execute(reproduction: Reproduction, rows: Sequence[Row], display: Display) -> None:
    unmade: dict[str, str] = {}
    for row in rows:
        step = row.step
        if row.state == "missing":
            unmade[step.name] = row.reason
        if row.state != "waiting":
            continue
        reasons = [unmade[name] for name in step.needs if name in unmade]
        if reasons:
            row.state, row.reason = "failed", reasons[0]
        else:
            row.state = "running"
            display.show(rows)
            _make(reproduction, row)
        if row.state == "failed":
            row.seconds = 0
            unmade[step.name] = row.reason
        display.show(rows)


def keep_plan(reproduction: Reproduction, rows: Sequence[Row]) -> None:
    """Writes what the report needs beside the steps' records: how they hang together, and why
    some are not there.

    Of a step that was not asked for this time, the reason is the one of before.
    """
    path = reproduction.report / FOLDER / "plan.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    plan = {
        row.step.name: {
            "title": row.step.title,
            "fingerprint": row.fingerprint,
            "state": row.state,
            "reason": row.reason or _reason_before(row, before),
            "needs": list(row.step.needs),
            "draft": reproduction.effort.draft,
            "entry": row.step.entry and dataclasses.asdict(row.step.entry),
        }
        for row in rows
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)


def _reason_before(row: Row, before: Mapping[str, Any]) -> str:
    was = before.get(row.step.name)
    if was is None or was["fingerprint"] != row.fingerprint or row.state != "waiting":
        return ""
    return was["reason"]


def _make(reproduction: Reproduction, row: Row) -> None:
    began = time.monotonic()
    log = reproduction.report / FOLDER / f"{row.step.name}.log"
    try:
        with _logged(log) if parallel.is_writer() else contextlib.nullcontext():
            made = row.step.make()
    except PreemptedError:
        raise
    except Exception as error:
        parallel.all_fail(row.step.name, error)
        row.state, row.reason = "failed", entry.as_typed(failures.told(error, SMALLER))
        if not isinstance(error, lifeline.EXPECTED):
            row.reason += f"; {log.relative_to(reproduction.workdir)} says more"
        return
    row.state, row.seconds = "made", time.monotonic() - began
    if not parallel.is_writer():
        return
    if not log.stat().st_size:
        log.unlink()
    commands = made.commands or row.step.commands
    about = _about(reproduction, row) | {"commands": list(commands)}
    write_record(reproduction.report, row.step.name, made, about)


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What is printed goes to a file, and where an error was raised that no user can mend."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:  # names of any bytes
        try:
            with redirect_stdout(file), redirect_stderr(file):
                yield
        except lifeline.EXPECTED:
            raise
        except Exception as error:
            traceback.print_exception(error, file=file)
            raise


def _about(reproduction: Reproduction, row: Row) -> dict[str, Any]:
    origin = provenance.of_run(reproduction.run)
    return {
        "fingerprint": row.fingerprint,
        "seconds": round(row.seconds, 2),
        "finished": time.strftime("%Y-%m-%d %H:%M"),
        "options": dict(row.step.options),
        "net": reproduction.net,
        "draft": reproduction.effort.draft,
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        **{name: origin[name] for name in ("run", "step", "epoch", "versions")},
    }
