"""Opens a page on which a net answers about photos that are dropped into it.

python -m scripts.explore --workdir=DIR [--workdir=ANOTHER]
python -m scripts.explore --weights=FILE ... [--workdir=DIR]

The page shows the net's answer, the maps of every layer, strongest first, any unit projected to
pixels, what its map responds to in the data set (after scripts.mine), which units see a place, and
what a grey square costs, there and everywhere. With two runs it shows them side by side; with
several checkpoints it goes through them.

Weights of another framework are imported as by scripts.import_weights, with the same flags, into
DIR; without --workdir into a folder that is removed at the end, views that were saved included.

It answers this machine alone. With another --host whoever has the token in the printed link may
look, over a connection that is not encrypted. Photos stay in memory; what is saved on the page goes
to WORKDIR/explore/. Ctrl-C ends it. Needs pip install "zfnet_jax[explore]".
"""

from __future__ import annotations

import contextlib
import signal
import socket
import tempfile
from pathlib import Path

from absl import flags

from zfnet_jax.command import import_flags, outputs, shell, step_flag

_WORKDIRS = flags.DEFINE_multi_string("workdir", [], "Folder of a run; two for both side by side.")
_NET = import_flags.NetFlags(required=False)
_STEP = step_flag.define()
_HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Address to listen on; others than loopback's are open to who has the link.",
)
_PORT = flags.DEFINE_integer(
    "port", 8080, "Port to listen on; 0 for any.", lower_bound=0, upper_bound=65535
)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    from zfnet_jax.explore import guard, server  # after the flags, so that --help needs no jax
    from zfnet_jax.explore.nets import Nets, open_folder

    with contextlib.ExitStack() as stack:
        folders = [open_folder(where, _STEP.value) for where in _directories(stack)]
        bound = stack.enter_context(_bound(_HOST.value, _PORT.value))
        address, port = bound.getsockname()[:2]
        token = None if guard.is_loopback(address) else guard.new_token()
        served = server.Server(Nets(folders), token=token)
        link = f"http://{_in_link(_HOST.value, address)}:{port}/"
        asked = "" if token is None else f"?{guard.TOKEN}={token}"
        print(f"Open {link}{asked}  (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve(served, bound)


def _directories(stack: contextlib.ExitStack) -> list[Path]:
    """The folders of the runs, the imported net's among them."""
    given = [Path(directory) for directory in _WORKDIRS.value]
    if not _NET.is_given:
        if not 1 <= len(given) <= 2:
            raise ValueError(
                "give --workdir=DIR, the folder of a run, once or twice, or --weights=FILE"
            )
        return given
    from configs import zfnet
    from zfnet_jax.importers import write

    if len(given) > 1:
        raise ValueError("--weights takes one --workdir, the folder that it is imported into")
    base = zfnet.get_config()
    imported = _NET.read(base)
    if given:
        folder = outputs.folder(str(given[0]))
    else:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "imported"
    write.write_once(folder, imported, base)
    return [folder]


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens. ValueError: it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"cannot listen on {host}, port {port}: {reason}; --port=0 takes any that is free"
        ) from error


def _in_link(host: str, address: str) -> str:
    """The machine's name where it listens on all its addresses."""
    if address in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    shell.run(main)
