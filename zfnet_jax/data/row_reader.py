"""Images from a file that is mapped from the disk, fast also where it is not cached."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import numpy as np

# Rows of fewer bytes come with what the system reads around them.
_LARGE = 2**16


class RowReader:
    """Reads rows of a .npy file.

    The system is told of all rows before the first is copied: a disk answers many requests at once
    several times as fast as one after the other.

    Args:
      array: [N, ...], from `np.load(..., mmap_mode="r")`.
    """

    def __init__(self, array: np.memmap) -> None:
        self._array, self._row_bytes = array, array[:1].nbytes
        self._file = os.open(Path(str(array.filename)), os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """The rows at `index` [b], as a new array [b, ...]."""
        if self._row_bytes >= _LARGE and hasattr(os, "posix_fadvise"):  # not on macOS
            for row in index.tolist():
                at = self._array.offset + row * self._row_bytes
                os.posix_fadvise(self._file, at, self._row_bytes, os.POSIX_FADV_WILLNEED)
        return np.asarray(self._array[index])
