"""The machine that a benchmark ran on, and what it can do at most."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SIDE = 2048  # of the matrices whose product is timed
_FLOATS = 2**26  # that are read and written
_ROUNDS = 5
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch", "captum")


def limits() -> tuple[float, float]:
    """Measured (FLOP/s of a float32 matrix product, bytes/s read and written in place)."""
    import jax
    import jax.numpy as jnp

    a = jnp.ones((_SIDE, _SIDE), jnp.float32)
    product = jax.jit(lambda a: jnp.dot(a, a, precision="highest"))
    flops = 2 * _SIDE**3 / _best(lambda: product(a).block_until_ready())
    x = jnp.zeros(_FLOATS, jnp.float32)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)  # in place: new memory costs more than a copy

    def read_and_write() -> None:
        nonlocal x
        x = add(x).block_until_ready()

    return flops, 2 * 4 * _FLOATS / _best(read_and_write)


def description() -> dict[str, Any]:
    """Processor or accelerator, cores, and the versions of the packages that are compared."""
    import jax

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "devices": [device.device_kind for device in jax.devices()],
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "load": os.getloadavg()[0],  # of the minute before: what else was running
    }


def _best(form: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_ROUNDS + 1):
        began = time.perf_counter()
        form()
        best = min(best, time.perf_counter() - began)
    return best


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
