"""What a dry run tells of: a compiled program, memory, and how times and sizes are said."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax

from zfnet_jax import parallel

# Instructions of a compiled program, by what they are called in its text.
_KINDS = {
    "fusions": r" fusion\(",
    # On GPUs most are calls of cuDNN and cuBLAS; a CPU's compiler writes some as loops of its own.
    "convolutions and matrix products": (
        r" (?:convolution|dot)\(|custom_call_target=\"[^\"]*(?:conv|gemm|matmul|dot)[^\"]*\""
    ),
    "sums over devices": r" all-reduce(?:-start)?\(",
}


class Program(NamedTuple):
    """A compiled program on one device.

    Attributes:
      taken: bytes of its arguments.
      made: bytes of its results, without those that take an argument's place.
      set_aside: bytes that it has while it runs: activations, gradients and the like.
      counts: instructions by kind.
    """

    taken: int
    made: int
    set_aside: int
    counts: dict[str, int]


def program(compiled: jax.stages.Compiled) -> Program:
    """What XLA says of it."""
    memory = compiled.memory_analysis()
    assert memory is not None  # CPUs, GPUs and TPUs have one
    text = compiled.as_text() or ""
    return Program(
        taken=memory.argument_size_in_bytes,
        made=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        set_aside=memory.temp_size_in_bytes,
        counts={kind: len(re.findall(pattern, text)) for kind, pattern in _KINDS.items()},
    )


def tree_bytes(tree: Any) -> int:
    """Of all arrays of a tree, or of what has their shapes and types."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def device_memory() -> int | None:
    """Bytes that JAX may have of this process's first device; None where it does not say, as of a
    CPU, whose memory is the host's."""
    stats = parallel.local_devices()[0].memory_stats()
    return stats.get("bytes_limit") if stats else None


class HostMemory(NamedTuple):
    """Bytes, pages of files included.

    Attributes:
      most: that this process has had.
      now: that it has; where the system does not say, `most`.
      there: of the host.
    """

    most: int
    now: int
    there: int


def host_memory() -> HostMemory:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    status = Path("/proc/self/status")
    text = status.read_text(encoding="utf-8") if status.exists() else ""
    said = {name: 1024 * int(size) for name, size in re.findall(r"(VmHWM|VmRSS):\s+(\d+) kB", text)}
    if said:
        return HostMemory(said["VmHWM"], said["VmRSS"], there)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, elsewhere kilobytes
    most = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return HostMemory(most, most, there)


def bytes_in_words(count: float) -> str:
    """
    >>> [bytes_in_words(one) for one in (999, 5_222_276, 25.3e9)]
    ['999 bytes', '5.22 MB', '25.3 GB']
    """
    units = ((1, "bytes"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"))
    size, unit = next(one for one in reversed(units) if count >= one[0] or one[0] == 1)
    return f"{count / size:.3g} {unit}"


def seconds_in_words(seconds: float) -> str:
    """
    >>> [seconds_in_words(one) for one in (0.137, 75, 5000, 200_000, 1e6)]
    ['0.14 s', '75 s', '83 min', '56 h', '12 days']
    """
    units = ((1, "s"), (60, "min"), (3600, "h"), (86400, "days"))
    size, unit = next(one for one in units if seconds < 100 * one[0] or one[0] == 86400)
    value = seconds / size
    return f"{value:.2g} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
