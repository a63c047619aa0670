"""Freed memory, given back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Of glibc, which keeps freed blocks of up to 32 MB, a gigabyte of them after a few searches
    for heads; elsewhere nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
