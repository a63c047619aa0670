"""The flags of how a program computes: joined with others, and whether the same to the last bit
each time. Importing this module defines them."""

from __future__ import annotations

from absl import flags

_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, if several.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes, with --coordinator.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, with --coordinator.")
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "The same to the last bit each time, on GPUs too, which costs speed."
)


def join() -> None:
    """Joins the processes of the job, if there are several, before anything is computed."""
    from zfnet_jax import determinism, parallel  # after the flags, so that --help needs no jax

    if _DETERMINISTIC.value:
        determinism.require()
    parallel.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
