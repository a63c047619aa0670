"""Freed memory that the C library keeps, and gives back."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

from zfnet_jax import heap

BLOCK = 20 * 10**6  # bytes; glibc keeps what is below 32 MB


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc keeps it")
def test_what_was_freed_between_what_is_held_goes_back():
    np.ones(BLOCK, np.uint8)  # from now on its like comes from what the library keeps
    blocks, held = [], []
    for _ in range(10):
        blocks.append(np.ones(BLOCK, np.uint8))
        held.append(np.ones(10**5, np.uint8))
    del blocks
    before = resident()
    heap.give_back()
    assert before - resident() > 8 * BLOCK
    assert all(one.all() for one in held)


def resident() -> int:
    """Bytes of this process that are no file's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (kilobytes,) = re.findall(r"RssAnon:\s+(\d+) kB", status)
    return 1024 * int(kilobytes)
