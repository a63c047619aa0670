"""Rows of prepared arrays, from the disk and from the system's cache, with older ways to read them.

Files of 3.1 GB (256 pixels) and 1.2 GB (64 pixels) are written where temporary files go: set TMPDIR
to a folder on the disk in question. Before each trial that is not cached its pages are dropped from
the cache, if the system does so for `posix_fadvise` (Linux, and nobody else maps the file).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scripts.benchmarks.trials import Options, Row, spread

_BATCH = 128
_COLD, _CACHED = 3.0, 1.0  # targets: ours over the mapped file, at least
_AT_A_TIME = 1000  # rows that are written
_AT_ONCE = 2**24  # bytes that are read to fill the cache


class _Size(NamedTuple):
    side: int  # pixels
    count: int  # rows of the file
    batches: int  # of a trial


_SIZES = (_Size(256, 16_000, 20), _Size(64, 100_000, 100))
_SMALL = (_Size(16, 300, 2),)

Read = Callable[[Path, np.ndarray], Iterator[None]]  # batches [n, b] of rows, one after another


def rows(options: Options) -> Iterator[Row]:
    for size in _SMALL if options.small else _SIZES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "images.npy"
            _write(path, size)
            for order in ("random", "ascending"):
                for cold in (True, False):
                    yield from _compare(path, size, order, cold, options.trials)


def _compare(path: Path, size: _Size, order: str, cold: bool, trials: int) -> Iterator[Row]:
    forms: dict[str, Read] = {
        "four batches ahead, as training reads": _ahead,
        "one batch after another": _alone,
        "copied from the mapped file": _mapped,
        "the same, the system told of the batch first": _told,
    }
    if not cold:
        _fill_cache(path)
    rates: dict[str, list[float]] = {name: [] for name in forms}
    random = np.random.default_rng(0)
    for number in range(trials):
        for name in list(forms) if number % 2 else reversed(list(forms)):
            first = random.integers(size.count - size.batches * _BATCH + 1)
            index = first + np.arange(size.batches * _BATCH)
            if order == "random":
                index = random.permutation(size.count)[: len(index)]
            portions = index.reshape(size.batches, _BATCH)
            if cold:
                _empty_cache(path)
                seconds = _seconds(forms[name](path, portions), 0)
            else:
                again = np.concatenate([portions, portions])
                seconds = _seconds(forms[name](path, again), size.batches)
            rates[name].append(len(index) / seconds)
    cached = "not cached" if cold else "cached"
    what = f"rows of {size.side} x {size.side} in {order} order, {cached}"
    # The system itself reads ahead of what is read in order.
    target = _CACHED if not cold else _COLD if order == "random" else None
    ours = spread(rates[next(iter(forms))])[0]
    for place, (name, values) in enumerate(rates.items()):
        median, low, high = spread(values)
        yield Row(
            what,
            name,
            "images/s",
            median,
            low,
            high,
            ratio=ours / median if place else None,
            target=target if name == "copied from the mapped file" else None,
            at_least=True,
        )


def _seconds(batches: Iterator[None], skipped: int) -> float:
    """From batch `skipped` on to the end; what comes before maps pages and fills buffers."""
    began = time.perf_counter()
    for number, _ in enumerate(batches, start=1):
        if number == skipped:
            began = time.perf_counter()
    return time.perf_counter() - began


def _ahead(path: Path, portions: np.ndarray) -> Iterator[None]:
    from zfnet_jax.data import batches
    from zfnet_jax.data.row_reader import RowReader

    reader = RowReader(np.load(path, mmap_mode="r"))
    for _ in batches.read_ahead(reader.rows, portions, 4):
        yield None


def _alone(path: Path, portions: np.ndarray) -> Iterator[None]:
    from zfnet_jax.data.row_reader import RowReader

    reader = RowReader(np.load(path, mmap_mode="r"))
    for portion in portions:
        reader.rows(portion)
        yield None


def _mapped(path: Path, portions: np.ndarray) -> Iterator[None]:
    """As until 2b0525d."""
    array = np.load(path, mmap_mode="r")
    for portion in portions:
        np.asarray(array[portion])
        yield None


def _told(path: Path, portions: np.ndarray) -> Iterator[None]:
    """As since be48f43: of rows of 64 KiB or more."""
    array = np.load(path, mmap_mode="r")
    size = array[:1].nbytes
    with path.open("rb") as file:
        for portion in portions:
            if size >= 2**16:
                for row in portion.tolist():
                    at = array.offset + row * size
                    os.posix_fadvise(file.fileno(), at, size, os.POSIX_FADV_WILLNEED)
            np.asarray(array[portion])
            yield None


def _empty_cache(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _fill_cache(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(_AT_ONCE):
            pass


def _write(path: Path, size: _Size) -> None:
    with path.open("wb") as file:
        shape = (size.count, size.side, size.side, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        random = np.random.default_rng(0)
        for begin in range(0, size.count, _AT_A_TIME):
            count = min(_AT_A_TIME, size.count - begin)
            file.write(random.bytes(count * size.side**2 * 3))
        file.flush()
        os.fsync(file.fileno())
