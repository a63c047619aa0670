"""What to tell of an error: those that the user can mend by their message alone, others by kind."""

from __future__ import annotations

from zfnet_jax.lifeline import EXPECTED


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host has no more memory: a smaller batch needs less."""
    # JAX raises what other failures of a device raise, too; only the text tells.
    full = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    return full or isinstance(error, MemoryError)


def told(error: BaseException, smaller: str) -> str:
    """An error in one line.

    Args:
      smaller: how the user chooses a smaller batch, for one that does not fit into the memory.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if is_out_of_memory(error):
        return f"no memory is left: {smaller} ({': '.join([type(error).__name__, *lines[:1]])})"
    if isinstance(error, EXPECTED) and lines:
        return " ".join(lines)
    return ": ".join([type(error).__name__, *lines[:1]])
