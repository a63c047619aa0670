"""The flags of how a program computes: joined with others, and whether the same to the last bit
each time. Importing this module defines them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags

from zfnet_jax import launch, lifeline, meeting

_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, if several.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes, with --coordinator.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, with --coordinator.")
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "The same to the last bit each time, on GPUs too, which costs speed."
)
_SECONDS = flags.DEFINE_float(
    "start_timeout",
    meeting.START_SECONDS,
    "Seconds that all processes of a job have to start.",
    lower_bound=0,
)

# Flags that the processes of a job may have each their own of: what they name is compared by its
# content, or is a matter of one process.
_OWN = (
    *("coordinator", "processes", "process", "start_timeout", "debug"),
    *("workdir", "prepared_dir", "out", "config"),
    *("folder", "data_dir", "faces", "caltech101", "caltech256", "voc", "sweep"),
)


@contextlib.contextmanager
def joined(debug: bool, saves: bool, alone: Callable[[], None] | None = None) -> Iterator[None]:
    """Joins the processes of the job, if there are several, to their common end.

    Args:
      saves: whether the program saves when it is told to stop, see `distributed.joined`.
      debug: whether an error that the user can mend is shown with its traceback, too.
      alone: see `distributed.joined`.
    """
    from zfnet_jax import distributed  # after the flags, so that --help needs no jax

    with distributed.joined(
        _COORDINATOR.value,
        _PROCESSES.value,
        _PROCESS.value,
        seconds=_SECONDS.value,
        about=_about(),
        deterministic=_DETERMINISTIC.value,
        saves=saves,
        debug=debug,
        alone=alone,
    ):
        yield


def tell(arguments: Sequence[str], error: str) -> None:
    """Tells the other processes of the job of an error in the flags that keeps this one away."""
    where = flags.FlagValues()
    for flag in (_COORDINATOR, _PROCESSES, _PROCESS):
        where[flag.name] = flags.FLAGS[flag.name]
    with contextlib.suppress(flags.Error, lifeline.LostError, ValueError, OSError):
        where(arguments, known_only=True)
        job = launch.recognise(os.environ, where.coordinator, where.processes, where.process)
        if job and job.coordinator and job.processes and job.process is not None:
            meeting.meet(
                job.coordinator,
                job.process,
                job.processes,
                meeting.TELLING_SECONDS,
                about={},
                failed=error,
            )


def _about() -> dict[str, Any]:
    """What all processes must have in common before they know their data: program and flags."""
    from zfnet_jax.runs import provenance, workdir

    given = {
        f"--{flag.name}": flag.value
        for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0])
        if flag.name not in _OWN and not flag.name.startswith("config.")
    }
    return {**workdir.versions(), "zfnet_jax": provenance.code_digest(), **given}
