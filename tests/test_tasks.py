"""Tasks dealt to devices, here one that stands for three; with processes see test_passes.py."""

from __future__ import annotations

import pickle
import signal
import threading

import jax
import pytest

from zfnet_jax import parallel, tasks
from zfnet_jax.training import preemption
from zfnet_jax.training.nonfinite import NonFiniteError


@pytest.fixture
def three(monkeypatch):
    """The device of this process, three times."""
    monkeypatch.setattr(parallel.jax, "local_devices", lambda: jax.devices() * 3)
    monkeypatch.setattr(parallel.jax, "device_count", lambda: 3)


@pytest.mark.usefixtures("three")
def test_each_device_has_its_share_at_the_same_time():
    meeting, shares = threading.Barrier(3), {}

    def do(number: int) -> int:
        if number < 6:
            meeting.wait(timeout=60)  # or they were done one after the other
        assert (parallel.device_count(), parallel.process_count()) == (1, 1)
        assert parallel.is_writer()
        assert not parallel.speaks()
        shares.setdefault(threading.get_ident(), []).append(number)
        return number**2

    assert list(tasks.dealt(range(7), do)) == [n**2 for n in range(7)]
    assert sorted(shares.values()) == [[0, 3, 6], [1, 4], [2, 5]]
    assert parallel.device_count() == 3
    assert parallel.speaks()


@pytest.mark.usefixtures("three")
def test_the_first_error_in_order_is_raised_and_what_is_under_way_ends():
    ended = []

    def do(number: int) -> int:
        if number in (2, 4):
            raise ValueError(f"task {number}")
        ended.append(number)
        return number

    found = tasks.dealt(range(20), do)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="task 2"):
        next(found)
    assert set(ended) <= {0, 1, 3, 5}  # of this round and the next


def test_nothing_is_dealt_of_nothing():
    assert list(tasks.dealt([], pytest.fail)) == []


def test_one_device_works_in_the_thread_that_hears_signals():
    (thread,) = tasks.dealt([None], lambda _: threading.current_thread())
    assert thread is threading.main_thread()


def test_a_net_in_a_thread_of_its_own_learns_of_a_signal():
    told = []

    def train() -> None:
        with preemption.Watch() as watch:
            told.append((watch.told(1), watch.preempted(1).number))

    with preemption.Watch():
        signal.raise_signal(signal.SIGUSR1)
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    assert told == [(True, signal.SIGUSR1)]


def test_errors_reach_other_processes_with_their_message():
    def fail() -> None:
        raise NonFiniteError("the loss is not finite", 2)

    _, error = pickle.loads(pickle.dumps(parallel.outcome(fail)))
    assert isinstance(error, FloatingPointError)  # what a user can mend stays that
    assert str(error) == "the loss is not finite"
    told = pickle.loads(pickle.dumps(preemption.PreemptedError("SIGTERM: saved", 15)))
    assert (str(told), told.number) == ("SIGTERM: saved", 15)
