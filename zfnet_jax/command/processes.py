"""The flags that join several processes into one job; importing this module defines them."""

from __future__ import annotations

from absl import flags

_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, if several.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes, with --coordinator.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, with --coordinator.")


def join() -> None:
    """Joins the processes of the job; does nothing for a single one."""
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax

    parallel.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
