"""Trainings that are killed again and again, and whether they end as an unbroken one does."""

from __future__ import annotations

import dataclasses
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from zfnet_jax.runs.array_tree import digest
from zfnet_jax.runs.checkpoint import open_checkpoints
from zfnet_jax.training.metrics import read_metrics

TIME_FIELDS = (
    "images_per_second",
    "waiting",
    "epoch_seconds",
)  # of the metrics: no two runs have the same


@dataclasses.dataclass
class Soak:
    """Trainings of one config in processes of their own.

    Attributes:
      arguments: the flags of scripts.train, but for the folder.
      processes: how many train together; a kill hits one of them.
      seconds_to_end: how long the others may take to notice; one that waits for a process that
        died before they met gives up after `meeting.START_SECONDS`.
    """

    arguments: Sequence[str]
    processes: int = 1
    seconds_to_end: float = 360.0

    def start(self, workdir: Path) -> list[subprocess.Popen[bytes]]:
        """Starts a training, or goes on with it; it writes to WORKDIR.log."""
        command = [sys.executable, "-m", "zfnet_jax", "train", *self.arguments]
        command.append(f"--workdir={workdir}")
        together: list[list[str]] = [[]]
        if self.processes > 1:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                address = f"--coordinator=127.0.0.1:{probe.getsockname()[1]}"
            count = f"--processes={self.processes}"
            together = [[address, count, f"--process={i}"] for i in range(self.processes)]
        with workdir.with_suffix(".log").open("a", encoding="utf-8") as log:
            return [subprocess.Popen([*command, *own], stdout=log, stderr=log) for own in together]

    def finish(self, workdir: Path) -> None:
        """Trains to the end."""
        codes = [process.wait() for process in self.start(workdir)]
        if any(codes):
            raise ValueError(f"the training in {workdir} ended with {codes}: see its .log")

    def kill(self, workdir: Path, number: signal.Signals, chance: random.Random) -> str:
        """Starts the training and kills it at a random moment; what was seen."""
        before = _newest(workdir)
        processes = self.start(workdir)
        try:
            if chance.random() < 0.9:  # else perhaps while it still starts
                while _newest(workdir) == before and all(p.poll() is None for p in processes):
                    time.sleep(0.002)
            time.sleep(chance.uniform(0, 1.5))
            victim = chance.choice(processes)
            victim.send_signal(number)
            killed = time.monotonic()
            codes = [process.wait(self.seconds_to_end) for process in processes]
        finally:
            for process in processes:
                process.kill()
        half = len(list((workdir / "checkpoints").glob("*tmp*")))
        return (
            f"{number.name} to process {processes.index(victim)} of {len(processes)}, newest step "
            f"{_newest(workdir)}, {half} half-written; exit codes {codes} after "
            f"{time.monotonic() - killed:.1f} s"
        )


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two runs, beside times: nothing if they are the same to the last bit."""
    found = []
    untimed = [
        [{k: v for k, v in record.items() if k not in TIME_FIELDS} for record in read_metrics(run)]
        for run in (one, other)
    ]
    if untimed[0] != untimed[1]:
        found.append("metrics differ")
    with (
        open_checkpoints(one / "checkpoints") as first,
        open_checkpoints(other / "checkpoints") as second,
    ):
        if first.all_steps() != second.all_steps():
            found.append(f"steps {first.all_steps()} and {second.all_steps()} are kept")
            return found
        for step in first.all_steps():
            (left, a), (right, b) = first.restore(step), second.restore(step)
            if not jax.tree.all(jax.tree.map(lambda x, y: digest(x) == digest(y), left, right)):
                found.append(f"arrays of step {step} differ")
            if a != b:
                found.append(f"records of step {step} differ")
    return found


def _newest(workdir: Path) -> int:
    """The newest step that is saved; -1 if there is none."""
    folders = (workdir / "checkpoints").glob("*")
    return max((int(path.name) for path in folders if path.name.isdecimal()), default=-1)
