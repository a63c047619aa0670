"""A line between the processes of a job, beside JAX's: who fails, who has died.

JAX tells of a dead process only when its heartbeats have been missing for long, and then aborts. So
every process holds a TCP connection with process 0, from before JAX starts (see `meeting`) to the
end of the job. A process that dies loses its connection at once, however it dies.

Messages are lines of JSON. Process 0 passes on what one process says of its failure.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

Message = dict[str, Any]

# What a user can mend: one line without a traceback, and exit code 2.
EXPECTED = (ValueError, OSError, FloatingPointError)

ENDED = "has ended without a word"
_LONGEST_LINE = 1 << 20


class LostError(Exception):
    """A process of the job is missing, has failed or has ended: one line that says which."""

    exit_code = 76


class DisagreementError(ValueError):
    """The processes of a job differ in what they must share: one line that says which in what."""

    exit_code = 78


class Lifeline:
    """What a process of a job hears of the others, from their meeting to their common end.

    Args:
      process, processes: which one this is, of how many.
      connections: with every other process for process 0; with process 0 for the others.
    """

    def __init__(
        self, process: int, processes: int, connections: Mapping[int, socket.socket]
    ) -> None:
        self.process, self.processes = process, processes
        self._connections = dict(connections)
        self._on_loss: Callable[[str], None] = lambda _: None
        self._patience = 0.0
        self._done: set[int] = set()
        self._all_done = threading.Event()
        self._over = False  # what becomes of the others is no news any more
        self._news = threading.Event()
        self._reason, self._text = "", ""
        self._writing = threading.Lock()
        self._gathered = threading.Condition()
        self._given: dict[int, Any] = {}
        self._values: list[Any] | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def watch(self, on_loss: Callable[[str], None], patience: float) -> None:
        """Listens from now on, in a thread.

        Args:
          on_loss: called in that thread with what has happened, in one line. It ends the process.
          patience: seconds that this process has, where another says that it fails, to come to the
            same error by itself; where another has died, none.
        """
        self._on_loss, self._patience = on_loss, patience
        self._thread.start()

    def news(self, seconds: float) -> tuple[str, str] | None:
        """What has happened to another process, in one line, and the error it gave, if any.

        Waits for it so long.
        """
        return (self._text, self._reason) if self._news.wait(seconds) else None

    def tell(self, reason: str) -> None:
        """Tells the others that this process fails."""
        self._over = True
        text = f"{self.name(self.process)}: {reason}"
        for connection in list(self._connections.values()):
            self._send(connection, {"failed": text, "reason": reason})

    def gather(self, value: Any) -> list[Any]:
        """The values that all processes give, JSON values; waits until every process has come."""
        with self._gathered:
            if self.process == 0:
                self._add(0, value)
            else:
                self._send(self._connections[0], {"value": value})
            while self._values is None:
                self._gathered.wait()
            values, self._values = self._values, None
        return values

    def leave(self) -> None:
        """Waits until every process has come here, at its good end."""
        if self.process == 0:
            self._one_done(0)
        else:
            self._send(self._connections[0], {"done": True})
        self._all_done.wait()

    def wait_for_ends(self, seconds: float) -> None:
        """Waits until the others have gone, but no longer than this.

        Process 0 goes last: JAX aborts whoever still runs when its service is gone.
        """
        deadline = time.monotonic() + seconds
        while self.process == 0 and self._connections and time.monotonic() < deadline:
            time.sleep(0.02)
            if threading.current_thread() is self._thread:
                self._hear(0.0)

    def close(self) -> None:
        """Lets go of the others, who take it for the end of this process."""
        for connection in list(self._connections.values()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            if not self._thread.is_alive():  # which closes them otherwise
                connection.close()

    def name(self, process: int) -> str:
        return f"process {process} of {self.processes}"

    def _listen(self) -> None:
        while self._connections and not self._all_done.is_set():
            self._hear(0.5)
        for connection in self._connections.values():
            connection.close()

    def _hear(self, seconds: float) -> None:
        """Takes what has arrived from each connection, once something has."""
        with selectors.DefaultSelector() as selector:
            for process, connection in self._connections.items():
                selector.register(connection, selectors.EVENT_READ, process)
            for key, _ in selector.select(seconds):
                process: int = key.data
                message = receive(self._connections[process])
                if message is None:
                    self._connections.pop(process).close()
                    self._learn(f"{self.name(process)} {ENDED}", "", 0.0)
                elif "value" in message:
                    with self._gathered:
                        self._add(process, message["value"])
                elif "values" in message:
                    with self._gathered:
                        self._values = message["values"]
                        self._gathered.notify_all()
                elif message.get("done"):
                    self._one_done(process)
                elif "failed" in message:
                    patience = self._patience if message["reason"] else 0.0
                    self._learn(message["failed"], message["reason"], patience)

    def _learn(self, text: str, reason: str, patience: float) -> None:
        if self._over or self._news.is_set():
            return
        self._text, self._reason = text, reason
        self._news.set()
        if self.process == 0:
            for connection in list(self._connections.values()):
                self._send(connection, {"failed": text, "reason": reason})
        if patience:
            timer = threading.Timer(patience, self._on_loss, (text,))
            timer.daemon = True
            timer.start()
        else:
            self._on_loss(text)

    def _add(self, process: int, value: Any) -> None:
        """What process 0 does with a value that is to be gathered, holding `_gathered`."""
        self._given[process] = value
        if len(self._given) == self.processes:
            self._values = [self._given[number] for number in range(self.processes)]
            self._given = {}
            for connection in list(self._connections.values()):
                self._send(connection, {"values": self._values})
            self._gathered.notify_all()

    def _one_done(self, process: int) -> None:
        """Process 0 counts who is done, and tells all when they are; it tells the others."""
        self._done.add(process)
        if self.process == 0 and len(self._done) < self.processes:
            return
        self._over = True
        if self.process == 0:
            for connection in list(self._connections.values()):
                self._send(connection, {"done": True})
        self._all_done.set()

    def _send(self, connection: socket.socket, message: Message) -> None:
        with self._writing, contextlib.suppress(OSError):  # whoever is gone needs no word
            connection.sendall(line_of(message))


def keep_alive(connection: socket.socket) -> None:
    """Lets a connection break within a minute where the other host is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def line_of(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"


def receive(connection: socket.socket) -> Message | None:
    """The next message; None where the connection has ended, is broken or silent beyond its
    timeout, or another language is spoken."""
    line = bytearray()
    while not line.endswith(b"\n"):
        try:
            byte = connection.recv(1)
        except OSError:  # of a host that is gone: a timeout, or no route to it
            return None
        if not byte or len(line) >= _LONGEST_LINE:
            return None
        line += byte
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
