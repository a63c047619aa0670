"""Decoding in worker processes, in the order of the source and with bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

import numpy as np

from zfnet_jax.data.decode import UnreadablePhotoError
from zfnet_jax.data.examples import Example, load

_CHUNK = 16  # pictures handed to a worker at a time


def decode_in_order(
    examples: Iterator[Example], image_size: int, workers: int
) -> Iterator[tuple[Example, np.ndarray | str]]:
    """Each example with its pixels, or with the reason why it has none."""
    if workers == 1:
        for example in examples:
            yield example, _load_or_reason(example.payload, image_size)
        return
    pending: deque[tuple[list[Example], Future[list[np.ndarray | str]]]] = deque()
    # Spawned, not forked: the caller may run threads of TensorFlow or JAX.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
        try:
            while True:
                while len(pending) < 2 * workers and (chunk := list(islice(examples, _CHUNK))):
                    payloads = [example.payload for example in chunk]
                    pending.append((chunk, pool.submit(_load_chunk, payloads, image_size)))
                if not pending:
                    return
                chunk, future = pending.popleft()
                yield from zip(chunk, future.result())
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a decoding process died (out of memory?): run the same command again to go on,"
                " with fewer --workers if it happens again"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _load_chunk(payloads: list[Any], image_size: int) -> list[np.ndarray | str]:
    return [_load_or_reason(payload, image_size) for payload in payloads]


def _load_or_reason(payload: Any, image_size: int) -> np.ndarray | str:
    try:
        return load(payload, image_size)
    except UnreadablePhotoError as error:
        return str(error)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    warnings.filterwarnings("ignore", module="PIL")  # such as damaged EXIF in a whole photo
    parent = multiprocessing.parent_process()
    # A worker must not outlive a killed parent.
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
