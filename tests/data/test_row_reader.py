"""Rows are those of the file, wherever they lie; the disk is asked for many at a time."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from zfnet_jax.data import row_reader
from zfnet_jax.data.row_reader import RowReader

COUNT, SHAPE = 70, (15, 16, 3)
needs_linux = pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="only Linux tells")


@pytest.fixture
def array(tmp_path: Path) -> np.memmap:
    content = np.random.default_rng(0).integers(0, 256, (COUNT, *SHAPE), np.uint8)
    np.save(tmp_path / "rows.npy", content)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.fixture
def nothing_cached(monkeypatch) -> None:
    """A disk of which no row is cached: the first half of some comes, of others nothing."""
    read = os.preadv

    def preadv(file, buffers, at, flags=0):
        if flags and at % 2:
            raise BlockingIOError(errno.EAGAIN, "not there")
        half = [buffers[0][: -(-len(buffers[0]) // 2)]]
        return read(file, half, at)

    monkeypatch.setattr(os, "preadv", preadv)


@pytest.mark.parametrize("count", [0, 1, 31, 200])
def test_rows_in_any_order_and_again(array, count):
    index = np.random.default_rng(1).integers(0, COUNT, count)
    rows = RowReader(array).rows(index)
    np.testing.assert_array_equal(rows, array[index])
    assert rows.flags.writeable


@pytest.mark.usefixtures("nothing_cached")
def test_what_is_not_cached_comes_whole_though_in_pieces(array):
    index = np.random.default_rng(1).integers(0, COUNT, 200)
    np.testing.assert_array_equal(RowReader(array).rows(index), array[index])


def test_a_disk_that_does_not_tell_what_is_cached_is_read(array, monkeypatch):
    read = os.preadv

    def preadv(file, buffers, at, flags=0):
        if flags:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return read(file, buffers, at)

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(row_reader, "_SURE", 0)
    np.testing.assert_array_equal(RowReader(array).rows(np.array([7, 3])), array[[7, 3]])


@needs_linux
def test_cached_rows_are_copied_until_one_is_not(array, monkeypatch):
    """Then they are read again: a fault of the mapping asks the disk for one row at a time."""
    monkeypatch.setattr(row_reader, "_SURE", COUNT)
    monkeypatch.setattr(row_reader, "_GROUP_BYTES", 10 * np.prod(SHAPE))
    reader, index = RowReader(array), np.arange(COUNT)
    reads: list[int] = []
    read = reader._read
    monkeypatch.setattr(reader, "_read", lambda i, rows: (reads.append(len(i)), read(i, rows)))
    faults = iter([5, 5, 5, 6])  # of the disk, before and after each of the first groups

    class Usage:
        @property
        def ru_majflt(self) -> int:
            return next(faults, 7)

    monkeypatch.setattr(row_reader.resource, "getrusage", lambda _: Usage())
    for _ in range(4):
        np.testing.assert_array_equal(reader.rows(index), array)
    # The second time the disk was needed for the second ten: what comes after them is read.
    assert reads == [COUNT, COUNT - 20, COUNT]


@pytest.mark.usefixtures("nothing_cached")
def test_the_disk_is_asked_for_many_rows_at_a_time(array, monkeypatch):
    """32 of them: each read waits here until as many are under way."""
    together = threading.Barrier(32)
    read = RowReader._from_disk

    def meet(reader, missing):
        together.wait(timeout=20)
        return read(reader, missing)

    monkeypatch.setattr(RowReader, "_from_disk", meet)
    index = np.arange(64)[::-1]
    np.testing.assert_array_equal(RowReader(array).rows(index), array[index])


@pytest.mark.usefixtures("nothing_cached")
def test_neighbours_are_read_at_once(array, monkeypatch):
    monkeypatch.setattr(row_reader, "_GROUP_BYTES", 4 * np.prod(SHAPE))
    reader, index = RowReader(array), np.array([7, 8, 9, 10, 11, 12, 3, 4, 4, 5, 69])
    assert list(reader._runs(index)) == [(0, 4), (4, 6), (6, 8), (8, 10), (10, 11)]
    np.testing.assert_array_equal(reader.rows(index), array[index])


@pytest.mark.usefixtures("nothing_cached")
def test_threads_may_share_a_reader(array):
    reader = RowReader(array)
    parts = [np.random.default_rng(n).integers(0, COUNT, 40) for n in range(30)]
    with ThreadPoolExecutor(4) as threads:
        for index, rows in zip(parts, threads.map(reader.rows, parts), strict=True):
            np.testing.assert_array_equal(rows, array[index])


@pytest.mark.parametrize("index", [[-1, 3], [3, COUNT]])
def test_a_row_that_there_is_not_is_an_error(array, index):
    with pytest.raises(IndexError, match=rf"rows\.npy has the rows 0 to {COUNT - 1}, not all of"):
        RowReader(array).rows(np.array(index))


def test_a_file_that_became_shorter_is_an_error(array, tmp_path):
    reader = RowReader(array)
    os.truncate(tmp_path / "rows.npy", array.offset + 5 * np.prod(SHAPE))
    assert reader.rows(np.arange(5)).shape == (5, *SHAPE)
    with pytest.raises(OSError, match=r"rows\.npy has become shorter than when it was opened"):
        reader.rows(np.arange(10))


@needs_linux
def test_rows_of_an_emptied_cache(array, tmp_path):
    """The system's own cache, as far as it lets itself be emptied."""
    reader, index = RowReader(array), np.arange(COUNT)[::-1]
    expected = np.array(array)[index]
    mapped = array._mmap
    assert isinstance(mapped, mmap.mmap)
    for _ in range(2):
        mapped.madvise(mmap.MADV_DONTNEED)
        with (tmp_path / "rows.npy").open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        np.testing.assert_array_equal(reader.rows(index), expected)
