"""The same to the last bit each time, on GPUs too: what XLA must be told before it starts."""

from __future__ import annotations

import os

import jax
from jax._src import xla_bridge

# Operations whose sums have one order (cuDNN's gradients of filters have not), and no choice of
# forms by their speed, which is another each time.
_FLAG = "--xla_gpu_deterministic_ops=true"


def is_required() -> bool:
    """Whether XLA was told, here or by whoever started the process."""
    return _FLAG in os.environ.get("XLA_FLAGS", "").split()


def has_started() -> bool:
    """Whether JAX has: what XLA is told from then on, it does not hear."""
    return xla_bridge.backends_are_initialized()  # jax has no public way to ask


def require() -> None:
    """Makes XLA's GPU code deterministic, for this process and those that it starts.

    It costs speed. The CPU's code is deterministic without it.

    ValueError: a GPU has begun to compute without it.
    """
    if is_required():
        return
    if has_started():
        if jax.default_backend() == "gpu":
            raise ValueError(
                f"deterministic operations come too late, the GPU is in use: set XLA_FLAGS={_FLAG}"
                " and start anew"
            )
        return
    if jax.config.values["jax_platforms"] == "cpu":  # programs compiled before stay good
        return
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}".strip()
