"""Rows read by many threads are those of the file, and a file that cannot be read is an error."""

from __future__ import annotations

import numpy as np
import pytest

from zfnet_jax.data.row_reader import RowReader


@pytest.fixture
def array(tmp_path) -> np.memmap:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).integers(0, 256, (70, 5, 4), np.uint8))
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.mark.parametrize("count", [0, 1, 31, 200])
def test_rows_in_any_order_and_again(array, count):
    index = np.random.default_rng(1).integers(0, 70, count)
    rows = RowReader(array).rows(index)
    np.testing.assert_array_equal(rows, array[index])
    assert rows.flags.writeable


@pytest.mark.parametrize("row", [-1, 70])
def test_a_row_that_is_not_there_is_an_error(array, row):
    with pytest.raises(IndexError, match="has 70 rows"):
        RowReader(array).rows(np.array([0, row]))


def test_a_file_that_became_shorter_is_an_error(array, tmp_path):
    reader = RowReader(array)
    with (tmp_path / "rows.npy").open("r+b") as file:
        file.truncate(500)
    with pytest.raises(OSError, match="shorter"):
        reader.rows(np.arange(70))
