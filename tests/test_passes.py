"""A pass over images: each once and in order, on any number of devices."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from tests import forked
from tests.conftest import simulated
from tests.every_pass import every_pass
from zfnet_jax import parallel, passes
from zfnet_jax.runs.run import open_run

# Devices of each process, and processes. More of both in a variable, such as 2x4,8x1.
JOBS = [tuple(map(int, job.split("x"))) for job in os.environ.get("ZFNET_JOBS", "2x2").split(",")]


def started(arguments: list[object], devices: int, processes: int) -> list[forked.Popen]:
    """The processes of one job, each with so many devices."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    return [
        forked.Popen(
            [sys.executable, "-m", "tests.every_pass", *map(str, arguments), *job],
            env=os.environ | simulated(devices),
        )
        for number in range(processes)
        for job in ([address, str(processes), str(number)] if processes > 1 else [],)
    ]


@pytest.mark.slow
def test_any_devices_and_processes_find_what_one_does(
    split, shallow_run, prepared_pictures, tmp_path
):
    """Of 14 images a step, no multiple of 4: 30, which do not fill two; and 2, not one a device."""
    jobs = {}
    for devices, processes in JOBS:
        out = tmp_path / f"{devices} x {processes}" / "found.npz"
        out.parent.mkdir()
        jobs[out] = started([shallow_run, prepared_pictures, out], devices, processes)
    expected = every_pass(open_run(shallow_run), split, tmp_path)
    for out, processes in jobs.items():
        said = [process.communicate(timeout=900) for process in processes]
        assert [process.returncode for process in processes] == [0] * len(processes), said
        with np.load(out) as found:
            assert expected.keys() == set(found.files)
            for name, array in expected.items():
                if array.dtype.kind == "f":
                    scale = np.nanmax(np.abs(array))
                    np.testing.assert_allclose(
                        found[name], array, rtol=1e-4, atol=1e-5 * scale, err_msg=name
                    )
                else:
                    np.testing.assert_array_equal(found[name], array, err_msg=name)


class Rows(NamedTuple):
    index: np.ndarray
    square: np.ndarray


def over_ten_rows(step) -> Iterator[tuple[range, np.ndarray]]:
    """Their squares by a step (index [B], square [B]) -> the same, of six rows at a time."""

    def read(index):
        return Rows(index, index**2)

    return passes.over_rows(10, read, lambda rows: step(*map(np.ravel, rows)), (), batch_size=6)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [4, 5, 0, 1, 2, 3], [5, 4, 3, 2, 1, 0]])
def test_rows_come_back_in_order_wherever_the_devices_lie(order):
    """Devices of a process need not be neighbours among all."""
    found = list(over_ten_rows(lambda index, square: (index[order], square[order])))
    assert [rows for rows, _ in found] == [range(6), range(6, 10)]
    np.testing.assert_array_equal(np.concatenate([f for _, f in found]), np.arange(10) ** 2)


def test_a_row_that_is_lost_or_seen_twice_is_an_error():
    with pytest.raises(RuntimeError, match="other rows than 0 to 5 came back"):
        list(over_ten_rows(lambda index, square: (np.where(index == 3, 2, index), square)))


def test_results_are_fetched_one_step_behind():
    """So that the devices have work while the host takes what they found."""
    begun = []
    found = over_ten_rows(lambda index, square: (begun.append(int(index[0])), (index, square))[1])
    assert begun == []
    assert next(found)[0] == range(6)
    assert begun == [0, 6]


def test_a_batch_is_rounded_up_to_the_devices(monkeypatch):
    monkeypatch.setattr(parallel.jax, "device_count", lambda: 3)
    assert [parallel.rounded_up(size) for size in (1, 3, 16, 18)] == [3, 3, 18, 18]
    with pytest.raises(ValueError, match="a batch has at least one image, not 0"):
        parallel.rounded_up(0)
