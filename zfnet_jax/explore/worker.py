"""One thread computes for everybody, in turn; what it is at can be asked for meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from zfnet_jax.explore.errors import BusyError

T = TypeVar("T")

MOST_WAITING = 200  # jobs


class Worker:
    """Jobs wait for each other in the order in which they came."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explore")
        self._lock = threading.Lock()
        self._waiting = 0
        self._doing: list[str] = []

    @property
    def doing(self) -> str | None:
        """What takes long just now, in a few words: of what is done within another the other."""
        doing = list(self._doing)
        return doing[0] if doing else None

    @property
    def waiting(self) -> int:
        """Jobs that are not done."""
        return self._waiting

    async def do(self, job: Callable[..., T], *arguments: Any) -> T:
        """What a job returns, once it is its turn. BusyError: too many wait."""
        if self._waiting >= MOST_WAITING:
            raise BusyError("too many requests wait already: try again in a moment")
        return await asyncio.wrap_future(self.submit(job, *arguments))

    def submit(self, job: Callable[..., T], *arguments: Any) -> Future[T]:
        """A job that nobody waits for, however many there are."""
        with self._lock:
            self._waiting += 1
        future = self._pool.submit(job, *arguments)
        future.add_done_callback(self._done)
        return future

    @contextlib.contextmanager
    def says(self, text: str) -> Iterator[None]:
        """In the block, which a job runs, `doing` is this text."""
        self._doing.append(text)
        try:
            yield
        finally:
            self._doing.pop()

    def close(self) -> None:
        """Ends the thread once its present job is done; those that wait are dropped."""
        self._pool.shutdown(cancel_futures=True)

    def _done(self, _: Future[Any]) -> None:
        with self._lock:
            self._waiting -= 1
