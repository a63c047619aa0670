"""Runs of a sweep as processes of this machine, as many at once as it has devices for."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from zfnet_jax.sweep.execute import Job
from zfnet_jax.sweep.plan import Run
from zfnet_jax.training.preemption import EXIT_CODE

_SIMULATED = "--xla_force_host_platform_device_count"
_MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION"
_JAX_SETS_ASIDE = 0.75  # of a GPU's memory
_SECONDS_TO_END = 40.0  # to finish a step and save


@dataclasses.dataclass(frozen=True)
class Slot:
    """The devices of one run: variables that show it these only, and its CPU cores, if not all."""

    environment: Mapping[str, str]
    cores: frozenset[int] | None = None


def training(run: Run) -> list[str]:
    """The command that trains a run, or goes on with it."""
    return [sys.executable, "-m", "zfnet_jax", "train", *run.arguments]


class LocalLauncher:
    """A process per run, in turn or as many at once as there are slots.

    Each writes to its run's log. They end with the sweep: told to, they save and go on from there
    when they are started again.

    Args:
      slots: one for each run at a time (`find_slots`).
      command: what to start for a run.
      inherit: a file descriptor that every process keeps open (the sweep's lock), so that one that
        outlives a killed sweep still shows.
    """

    seconds_between_polls = 0.5

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        command: Callable[[Run], Sequence[str]] = training,
        inherit: int | None = None,
    ) -> None:
        self._free = list(slots)
        self._command = command
        self._inherit = () if inherit is None else (inherit,)
        self._processes: dict[str, tuple[subprocess.Popen[bytes], Slot]] = {}
        self._not_started: dict[str, str] = {}

    def room(self) -> int:
        return len(self._free)

    def start(self, runs: Sequence[Run]) -> None:
        for run in runs:
            try:
                self._start(run, self._free[0])
            except OSError as error:
                self._not_started[run.name] = str(error)
            else:
                self._free.pop(0)

    def poll(self) -> dict[str, Job]:
        jobs = {name: Job("ended", error) for name, error in self._not_started.items()}
        self._not_started.clear()
        for name, (process, slot) in list(self._processes.items()):
            status = process.poll()
            if status is None:
                jobs[name] = Job("running")
                continue
            how = f"exit status {status}"
            if status < 0:
                how = f"ended by {signal.Signals(-status).name}"
            elif status == EXIT_CODE:
                how = "an interruption"
            jobs[name] = Job("ended", how, interrupted=status == EXIT_CODE)
            del self._processes[name]
            self._free.append(slot)
        return jobs

    def stop(self) -> None:
        """Ends what still runs, with its own children: SIGTERM, and SIGKILL to what stays."""
        processes = [process for process, _ in self._processes.values()]
        for number, seconds in ((signal.SIGTERM, _SECONDS_TO_END), (signal.SIGKILL, None)):
            alive = [process for process in processes if process.poll() is None]
            for process in alive:
                os.killpg(process.pid, number)
            deadline = None if seconds is None else time.monotonic() + seconds
            for process in alive:
                try:
                    process.wait(deadline and max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue

    def _start(self, run: Run, slot: Slot) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        with run.log.open("a", encoding="utf-8") as log:
            command = self._command(run)
            _write_header(log, command)
            process = subprocess.Popen(
                command,
                env=os.environ | slot.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self._inherit,
                start_new_session=True,  # Ctrl-C reaches the sweep alone, which ends them in order
            )
        if slot.cores is not None:
            os.sched_setaffinity(process.pid, slot.cores)
        self._processes[run.name] = (process, slot)


def find_slots(devices_per_run: int, runs_per_gpu: int = 1) -> list[Slot]:
    """As many slots of `devices_per_run` devices as this machine has devices for.

    Of GPUs there are `runs_per_gpu` times as many, which share out their memory: the steps of a
    small net are too short to fill one (docs/speed.md). The first slots have one each.

    GPUs are shown one by one through CUDA_VISIBLE_DEVICES. On a CPU the devices are simulated ones
    (XLA_FLAGS=--xla_force_host_platform_device_count=N) and share out the cores; without that flag
    there is one, with all cores. A TPU is one slot.

    Raises:
      ValueError: a run wants more devices than there are, or shares a GPU where there is none.
    """
    backend, count = _ask_jax()
    if runs_per_gpu > 1 and backend != "gpu":
        raise ValueError(
            f"--runs_per_gpu={runs_per_gpu}, but this machine has no GPU ({count} devices,"
            f" {backend})"
        )
    if not 1 <= devices_per_run <= count:
        raise ValueError(
            f"--devices_per_run={devices_per_run}, but this machine has {count} devices ({backend})"
        )
    slots = count // devices_per_run
    if backend == "gpu":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = visible.split(",") if visible else [str(index) for index in range(count)]
        groups = (names[i * devices_per_run : (i + 1) * devices_per_run] for i in range(slots))
        shared = _share_of_memory(runs_per_gpu)
        own = [Slot({"CUDA_VISIBLE_DEVICES": ",".join(group)} | shared) for group in groups]
        return own * runs_per_gpu
    if backend == "cpu" and slots > 1:
        return _cpu_slots(slots, devices_per_run)
    return [Slot({})]


def _share_of_memory(runs: int) -> dict[str, str]:
    """Variables by which each of several runs on a GPU sets aside its share, where nothing is said
    of it: JAX sets three quarters aside for one."""
    given = any(name.startswith("XLA_PYTHON_CLIENT_") for name in os.environ)
    return {} if given or runs == 1 else {_MEMORY: f"{_JAX_SETS_ASIDE / runs:.3f}"}


def _cpu_slots(slots: int, devices_per_run: int) -> list[Slot]:
    flags = re.sub(_SIMULATED + r"=\S+", "", os.environ.get("XLA_FLAGS", "")).strip()
    environment = {"XLA_FLAGS": f"{flags} {_SIMULATED}={devices_per_run}".strip()}
    if not hasattr(os, "sched_getaffinity"):
        return [Slot(environment)] * slots
    cores = sorted(os.sched_getaffinity(0))
    shares = (cores[i::slots] or [cores[i % len(cores)]] for i in range(slots))
    return [Slot(environment, frozenset(share)) for share in shares]


def _ask_jax() -> tuple[str, int]:
    """Kind and number of devices, in a process of its own: jax would seize a GPU's memory."""
    code = "import jax; print(jax.default_backend(), jax.local_device_count())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if answer.returncode:
        raise ValueError(f"jax finds no devices: {answer.stderr.strip().splitlines()[-1]}")
    backend, count = answer.stdout.split()[-2:]
    return backend, int(count)


def _write_header(log: TextIO, command: Sequence[str]) -> None:
    log.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n")
    log.flush()
