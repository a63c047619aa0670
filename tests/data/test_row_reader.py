"""Rows are those of the file, and a disk is asked for all of them before the first is copied."""

from __future__ import annotations

import os

import numpy as np
import pytest

from zfnet_jax.data.row_reader import RowReader


@pytest.mark.parametrize("count", [0, 1, 31, 200])
def test_rows_in_any_order_and_again(tmp_path, count):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", rng.integers(0, 256, (70, 150, 160, 3), np.uint8))
    array = np.load(tmp_path / "rows.npy", mmap_mode="r")
    index = rng.integers(0, 70, count)
    rows = RowReader(array).rows(index)
    np.testing.assert_array_equal(rows, array[index])
    assert rows.flags.writeable


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice")
@pytest.mark.parametrize(("side", "told"), [(256, True), (64, False)])
def test_the_system_is_told_of_every_large_row(tmp_path, monkeypatch, side, told):
    np.save(tmp_path / "rows.npy", np.zeros((20, side, side, 3), np.uint8))
    array = np.load(tmp_path / "rows.npy", mmap_mode="r")
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *where: asked.append(where))
    RowReader(array).rows(np.array([17, 3]))
    size = 3 * side * side
    places = [(array.offset + row * size, size, os.POSIX_FADV_WILLNEED) for row in (17, 3)]
    assert asked == (places if told else [])
