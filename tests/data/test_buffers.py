"""Memory that goes round is never written while anybody may still read it."""

from __future__ import annotations

import gc

import jax
import numpy as np

from zfnet_jax import parallel
from zfnet_jax.data.buffers import Buffers

SHAPE = (4, 16, 16, 3)


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_goes_round_once_its_array_is_gone():
    buffers = Buffers()
    first, second = (buffers.empty(SHAPE, np.float32) for _ in range(2))
    was = address(first)
    assert first.shape == SHAPE
    assert first.flags.writeable
    assert address(second) != was
    del first
    assert address(buffers.empty(SHAPE, np.float32)) == was


def test_a_view_keeps_the_memory():
    buffers = Buffers()
    first = buffers.empty(SHAPE, np.uint8)
    was, view = address(first), memoryview(first.reshape(-1)[5:9])
    del first
    gc.collect()
    second = buffers.empty(SHAPE, np.uint8)
    assert address(second) != was
    del view
    assert address(buffers.empty(SHAPE, np.uint8)) == was


def test_another_size_gets_memory_of_its_own():
    buffers = Buffers()
    small = buffers.empty((3,), np.uint8)
    del small
    large = buffers.empty(SHAPE, np.uint8)
    large[:] = 1
    assert large.sum() == large.size


def test_memory_that_jax_shares_is_not_used_again():
    """On a CPU an array of jax is the very memory that it was made from."""
    buffers = Buffers()
    source = buffers.empty(SHAPE, np.uint8)
    source[:] = 7
    was = address(source)
    placed = parallel.split_rows(source)
    del source
    gc.collect()
    if jax.default_backend() == "cpu":
        assert placed.addressable_shards[0].data.unsafe_buffer_pointer() == was
    for value in range(20):
        buffers.empty(SHAPE, np.uint8)[:] = value
    np.testing.assert_array_equal(placed, np.full(placed.shape, 7, np.uint8))


def test_what_jax_copies_later_is_not_used_again():
    """Batches are placed and computed with while the next ones are made."""
    buffers, step = Buffers(), jax.jit(lambda total, x: total + x.astype(np.float32).sum())
    total, addresses = np.float32(0), set()
    for number in range(40):
        batch = buffers.empty(SHAPE, np.uint8)
        batch[:] = number % 5
        addresses.add(address(batch))
        total = step(total, parallel.split_rows(batch))
    assert float(total) == 8 * (0 + 1 + 2 + 3 + 4) * np.prod(SHAPE)
    assert len(addresses) < 40  # some went round
