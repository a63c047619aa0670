"""Our programs in processes of their own, forked from one that has imported what they need.

Importing takes seconds, and most programs that tests start do little else. `python -m tests.forked
SOCKET` is the process that forks; a test process starts it with its first program.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent

# Define flags, which a program has only if it imports them itself.
_NOT_BEFORE = ("zfnet_jax.command", "zfnet_jax.__main__")


class Popen:
    """As `subprocess.Popen`, for [sys.executable, "-m" or "-c", module or code, *arguments]."""

    def __init__(
        self,
        args: Sequence[str],
        *,
        cwd: str | Path = ROOT,
        env: Mapping[str, str] | None = None,
        stdout: int | IO = subprocess.PIPE,
        stderr: int | IO = subprocess.PIPE,
    ) -> None:
        python, kind, *rest = map(str, args)
        assert (python, kind) in ((sys.executable, "-m"), (sys.executable, "-c"))
        self.args: Sequence[str] = args
        self.returncode: int | None = None
        # In place of pipes, which might be full.
        self._out, self._err = (
            tempfile.TemporaryFile() if where == subprocess.PIPE else None  # noqa: SIM115
            for where in (stdout, stderr)
        )
        out = self._out or stdout
        err = self._err or (out if stderr == subprocess.STDOUT else stderr)
        self._written = ["", ""]
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server())
        socket.send_fds(self._connection, [b"."], [out.fileno(), err.fileno()])
        asked = {"kind": kind, "rest": rest, "cwd": str(cwd)}
        asked["environment"] = dict(os.environ if env is None else env)
        self._connection.sendall(json.dumps(asked).encode() + b"\n")
        self._answers = self._connection.makefile()
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._connection.close()
            self._written = [_read(pipe) for pipe in (self._out, self._err)]
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote to its pipes; nothing where it has none."""
        self.wait(timeout)
        return self._written[0], self._written[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def run(args: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with its output captured, as text."""
    process = Popen(args, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess(args, process.wait(), out, err)


def _read(pipe: IO | None) -> str:
    if pipe is None:
        return ""
    with pipe:
        pipe.seek(0)
        return pipe.read().decode()


@functools.cache
def _server() -> str:
    """The address of the process that forks."""
    folder = tempfile.TemporaryDirectory(prefix="forked")
    address = f"{folder.name}/socket"
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, address],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"

    def end(stdin: IO = server.stdin, stdout: IO = server.stdout) -> None:
        stdin.close()
        stdout.close()
        server.wait()
        folder.cleanup()

    atexit.register(end)
    return address


def _serve(address: str) -> None:
    """Forks for who connects, until the standard input is closed."""
    import jax  # noqa: F401
    import matplotlib.pyplot  # noqa: F401

    import zfnet_jax

    for module in pkgutil.walk_packages(zfnet_jax.__path__, "zfnet_jax."):
        if not module.name.startswith(_NOT_BEFORE):
            with contextlib.suppress(ImportError, ValueError):  # an extra that is not installed
                importlib.import_module(module.name)
    warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(99)
        print("ready", flush=True)
        while sys.stdin not in (ready := select.select([listening, sys.stdin], [], [], 0.2)[0]):
            if ready:
                connection, _ = listening.accept()
                if not os.fork():
                    listening.close()
                    _answer(connection)
                connection.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _answer(connection: socket.socket) -> None:
    """Starts a program, says its number, and how it ended."""
    _, outputs, _, _ = socket.recv_fds(connection, 1, 2)
    with connection, connection.makefile("rw") as words:
        asked = json.loads(words.readline())
        if not (child := os.fork()):
            _become(outputs, **asked)
        words.write(f"{child}\n")
        words.flush()
        status = os.waitpid(child, 0)[1]
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it
            words.write(f"{os.waitstatus_to_exitcode(status)}\n")
            words.flush()
    os._exit(0)


def _become(
    outputs: Sequence[int],
    *,
    kind: str,
    rest: Sequence[str],
    cwd: str,
    environment: Mapping[str, str],
) -> None:
    """Does what `python` with the arguments [kind, *rest] does."""
    for stream, mine in enumerate((os.open(os.devnull, os.O_RDONLY), *outputs)):
        os.dup2(mine, stream)
    os.closerange(3, 64)  # the sockets
    os.chdir(cwd)
    sys.path[0] = cwd
    os.environ.clear()
    os.environ.update(environment)
    program, *arguments = rest
    code = 0
    try:
        if kind == "-m":
            sys.argv = [program, *arguments]
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            sys.argv = [kind, *arguments]
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(program, vars(main))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
