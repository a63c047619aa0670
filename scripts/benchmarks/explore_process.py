"""scripts.explore in a process of its own, for what measures it from outside."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple


class Started(NamedTuple):
    """Where it answers, 'host:port', and its process."""

    address: str
    pid: int


@contextlib.contextmanager
def started(workdir: str) -> Iterator[Started]:
    """Serves a run's folder until the end of the block. ValueError: it does not start."""
    command = [sys.executable, "-m", "scripts.explore", f"--workdir={workdir}", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://([^/]+)/", server.stdout.readline())
            if found is None:
                raise ValueError("scripts.explore does not start")
            yield Started(found[1], server.pid)
        finally:
            server.terminate()
