"""The machine that a benchmark ran on, and what it can do at most."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The modes that products of matrices are computed in: (dtype, precision).
MODES = {
    "float32": ("float32", "highest"),
    "TF32": ("float32", "default"),  # on an NVIDIA GPU; float32 elsewhere
    "bfloat16": ("bfloat16", "default"),
}
# Side of the matrices whose product is timed, and floats that are read and written.
_ON_CPU = (2048, 2**26)
_ON_ACCELERATOR = (8192, 2**28)
_ROUNDS = 5
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch", "captum")


def limits() -> tuple[dict[str, float], float]:
    """Measured (FLOP/s of a matrix product in each of `MODES`, bytes/s read and written in place).

    On a CPU only float32 counts: the others are emulated there.
    """
    import jax
    import jax.numpy as jnp

    on_cpu = jax.default_backend() == "cpu"
    side, floats = _ON_CPU if on_cpu else _ON_ACCELERATOR
    flops = {}
    for mode, (dtype, precision) in MODES.items():
        if on_cpu and mode != "float32":
            flops[mode] = flops["float32"]
            continue
        # Zeros or ones would cost less power, and so give a rate that no work reaches.
        a = jax.random.normal(jax.random.key(0), (side, side), jnp.dtype(dtype))
        product = jax.jit(functools.partial(jnp.dot, precision=precision))
        flops[mode] = 2 * side**3 / _best(lambda a=a, dot=product: dot(a, a).block_until_ready())
    x = jnp.zeros(floats, jnp.float32)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)  # in place: new memory costs more than a copy

    def read_and_write() -> None:
        nonlocal x
        x = add(x).block_until_ready()

    return flops, 2 * 4 * floats / _best(read_and_write)


def description() -> dict[str, Any]:
    """Processor or accelerator, cores, and the versions of the packages that are compared."""
    import jax

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "devices": [device.device_kind for device in jax.devices()],
        "runtime": " ".join(jax.devices()[0].client.platform_version.split()),  # CUDA's version
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
