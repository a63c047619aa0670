"""How long a person before the page of scripts.explore waits, warm: HTTP on loopback included.

The quickstart's net, the whole ZFNet at 224 pixels and, with --workdir, a run; random weights, and
another photo, unit or place every time, so that nothing is found in a cache. A form says how long
it may take at most; the whole occlusion map is set beside the function that scripts.occlusion
calls.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.benchmarks.made import MadeImages, net_of
from scripts.benchmarks.trials import Options, Row, spread, take_turns

if TYPE_CHECKING:
    from zfnet_jax.explore.server import Server
    from zfnet_jax.runs.run import Run

_CLASSES = 1000
_SMALL, _LARGE = (0.3, 0.1, 0.1), (1.5, 0.3, 0.4)  # seconds: the maps, a unit, a square


def rows(options: Options) -> Iterator[Row]:
    from zfnet_jax.runs.run import open_run

    yield from _measured("the quickstart's net", _quickstart(options.small), _SMALL, options)
    if not options.small:
        yield from _measured(
            "ZFNet at 224", net_of(MadeImages(1, _CLASSES), False), _LARGE, options
        )
    if options.workdir:
        run = open_run(options.workdir)
        yield from _measured(run.directory.name, run, _LARGE, options)


def _quickstart(small: bool) -> Run:
    from configs import quickstart
    from scripts.benchmarks.made import narrow
    from zfnet_jax import model
    from zfnet_jax.runs.run import Run

    config = quickstart.get_config()
    if small:
        narrow(config)
    config.model.dtype, config.model.precision = "float32", "highest"
    size = config.data.image_size
    net = model.from_config(config.model, 10)
    params = model.initial_params(net, 0, config.augment.crop, 3)
    mean = np.full((size, size, 3), 128, np.float32)
    return Run(Path(), 0, config, net, params, mean, tuple(map(str, range(10))))


def _measured(
    what: str, run: Run, most: tuple[float, float, float], options: Options
) -> Iterator[Row]:
    from zfnet_jax.explore.nets import Folder, Nets, placed
    from zfnet_jax.explore.server import Server
    from zfnet_jax.studies.occlusion import study
    from zfnet_jax.studies.occlusion.options import Options as Occlusion

    run = placed(run)
    server = Server(Nets([Folder(Path("made"), run, None)]), warm=False)
    convs = [conv.name for conv in run.architecture.convs]
    photos = _photos()
    with _asked(server) as ask:

        def shown() -> str:
            photo = ask("/api/photos", next(photos))["photo"]
            ask("/api/answer", photo=photo)
            for layer in convs:
                ask("/api/strip", photo=photo, layer=layer)
                ask("/api/strip.png", photo=photo, layer=layer)
            return photo

        photo, turn = shown(), itertools.count()

        def unit(layer: str) -> None:
            maps = run.architecture.convs[convs.index(layer)].maps
            asked = {"photo": photo, "layer": layer, "map": next(turn) % maps}
            ask("/api/unit", **asked)
            ask("/api/unit.png", **asked)

        usual = study.resolved(run, Occlusion())
        room = min(run.input_size) - usual.square

        def square() -> None:
            y, x = (next(turn) % (room + 1) for _ in range(2))
            asked = {"layer": usual.layer, "map": 0, "size": usual.square}
            ask("/api/square", photo=photo, y=y, x=x, **asked)

        forms: dict[str, Callable[[], object]] = {
            f"photo to answer and strips (at most {most[0]} s)": shown,
            **{
                f"a unit of {layer} (at most {most[1]} s)": lambda layer=layer: unit(layer)
                for layer in convs
            },
            f"the square's answer (at most {most[2]} s)": square,
        }
        for name, seconds in take_turns(forms, options.trials).items():
            yield Row(f"{what}: to wait", name, "s", *spread(seconds))

        pixels = server.explorer.photos.square(photo, run.config.data.image_size)[None]

        def whole() -> None:
            ask("/api/occlusion", photo=photo, layer=usual.layer, map=0)

        def script() -> None:
            study.of_pixels(run, usual, pixels, None, progress=False)

        what = f"{what}: all places of the square"
        took = take_turns({"on the page": whole, "as the script": script}, options.trials)
        ours, theirs = (spread(seconds) for seconds in took.values())
        yield Row(what, "on the page", "s", *ours)
        yield Row(what, "as the script", "s", *theirs, ratio=ours[0] / theirs[0], target=1.1)


@contextlib.contextmanager
def _asked(server: Server) -> Iterator[Callable[..., Any]]:
    """Asks a server that runs in a thread: (path, bytes to post, what is asked for) -> answer."""
    import socket

    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as bound:
        running = uvicorn.Server(
            uvicorn.Config(server.app, log_level="warning", timeout_keep_alive=3600)
        )
        thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", bound.getsockname()[1])

        def ask(path: str, body: bytes | None = None, **asked: object) -> Any:
            where = f"{path}?{urllib.parse.urlencode(asked)}"
            connection.request("GET" if body is None else "POST", where, body)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{where}: {data[:200].decode(errors='replace')}")
            is_json = answer.headers["content-type"] == "application/json"
            return json.loads(data) if is_json else data

        try:
            yield ask
        finally:
            connection.close()
            running.should_exit = True
            thread.join()


def _photos() -> Iterator[bytes]:
    """JPEG files of 640 x 480 pixels, no two alike."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    for shift in itertools.count():
        file = io.BytesIO()
        image = Image.fromarray(np.roll(noise, shift, axis=1) + np.uint8(shift // 80))
        image.resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG")
        yield file.getvalue()
