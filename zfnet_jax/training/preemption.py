"""Told to stop: the signals that announce the end of a process, heeded between two steps."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, ClassVar

import jax
from jax.experimental import multihost_utils

from zfnet_jax import parallel

EXIT_CODE = os.EX_TEMPFAIL  # 75: stopped and saved; the same command goes on

# SIGTERM comes from Slurm, Kubernetes, Cloud TPU and a machine that shuts down; SIGUSR1 and
# SIGUSR2 from Slurm's --signal; SIGHUP from a closed terminal; SIGINT is Ctrl-C.
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT)


class PreemptedError(Exception):
    """A run was told to stop and has saved; `number` is the signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number

    def __reduce__(self) -> tuple[type[PreemptedError], tuple[str, int]]:  # for other processes
        return type(self), (str(self), self.number)


class Watch:
    """Notes signals while it is open as a context; a second Ctrl-C interrupts at once.

    With several processes it is enough to tell one: jax's preemption service takes the SIGTERM,
    and all of them learn to stop after the same step. Signals that are ignored (nohup) stay so.

    Only the main thread hears signals. Nets that are trained in other threads, each on a device,
    learn of them from the watch that is open there.

    Raises:
      ValueError: there are several processes that were not joined, as a TPU's may be: none would
        learn to stop.
    """

    _hearing: ClassVar[list[Watch]] = []  # the last one that was opened in the main thread, last

    def __init__(self) -> None:
        self.number = int(signal.SIGTERM)
        self._told = False
        self._several = parallel.process_count() > 1
        if self._several and not jax.distributed.is_initialized():
            raise ValueError(
                f"{jax.process_count()} processes compute together, but were not joined, so that"
                " none would save when it is told to stop: give --coordinator=HOST:PORT"
                " --processes=N --process=I"
            )
        self._before: dict[int, Any] = {}

    def told(self, step: int) -> bool:
        """Whether to stop after this step; every process asks after every step."""
        if self._several:
            return multihost_utils.reached_preemption_sync_point(step)
        if not self._before and self._hearing:
            hearing = self._hearing[-1]
            self._told, self.number = hearing._told, hearing.number
        return self._told

    def preempted(self, step: int) -> PreemptedError:
        """What to raise once a step is saved."""
        name = signal.Signals(self.number).name
        return PreemptedError(
            f"{name}: saved at step {step}; the same command goes on", self.number
        )

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._told, self.number = True, number
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)

    def __enter__(self) -> Watch:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                ours = not (self._several and number == signal.SIGTERM)
                if ours and signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
            self._hearing.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        if self in self._hearing:
            self._hearing.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)
