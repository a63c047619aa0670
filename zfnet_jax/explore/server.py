"""The page and what it asks for: routes alone. The only file that imports Starlette and uvicorn.

Whatever computes goes through the one worker, in turn; see `explorer` for the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from zfnet_jax import entry, extras

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
    from starlette.routing import Route
except ImportError as error:
    raise extras.missing(error.name or "starlette", "explore") from error

from zfnet_jax.explore import views
from zfnet_jax.explore.asked import Looked
from zfnet_jax.explore.errors import NotThereError, RequestError, SlowError, TooLargeError
from zfnet_jax.explore.explorer import Explorer, Json
from zfnet_jax.explore.guard import App, Guard
from zfnet_jax.explore.nets import Nets
from zfnet_jax.explore.photos import MOST_BYTES, Photos, too_many_bytes
from zfnet_jax.explore.query import Query
from zfnet_jax.explore.worker import Worker
from zfnet_jax.lifeline import EXPECTED

PAGE = Path(__file__).with_name("page")
UPLOADS = 4  # at a time, each up to MOST_BYTES in memory
BODY_SECONDS = 60  # in which all of a request must have come: it takes the place of others
MOST_JSON = 10_000  # bytes of what is posted beside photos


class Server:
    """Everything between requests and the explorer.

    Args:
      warm: whether the programs of the first answers are compiled before they are asked for.
    """

    def __init__(self, nets: Nets, *, token: str | None = None, warm: bool = True) -> None:
        self.worker = Worker()
        sizes = [folder.shown.config.data.image_size for folder in nets.folders]
        self.explorer = Explorer(nets, Photos(sizes), self.worker.says)
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._uploads = asyncio.Semaphore(UPLOADS)
        self._warm = warm
        routes = [
            Route("/", self.index),
            Route("/page/{name}", self.file),
            Route("/api/nets", self.nets),
            Route("/api/photos", self.add_photo, methods=["POST"]),
            Route("/api/samples/{index:int}", self.sample),
            Route("/api/photo.png", self.photo),
            Route("/api/answer", self.answer),
            Route("/api/strip", self.strip),
            Route("/api/strip.png", self.strip_picture),
            Route("/api/unit", self.unit),
            Route("/api/unit.png", self.unit_picture),
            Route("/api/winners.png", self.winners),
            Route("/api/winners_projected.png", self.winners_projected),
            Route("/api/place", self.place),
            Route("/api/square", self.square),
            Route("/api/occlusion", self.occlusion),
            Route("/api/progress", self.progress),
            Route("/api/views", self.list_views),
            Route("/api/views", self.save_view, methods=["POST"]),
            Route("/api/views/{name}.zip", self.zip_view),
            Route("/api/views/{name}", self.open_view),
        ]
        inner = Starlette(
            routes=routes,
            exception_handlers={
                RequestError: _refused,
                ClientDisconnect: _refused,
                HTTPException: _refused,
                **dict.fromkeys(EXPECTED, _failed),
                Exception: _failed,
            },
            lifespan=self._lifespan,
        )
        self.app: App = Guard(inner, token)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        warming = asyncio.create_task(self._warm_up()) if self._warm else None
        try:
            yield
        finally:
            if warming:
                warming.cancel()
            self._decoder.shutdown(cancel_futures=True)
            self.worker.close()

    async def _warm_up(self) -> None:
        """One job after the other, so that whoever asks meanwhile waits for one of them at most."""
        jobs = self.explorer.warm_up()
        for number, (name, job) in enumerate(jobs, 1):
            try:
                await self.worker.do(self._said, f"compiling {name}, {number} of {len(jobs)}", job)
            except Exception as error:  # whoever asks for it is told
                logging.warning("warming up %s: %s", name, error)

    def _said(self, text: str, job: Callable[[], object]) -> None:
        with self.worker.says(text):
            job()

    # ---- The page

    async def index(self, _: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in {path.name for path in PAGE.glob("*") if path.is_file()}:
            raise NotThereError(f"there is no file {name[:80]!r}")
        return FileResponse(PAGE / name)

    async def nets(self, _: Request) -> Response:
        return JSONResponse(await self.worker.do(self.explorer.about))

    async def progress(self, _: Request) -> Response:
        return JSONResponse({"doing": self.worker.doing, "waiting": self.worker.waiting})

    # ---- Photos

    async def add_photo(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        async with self._uploads:
            data = await _body(request, MOST_BYTES, too_many_bytes())
            photo = await loop.run_in_executor(self._decoder, self.explorer.photos.add, data)
        return JSONResponse({"photo": photo})

    async def sample(self, request: Request) -> Response:
        asked = Query(request.query_params)
        index = request.path_params["index"]
        return await self._json(self.explorer.sample, asked.run, index)

    async def photo(self, request: Request) -> Response:
        asked = Query(request.query_params)
        return await self._png(self.explorer.photo, asked.run, asked.photo, asked.flag("whole"))

    # ---- Answers

    async def answer(self, request: Request) -> Response:
        asked = Query(request.query_params)
        return await self._json(self.explorer.answer, asked.shown)

    async def strip(self, request: Request) -> Response:
        asked = Query(request.query_params)
        return await self._json(self.explorer.strip, asked.shown, asked.text("layer"))

    async def strip_picture(self, request: Request) -> Response:
        asked = Query(request.query_params)
        return await self._png(self.explorer.strip_picture, asked.shown, asked.text("layer"))

    async def unit(self, request: Request) -> Response:
        asked = Query(request.query_params)
        return await self._json(self.explorer.unit, asked.chosen)

    async def unit_picture(self, request: Request) -> Response:
        asked = Query(request.query_params)
        how, whole = asked.how, asked.flag("whole")
        return await self._png(self.explorer.unit_picture, asked.chosen, how, whole)

    async def winners(self, request: Request) -> Response:
        return await self._winners(request, projected=False)

    async def winners_projected(self, request: Request) -> Response:
        return await self._winners(request, projected=True)

    async def _winners(self, request: Request, projected: bool) -> Response:
        asked = Query(request.query_params)
        which = asked.run, asked.step, asked.text("layer"), asked.number("map")
        return await self._png(self.explorer.winners_picture, *which, projected)

    async def place(self, request: Request) -> Response:
        asked = Query(request.query_params)
        where = asked.number("y"), asked.number("x")
        return await self._json(self.explorer.place, asked.shown, asked.text("layer"), *where)

    async def square(self, request: Request) -> Response:
        asked = Query(request.query_params)
        return await self._json(self.explorer.square, asked.chosen, *asked.square)

    async def occlusion(self, request: Request) -> Response:
        asked = Query(request.query_params)
        sizes = asked.maybe("size"), asked.maybe("stride")
        events = self.explorer.occlusion(asked.chosen, *sizes)
        return StreamingResponse(self._stream(events), media_type="text/event-stream")

    async def _stream(self, events: Iterator[Json]) -> AsyncIterator[str]:
        """Events as they are made, each a job of its own: others are answered in between."""
        try:
            while (event := await self.worker.do(next, events, None)) is not None:
                yield _event(event)
        except Exception as error:
            if not isinstance(error, EXPECTED):
                logging.exception("an occlusion map")
            yield _event({"error": _line(error)})
        finally:  # also where the browser has gone
            self.worker.submit(getattr(events, "close", lambda: None))

    # ---- Views

    async def list_views(self, request: Request) -> Response:
        return await self._json(views.listed, self.explorer, Query(request.query_params).run)

    async def save_view(self, request: Request) -> Response:
        body = await _body(request, MOST_JSON, "that is no view")
        try:
            given = json.loads(body)
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise RequestError("a view is a JSON object")
        square = given.pop("square", None)
        if square is not None and not isinstance(square, dict):
            raise RequestError("square must be an object with y, x and size, or null")
        asked = Query({name: str(value) for name, value in given.items() if value is not None})
        of_square = Query({name: str(value) for name, value in (square or {}).items()})
        looked = Looked(asked.chosen, asked.how, None if square is None else of_square.square)
        return await self._json(views.save, self.explorer, looked)

    async def open_view(self, request: Request) -> Response:
        run, name = Query(request.query_params).run, request.path_params["name"]
        return await self._json(views.opened, self.explorer, run, name)

    async def zip_view(self, request: Request) -> Response:
        run, name = Query(request.query_params).run, request.path_params["name"]
        data = await self.worker.do(views.zipped, self.explorer, run, name)
        disposition = {"content-disposition": f'attachment; filename="{name}.zip"'}
        return Response(data, media_type="application/zip", headers=disposition)

    async def _json(self, job: Callable[..., Json], *arguments: Any) -> Response:
        return JSONResponse(await self.worker.do(job, *arguments))

    async def _png(self, job: Callable[..., bytes], *arguments: Any) -> Response:
        return Response(await self.worker.do(job, *arguments), media_type="image/png")


def serve(server: Server, bound: socket.socket) -> None:
    """Answers until the program is stopped."""
    config = uvicorn.Config(
        server.app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        limit_concurrency=500,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[bound])


async def _body(request: Request, most: int, too_large: str) -> bytes:
    """All bytes of a request.

    Raises:
      TooLargeError: they are more than `most`; the rest is not read.
      SlowError: see BODY_SECONDS.
    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise TooLargeError(too_large)
                parts.append(part)
    except TimeoutError as error:
        raise SlowError(
            f"only {size} bytes have come in {BODY_SECONDS:g} s: send it again"
        ) from error
    return b"".join(parts)


def _event(value: Json) -> str:
    return f"data: {json.dumps(value, allow_nan=False)}\n\n"


async def _refused(_: Request, error: Exception) -> Response:
    status = getattr(error, "status", None) or getattr(error, "status_code", 400)
    message = getattr(error, "detail", None) or str(error)
    line = entry.as_typed(" ".join(str(message).split()))
    return JSONResponse({"error": line}, status)


async def _failed(_: Request, error: Exception) -> Response:
    """What is wrong with the run's folder or the disk, in one line; or a defect of ours, whose
    traceback goes to the terminal, too."""
    return JSONResponse({"error": _line(error)}, 500)


def _line(error: Exception) -> str:
    name = "" if isinstance(error, EXPECTED) else f"{type(error).__name__}: "
    return entry.as_typed(" ".join(f"{name}{error}".split()))
