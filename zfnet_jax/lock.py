"""One process at a time: a lock file that says who holds it."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from absl import logging


@contextmanager
def locked(path: Path, who: str) -> Iterator[int]:
    """Holds a lock file; yields its descriptor, for child processes to keep it held too.

    The system frees the lock when its holders end, however they end. So a file that names a holder
    but is not locked is stale: it is taken over, with a warning. On a file system without locks
    the named process counts, if it is one of this machine.

    Args:
      path: the lock file; it stays, empty.
      who: what holds it, for the message: 'a run'.

    Raises:
      ValueError: another process holds it, or a child that it left behind.
    """
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        holder = file.read().strip()
        if not _take(file, holder):
            raise ValueError(
                f"{who} ({holder or 'its process does not say which'}) is at work in {path.parent}:"
                " wait for it or end it"
            )
        if holder:
            logging.warning("%s: %s (%s) ended without a word; going on", path, who, holder)
        _say(file, f"process {os.getpid()} on {socket.gethostname()}\n")
        try:
            yield file.fileno()
        finally:
            _say(file, "")


@contextmanager
def waited_for(path: Path) -> Iterator[bool]:
    """Holds a lock file, once whoever holds it is done; removes it at the end.

    On a file system without locks nobody waits. Yields whether it is held.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a", encoding="utf-8")
        held = False
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
            held = True
        if _is(file, path):
            break
        file.close()  # who held it has removed it: others may hold a new one
    with file:
        try:
            yield held
        finally:
            path.unlink(missing_ok=True)


def _is(file: TextIO, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _take(file: TextIO, holder: str) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return not _alive_here(holder)
    return True


def _alive_here(holder: str) -> bool:
    words = holder.split()
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdecimal():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and another user's
        pass
    return True


def _say(file: TextIO, text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
