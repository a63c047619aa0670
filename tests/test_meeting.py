"""The meeting of a job's processes and their common end, with threads for processes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from zfnet_jax import meeting
from zfnet_jax.lifeline import DisagreementError, Lifeline, LostError


@pytest.fixture
def address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def met(address: str, processes: Sequence[dict], seconds: float = 20.0) -> list:
    """What `meet` returns or raises for each process: keyword arguments, as `meet` takes them."""

    def one(number: int, own: dict) -> Lifeline | Exception:
        time.sleep(own.pop("late", 0.0))
        own = {"process": number, "processes": len(processes), "about": {}} | own
        try:
            return meeting.meet(address, seconds=seconds, **own)
        except Exception as error:
            return error

    present = [(number, dict(own)) for number, own in enumerate(processes) if own is not None]
    with concurrent.futures.ThreadPoolExecutor(len(present)) as pool:
        return list(pool.map(lambda pair: one(*pair), present))


@contextlib.contextmanager
def watching(lines: Sequence[Lifeline], patience: float = 0.2) -> Iterator[list[list[str]]]:
    """What each of the processes hears."""
    heard: list[list[str]] = [[] for _ in lines]
    for line, own in zip(lines, heard):
        line.watch(own.append, patience)
    yield heard
    for line in lines:
        line.close()
        line._thread.join(20)


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("count", [2, 4])
def test_all_meet_give_their_values_and_leave_together(address, count):
    about = {"about": {"seed": 0}}
    lines = met(address, [{"late": 0.3} | about] + [about] * (count - 1))
    with watching(lines) as heard:
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            for turn in range(3):
                given = [[number, turn] for number in range(count)]
                gathered = list(pool.map(lambda line, value: line.gather(value), lines, given))
                assert gathered == [given] * count
        left = [threading.Thread(target=line.leave, daemon=True) for line in lines]
        for thread in left[1:]:
            thread.start()
        time.sleep(0.1)
        assert all(thread.is_alive() for thread in left[1:])  # one still works, alone
        left[0].start()
        for thread in left:
            thread.join(20)
        assert not any(thread.is_alive() for thread in left)
    assert heard == [[]] * count


def test_who_is_missing_is_named(address, monkeypatch, capsys):
    monkeypatch.setattr(meeting, "_QUIET_SECONDS", 0.1)
    said = met(address, [{}, None, {}, None], seconds=0.5)
    text = f"processes 1, 3 of 4 did not come to {address} within 0.5 s"
    assert [(type(one), str(one)) for one in said] == [(LostError, text)] * 2
    assert f"process 0 of 4 waits for the others at {address}, 0.5 s at" in capsys.readouterr().err
    (alone,) = met(address, [None, {}], seconds=0.2)
    assert f"process 0 of 2 did not come to {address} within 0.2 s" in str(alone)


def test_who_failed_before_it_came_tells_the_others(address):
    said = met(address, [{}, {}, {"failed": "no such file"}])
    assert [str(one) for one in said] == ["process 2 of 3: no such file"] * 3


def test_who_differs_in_what_is_named(address):
    versions = ("0.11", "0.10", "0.11", "0.10", "0.11")
    said = met(address, [{"about": {"jax": version}} for version in versions])
    text = "processes 1, 3 of 5 have another jax: 0.10, not 0.11"
    assert [(type(one), str(one)) for one in said] == [(DisagreementError, text)] * 5


@pytest.mark.parametrize(
    ("processes", "text"),
    [
        ([{}, {"processes": 3}], "process 1 was started as one of 3, process 0 as one of 2"),
        ([{}, {}, {"process": 1}], "2 processes were started as process 1 of 3"),
    ],
)
def test_processes_that_fit_no_place_are_named(address, monkeypatch, processes, text):
    monkeypatch.setattr(meeting, "_LAST_SECONDS", 0.3)
    assert {str(one) for one in met(address, processes)} == {text}


def test_a_port_of_somebody_else_is_told(address, monkeypatch):
    monkeypatch.setattr(meeting, "_ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        first, second = met(address, [{}, {}], seconds=1)
    assert "process 0 cannot listen" in str(first)
    assert "is not process 0 of a job that is starting" in str(second)


def test_strangers_are_no_processes(address):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(met, address, [{}, {"late": 0.5}])
        host, port = address.split(":")
        stranger = meeting._reach(host, int(port), 2, 20)
        with stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            lines = waiting.result()
    with watching(lines):
        pass


@pytest.mark.parametrize("dead", [0, 2])
def test_all_hear_at_once_of_one_that_died(address, dead):
    lines = met(address, [{}] * 3)
    others = [line for line in lines if line.process != dead]
    with watching(others, patience=60) as heard:
        lines[dead].close()
        until(lambda: all(heard))
    assert heard == [[f"process {dead} of 3 has ended without a word"]] * 2


@pytest.mark.parametrize("failing", [0, 1])
def test_all_hear_of_one_that_fails_after_a_moment_for_their_own_error(address, failing):
    lines = met(address, [{}] * 3)
    with watching(lines) as heard:
        lines[failing].tell("boom")
        others = [one for line, one in zip(lines, heard) if line.process != failing]
        news = [line.news(20) for line in lines if line.process != failing]
        until(lambda: all(others))
        assert heard[failing] == []
    text = f"process {failing} of 3: boom"
    assert news == [(text, "boom")] * 2
    assert others == [[text]] * 2


def test_a_stranger_who_never_ends_a_line_is_let_go(address, monkeypatch):
    monkeypatch.setattr(meeting, "_WORD_SECONDS", 0.2)
    host, port = address.split(":")

    def stranger() -> None:
        until(lambda: _answers(host, int(port), strangers))

    strangers: list[socket.socket] = []
    thread = threading.Thread(target=stranger)
    thread.start()
    lines = met(address, [{}, {"late": 0.5}])
    thread.join(20)
    assert [type(line) for line in lines] == [Lifeline, Lifeline]
    for connection in [*strangers, *(c for line in lines for c in line._connections.values())]:
        connection.close()


def _answers(host: str, port: int, strangers: list[socket.socket]) -> bool:
    """Whether somebody listens; who is connected with says half a line and stays."""
    try:
        connection = socket.create_connection((host, port), timeout=5)
    except OSError:
        return False
    connection.sendall(b"GET / HTTP/1.1")
    strangers.append(connection)
    return True


def test_a_host_that_is_gone_is_heard_of():
    """The system tells of it as a timeout, or as no route to the host: neither is a
    ConnectionError."""

    class Gone(socket.socket):
        def recv(self, *_: int) -> bytes:
            raise TimeoutError("Connection timed out")

    here, there = socket.socketpair()
    gone = Gone(fileno=there.detach())
    line = Lifeline(0, 2, {1: gone})
    with watching([line]) as heard:
        here.sendall(b"wakes it up")
        until(lambda: heard[0])
    assert heard[0] == ["process 1 of 2 has ended without a word"]
    here.close()
