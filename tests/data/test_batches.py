"""Batches: a pure function of (seed, epoch, start), whole over all hosts."""

from __future__ import annotations

import contextvars
import threading

import numpy as np
import pytest

from zfnet_jax.data.batches import (
    Batch,
    eval_rows,
    read,
    read_ahead,
    train_rows,
    train_steps_per_epoch,
)
from zfnet_jax.data.prepared import PreparedSplit

COUNT = 23


@pytest.fixture
def split() -> PreparedSplit:
    """Every picture is filled with its own row number."""
    images = np.repeat(np.arange(COUNT, dtype=np.uint8), 4 * 4 * 3).reshape(COUNT, 4, 4, 3)
    return PreparedSplit(
        images=images,
        labels=np.arange(COUNT, dtype=np.int32) % 5,
        keys=tuple(map(str, range(COUNT))),
        class_names=tuple("abcde"),
        mean=None,
        fingerprint="",
    )


def train(split, *, seed=0, epoch=0, start=0, batch_size=6, process_index=0, process_count=1):
    rows = train_rows(
        len(split),
        seed=seed,
        epoch=epoch,
        start=start,
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
    )
    return [read(split, index) for index in rows]


def evaluate(split, *, batch_size, process_index=0, process_count=1, start=0):
    rows = eval_rows(
        len(split),
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
        start=start,
    )
    return [read(split, index) for index in rows]


def equal(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x, y) for one, other in zip(a, b) for x, y in zip(one, other)
    )


def united(hosts: list[list[Batch]]) -> list[Batch]:
    return [Batch(*map(np.concatenate, zip(*parts))) for parts in zip(*hosts)]


def check_rows(batch: Batch) -> None:
    real = batch.mask == 1
    assert np.array_equal(batch.images[real][:, 0, 0, 0], batch.index[real])
    assert np.array_equal(batch.labels[real], batch.index[real] % 5)
    assert [array.dtype for array in batch] == [np.uint8, np.int32, np.int32, np.float32]


def test_an_epoch_has_each_picture_at_most_once_in_whole_batches(split):
    batches = train(split)
    assert len(batches) == train_steps_per_epoch(COUNT, 6) == 3
    for batch in batches:
        assert batch.images.shape == (6, 4, 4, 3)
        assert np.all(batch.mask == 1)
        check_rows(batch)
    index = np.concatenate([batch.index for batch in batches])
    assert len(set(index.tolist())) == 18


def test_all_pictures_are_seen_over_epochs(split):
    left_out = [
        set(range(COUNT)) - {int(i) for b in train(split, epoch=e) for i in b.index}
        for e in range(6)
    ]
    assert all(len(missing) == COUNT - 18 for missing in left_out)
    assert not set.intersection(*left_out)


def test_batches_depend_on_seed_epoch_and_start_only(split):
    whole = train(split, seed=3, epoch=2)
    assert equal(whole, train(split, seed=3, epoch=2))
    for start in range(len(whole) + 1):
        assert equal(whole[start:], train(split, seed=3, epoch=2, start=start))
    assert not equal(whole, train(split, seed=3, epoch=3))
    assert not equal(whole, train(split, seed=4, epoch=2))
    assert not equal(train(split, seed=2, epoch=3), train(split, seed=3, epoch=2))


@pytest.mark.parametrize("process_count", [2, 3, 6])
def test_hosts_in_order_are_the_single_process(split, process_count):
    hosts = [
        train(split, epoch=1, process_index=p, process_count=process_count)
        for p in range(process_count)
    ]
    assert all(len(batch.index) == 6 // process_count for host in hosts for batch in host)
    assert equal(united(hosts), train(split, epoch=1))


@pytest.mark.parametrize("process_count", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [4, 8, 24, 40])
def test_evaluation_counts_every_picture_exactly_once(split, process_count, batch_size):
    hosts = [
        evaluate(split, batch_size=batch_size, process_index=p, process_count=process_count)
        for p in range(process_count)
    ]
    assert {len(host) for host in hosts} == {-(-COUNT // batch_size)}
    for host in hosts:
        for batch in host:
            assert len(batch.images) == len(batch.mask) == batch_size // process_count
            check_rows(batch)
            assert np.all(batch.index[batch.mask == 0] == -1)
            assert not batch.images[batch.mask == 0].any()
    batches = united(hosts)
    index = np.concatenate([batch.index[batch.mask == 1] for batch in batches])
    assert index.tolist() == list(range(COUNT))
    assert equal(batches, evaluate(split, batch_size=batch_size))


def test_evaluation_goes_on_from_any_row(split):
    batches = evaluate(split, batch_size=4, start=9)
    index = np.concatenate([batch.index for batch in batches])
    assert index.tolist() == [*range(9, COUNT), -1, -1]
    for batch in batches:
        check_rows(batch)
    assert evaluate(split, batch_size=4, start=COUNT) == []


def test_impossible_batches_are_errors(split):
    with pytest.raises(ValueError, match="23 training images do not fill one batch of 24"):
        train(split, batch_size=24)
    with pytest.raises(ValueError, match="batch size 6 cannot be divided by 4 processes"):
        train(split, process_count=4)
    with pytest.raises(ValueError, match="batch size 6 cannot be divided by 4 processes"):
        evaluate(split, batch_size=6, process_count=4)


def test_reading_ahead_keeps_the_order_and_runs_ahead():
    started, go = [], threading.Event()

    def load(number):
        started.append(number)
        if number == 0:
            go.wait(10)  # those after it are done before it
        return number

    ahead = read_ahead(load, range(10), 3)
    threading.Timer(0.2, go.set).start()
    assert next(ahead) == 0
    assert set(started) <= {0, 1, 2, 3}  # one taken, three ahead
    assert list(ahead) == list(range(1, 10))


def test_reading_ahead_passes_exceptions_on_where_they_belong():
    def load(number):
        if number == 1:
            raise OSError("the disk is gone")
        return number

    ahead = read_ahead(load, range(5), 3)
    assert next(ahead) == 0
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)


def test_reading_ahead_leaves_no_thread_when_closed():
    before = threading.active_count()
    ahead = read_ahead(lambda number: number, range(1000), 2)
    next(ahead)
    assert threading.active_count() > before
    ahead.close()
    assert threading.active_count() == before


def test_what_holds_for_the_consumer_holds_where_it_reads():
    held = contextvars.ContextVar("held", default="nothing")
    held.set("something")
    assert list(read_ahead(lambda _: held.get(), range(3), 2)) == ["something"] * 3
