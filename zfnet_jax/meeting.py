"""How the processes of a job meet, before JAX starts: who is missing, who differs in what.

They meet at the address at which process 0 serves JAX afterwards, so no second port is needed.
JAX's own start ends in an abort where a process is missing, with a trace of C++ and no exit code to
tell it by.
"""

from __future__ import annotations

import collections
import contextlib
import json
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zfnet_jax import dotted
from zfnet_jax.lifeline import (
    ENDED,
    DisagreementError,
    Lifeline,
    LostError,
    Message,
    keep_alive,
    line_of,
    receive,
)

START_SECONDS = 300  # how long the slowest process may take to start, as in JAX
TELLING_SECONDS = 15  # how long one that has failed before the start tries to tell the others

_QUIET_SECONDS = 20.0  # before one that waits says for whom
_GREETING = {"zfnet_jax": "a job is starting"}
_ANSWER_SECONDS = 30.0  # of process 0, once it listens
_WORD_SECONDS = 5.0  # from one byte of an introduction to the next
_LAST_SECONDS = 10.0  # to hear that one has failed before all were there
_MOST_FIELDS = 8  # of those that differ, in one message


def meet(
    address: str,
    process: int,
    processes: int,
    seconds: float,
    about: Mapping[str, Any],
    failed: str = "",
) -> Lifeline:
    """Waits until all processes of a job are there.

    Args:
      address: 'host:port' of process 0.
      process, processes: which one this is, of how many.
      seconds: how long the slowest may take.
      about: what all processes must have in common, JSON values by name.
      failed: the error that this process has met before it came. It comes to tell the others.

    Raises:
      LostError: a process is missing, or has failed; every process that came raises the same.
      DisagreementError: they differ in `about`; likewise.
      OSError: process 0 cannot listen at the address.
    """
    text = (
        f"process {process} of {processes} waits for the others at {address}, {seconds:g} s at most"
    )
    note = threading.Timer(_QUIET_SECONDS, print, (text,), {"file": sys.stderr, "flush": True})
    note.daemon = True
    note.start()
    try:
        return _meet(address, process, processes, seconds, about, failed)
    finally:
        note.cancel()


def _meet(
    address: str,
    process: int,
    processes: int,
    seconds: float,
    about: Mapping[str, Any],
    failed: str,
) -> Lifeline:
    host, _, port = address.rpartition(":")
    own: Message = {"process": process, "processes": processes, "about": about, "failed": failed}
    if process:
        connection = _reach(host.strip("[]"), int(port), processes, seconds)
        try:
            _introduce(connection, own)
        except BaseException:
            connection.close()
            raise
        return Lifeline(process, processes, {0: connection})
    came = _gather(address, int(port), own, seconds)
    said = [own, *(message for message, _ in came)]
    answer = _trouble(said) or _missing(said, address, seconds)
    if not answer:
        in_order = sorted(said, key=lambda message: message["process"])
        answer = {"different": differences([message["about"] for message in in_order])}
    for _, connection in came:
        with contextlib.suppress(OSError):  # gone again: the next that is heard of it
            connection.sendall(line_of(answer))
        if any(answer.values()):
            connection.close()
    _raise_if(answer)
    return Lifeline(0, processes, {message["process"]: line for message, line in came})


def differences(said: Sequence[Mapping[str, Any]]) -> str:
    """Which process differs in what from what most say: '' or one line.

    Args:
      said: JSON values by name, of each process; fields of nested ones are named 'outer.inner'.
    """
    fields = [dict(dotted.fields(one)) for one in said]
    texts = [json.dumps(one, sort_keys=True) for one in fields]
    most, count = collections.Counter(texts).most_common(1)[0]
    if count == len(said):
        return ""
    usual = json.loads(most)
    found: dict[str, list[int]] = {}
    for number, own in enumerate(fields):
        for name in sorted(own.keys() | usual.keys()):
            if own.get(name) != usual.get(name):
                what = f"another {name}: {own.get(name)}, not {usual.get(name)}"
                found.setdefault(what, []).append(number)
    lines = [
        f"{_names(numbers, len(said))} {'have' if len(numbers) > 1 else 'has'} {what}"
        for what, numbers in list(found.items())[:_MOST_FIELDS]
    ]
    left = len(found) - len(lines)
    return "; ".join(lines) + (f"; and {left} more" if left else "")


def own_address() -> str:
    """'host:port' at which other hosts reach a free port of this one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing, but takes the way out
        host = probe.getsockname()[0]
    with socket.create_server(("", 0)) as free:
        return f"{host}:{free.getsockname()[1]}"


def _gather(
    address: str, port: int, own: Message, seconds: float
) -> list[tuple[Message, socket.socket]]:
    """Who came to process 0 in time, and what each of them says."""
    came: list[tuple[Message, socket.socket]] = []
    deadline = time.monotonic() + seconds
    with _listener(address, port) as listener, selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while len(came) + 1 < own["processes"]:
            if _trouble([own, *(message for message, _ in came)]):
                # The rest get a moment to come and hear of it, no more.
                deadline = min(deadline, time.monotonic() + _LAST_SECONDS)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            for key, _ in selector.select(left):
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    keep_alive(connection)
                    connection.settimeout(_WORD_SECONDS)  # a stranger may never end its line
                    with contextlib.suppress(OSError):  # gone again
                        connection.sendall(line_of(_GREETING))
                    selector.register(connection, selectors.EVENT_READ, connection)
                    continue
                connection = key.data
                message = receive(connection)
                known = [said for said, other in came if other is connection]
                if message and message.keys() >= own.keys():
                    connection.settimeout(None)
                    came.append((message, connection))
                    continue
                selector.unregister(connection)
                if known:
                    known[0]["failed"] = ENDED
                else:
                    connection.close()  # somebody else's
        for key in selector.get_map().values():
            if key.data and all(key.data is not connection for _, connection in came):
                key.data.close()  # has said nothing
    return came


def _trouble(said: Sequence[Message]) -> Message:
    """What process 0 answers where one of those who came has failed or fits no place of the job."""
    processes = said[0]["processes"]
    for message in said:
        if message["failed"]:
            name = f"process {message['process']} of {processes}"
            if message["failed"] == ENDED:
                return {"failed": f"{name} {ENDED}", "reason": ""}
            return {"failed": f"{name}: {message['failed']}", "reason": message["failed"]}
    for message in said:
        if message["processes"] != processes:
            text = (
                f"process {message['process']} was started as one of {message['processes']},"
                f" process 0 as one of {processes}"
            )
            return {"failed": text, "reason": ""}
    numbers = [message["process"] for message in said]
    for number in numbers:
        if numbers.count(number) > 1:
            text = f"{numbers.count(number)} processes were started as process {number}"
            return {"failed": f"{text} of {processes}", "reason": ""}
    return {}


def _missing(said: Sequence[Message], address: str, seconds: float) -> Message:
    """What process 0 answers where some have not come."""
    processes = said[0]["processes"]
    missing = sorted(set(range(processes)) - {message["process"] for message in said})
    if not missing:
        return {}
    text = f"{_names(missing, processes)} did not come to {address} within {seconds:g} s"
    return {"failed": text, "reason": ""}


def _names(numbers: Sequence[int], processes: int) -> str:
    shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    return f"process{'es' * (len(numbers) > 1)} {shown} of {processes}"


def _raise_if(answer: Message) -> None:
    if answer.get("failed"):
        raise LostError(answer["failed"])
    if answer.get("different"):
        raise DisagreementError(answer["different"])


def _reach(host: str, port: int, processes: int, seconds: float) -> socket.socket:
    """A connection with process 0, once it listens."""
    deadline, wait = time.monotonic() + seconds, 0.05
    while True:
        left = deadline - time.monotonic()
        try:
            return socket.create_connection((host, port), timeout=max(0.1, min(left, 10.0)))
        except OSError as error:
            if left <= 0:
                raise LostError(
                    f"process 0 of {processes} did not come to {host}:{port} within {seconds:g} s"
                    f" ({error.strerror or error})"
                ) from error
        time.sleep(wait)
        wait = min(1.0, 1.5 * wait)


def _introduce(connection: socket.socket, own: Message) -> None:
    """Waits until process 0 says that all are there and all is well."""
    keep_alive(connection)
    greeting = None
    with contextlib.suppress(OSError):
        connection.settimeout(_ANSWER_SECONDS)
        greeting = receive(connection)
    if greeting != _GREETING:
        raise LostError(
            "who listens at {}:{} is not process 0 of a job that is starting: choose another port,"
            " and start all processes together".format(*connection.getpeername()[:2])
        )
    connection.settimeout(None)
    connection.sendall(line_of(own))
    answer = receive(connection)
    if answer is None:
        raise LostError(f"process 0 of {own['processes']} {ENDED}")
    _raise_if(answer)


@contextlib.contextmanager
def _listener(address: str, port: int) -> Iterator[socket.socket]:
    """Listens at a port of all of this host's addresses, as JAX does."""
    try:
        if socket.has_dualstack_ipv6():
            made = socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
            )
        else:
            made = socket.create_server(("", port), backlog=1024)
    except OSError as error:
        raise OSError(
            f"process 0 cannot listen at {address}: {error.strerror}: choose another port"
        ) from error
    with made:
        yield made
