"""Rows of an array on the disk, many at once where the disk must be asked for them."""

from __future__ import annotations

import collections
import functools
import itertools
import os
import resource
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from zfnet_jax.data.buffers import Buffers

# Reads of the disk under way at a time, of all readers of this process together.
_READS = 32
# Rows that were all in the system's cache, after which the next ones are taken to be there too.
_SURE = 1024
# Bytes that are read at once, or copied before it is looked whether they still were there.
_GROUP_BYTES = 2**20
_READS_CACHE = hasattr(os, "RWF_NOWAIT")  # whether the system can be asked for that alone: Linux


class RowReader:
    """Reads rows of a .npy file, of which some are in the system's cache.

    What is not comes by positioned reads, up to 32 at a time: a disk answers them together several
    times as fast as one after the other, and asks for nothing beside them. While all is cached,
    rows are copied from the mapped file, which takes half the time of reading them.

    Several threads may use a reader at a time. A disk that fails, or a file that is cut, while rows
    are copied from the mapped file ends the process with SIGBUS, as it does whoever maps a file.

    Args:
      array: [N, ...], from `np.load(..., mmap_mode="r")`.
    """

    def __init__(self, array: np.memmap) -> None:
        self._path, self._begin = Path(str(array.filename)), array.offset
        self._mapped = np.asarray(array)
        self._row_bytes = self._mapped[:1].nbytes
        self._buffers = Buffers()
        self._cached = 0  # rows since the last one that was not
        self._file = os.open(self._path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """The rows at `index` [b], as an array [b, ...] of the caller's own.

        Raises:
          IndexError: there is no such row.
          OSError: the file cannot be read, or has become shorter.
        """
        index = np.asarray(index)
        if len(index) and not (index.min() >= 0 and index.max() < len(self._mapped)):
            raise IndexError(
                f"{self._path} has the rows 0 to {len(self._mapped) - 1}, not all of"
                f" {index.min()} to {index.max()}"
            )
        rows = self._buffers.empty((len(index), *self._mapped.shape[1:]), self._mapped.dtype)
        done = self._copy(index, rows) if self._cached >= _SURE else 0
        if done < len(index):
            self._read(index[done:], rows[done:])
        return rows

    def _copy(self, index: np.ndarray, rows: np.ndarray) -> int:
        """Copies rows from the mapped file until the disk was needed; how many."""
        count = max(1, _GROUP_BYTES // self._row_bytes)
        for begin in range(0, len(index), count):
            end = min(begin + count, len(index))
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
            np.take(self._mapped, index[begin:end], axis=0, out=rows[begin:end], mode="clip")
            if resource.getrusage(resource.RUSAGE_THREAD).ru_majflt > before:
                self._cached = 0
                return end
        return len(index)

    def _read(self, index: np.ndarray, rows: np.ndarray) -> None:
        """Reads rows from the cache, and what is not there from the disk."""
        memory = rows.reshape(-1).view(np.uint8).data
        missing: collections.deque[tuple[memoryview, int]] = collections.deque()
        for begin, end in self._runs(index):
            part = memory[begin * self._row_bytes : end * self._row_bytes]
            at = self._begin + int(index[begin]) * self._row_bytes
            count = self._from_cache(part, at)
            if count < len(part):
                missing.append((part[count:], at + count))
        if not missing:
            self._cached += len(index) if _READS_CACHE else 0
            return
        self._cached = 0
        workers = min(_READS, len(missing))
        for done in [_pool().submit(self._from_disk, missing) for _ in range(workers)]:
            done.result()

    def _runs(self, index: np.ndarray) -> Iterator[tuple[int, int]]:
        """Places whose rows lie one after another in the file: one request, of a MB at most."""
        longest = max(1, _GROUP_BYTES // self._row_bytes)
        breaks = np.flatnonzero(np.diff(index) != 1) + 1
        for begin, end in itertools.pairwise([0, *breaks.tolist(), len(index)]):
            for first in range(begin, end, longest):
                yield first, min(first + longest, end)

    def _from_cache(self, part: memoryview, at: int) -> int:
        """Bytes of the file from `at` on that were there without asking the disk."""
        if not _READS_CACHE:
            return 0
        try:
            return os.preadv(self._file, [part], at, os.RWF_NOWAIT)
        except OSError:  # none is, or the file system does not tell; else the disk's read fails too
            return 0

    def _from_disk(self, missing: collections.deque[tuple[memoryview, int]]) -> None:
        """Reads one part after another until none is left."""
        while True:
            try:
                part, at = missing.popleft()
            except IndexError:
                return
            while part:
                count = os.preadv(self._file, [part], at)
                if not count:
                    raise OSError(f"{self._path} has become shorter than when it was opened")
                part, at = part[count:], at + count


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """One for the process, made with the first read of a disk."""
    return ThreadPoolExecutor(_READS, thread_name_prefix="disk")
