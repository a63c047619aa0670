"""Freed memory that the C library keeps, and gives back."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# In a process of its own: what a library keeps depends on all that was ever freed.
CODE = """
import re
from pathlib import Path
import numpy as np
from zfnet_jax import heap

def resident():
    "Bytes of this process that are no file's."
    (kilobytes,) = re.findall(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(kilobytes)

block = 20 * 10**6  # bytes; glibc keeps what is below 32 MB
np.ones(block, np.uint8)  # from now on its like comes from what the library keeps
blocks, held = [], []
for _ in range(10):
    blocks.append(np.ones(block, np.uint8))
    held.append(np.ones(10**5, np.uint8))
del blocks
before = resident()
heap.give_back()
assert before - resident() > 8 * block, (before, resident())
assert all(one.all() for one in held)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc keeps it")
def test_what_was_freed_between_what_is_held_goes_back():
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
