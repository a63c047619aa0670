"""Memory for large arrays that is used again once nothing refers to what was made in it."""

from __future__ import annotations

import collections
import math

import numpy as np
from numpy.typing import DTypeLike

_KEPT = 8  # blocks that wait to be used again: more than batches are read ahead
_ALIGNED = 64  # bytes; jax.device_put on a CPU takes such an array as it is


class Buffers:
    """Makes arrays in blocks of memory that go round.

    A block is used again when the last reference to its array is gone: that of a view, or of an
    array of jax that shares its memory or is still being copied to a device, counts. A new block of
    a few hundred MB costs as much to be cleared by the system as it takes to be filled.
    """

    def __init__(self) -> None:
        self._free: collections.deque[np.ndarray] = collections.deque(maxlen=_KEPT)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """As `numpy.empty`. May be called from several threads."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            block = self._free.popleft()
        except IndexError:
            block = None
        if block is None or len(block) != size:
            block = _block(size)
        return np.asarray(_Loan(block, self._free)).view(dtype).reshape(shape)


class _Loan:
    """What an array names as the owner of its memory; all its views keep it alive."""

    def __init__(self, block: np.ndarray, free: collections.deque[np.ndarray]) -> None:
        self.__array_interface__ = block.__array_interface__
        self._block, self._free = block, free

    def __del__(self) -> None:
        self._free.append(self._block)


def _block(size: int) -> np.ndarray:
    block = np.empty(size + _ALIGNED, np.uint8)
    begin = -block.ctypes.data % _ALIGNED
    return block[begin : begin + size]
