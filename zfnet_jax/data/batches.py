"""Batches as a pure function of (seed, epoch, start), each host its own rows.

No iterator state exists: a run that stops at any step continues with the same batches.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from zfnet_jax.data.images import Images

T = TypeVar("T")
Rows = TypeVar("Rows")
Array = TypeVar("Array")  # of NumPy as read, of JAX on the devices


class Batch(NamedTuple, Generic[Array]):
    """One host's rows of a global batch, b of them.

    Attributes:
      images: uint8 `[b, S, S, 3]`; zeros in padding rows.
      labels: int32 `[b]`; 0 in padding rows.
      index: int32 `[b]`, the rows of the split, which key the augmentation; -1 in padding rows.
      mask: float32 `[b]`; 1 for pictures and 0 for padding rows.
    """

    images: Array
    labels: Array
    index: Array
    mask: Array


def train_steps_per_epoch(count: int, batch_size: int) -> int:
    """Whole batches in `count` pictures; the rest is left out of an epoch (see `train_rows`).

    Raises:
      ValueError: there are fewer pictures than one batch.
    """
    if count < batch_size:
        raise ValueError(
            f"{count} training images do not fill one batch of {batch_size}: set config.batch_size"
            f" to {count} or less, or train on more photos"
        )
    return count // batch_size


def train_rows(
    count: int,
    *,
    seed: int,
    epoch: int,
    start: int,
    batch_size: int,
    process_index: int,
    process_count: int,
) -> Iterator[np.ndarray]:
    """This host's rows of each batch of one epoch of `count` pictures, from batch `start` on.

    Every epoch has its own permutation; the pictures beyond its last whole batch are left out of
    it, other ones in every epoch. Host p of n has the p-th of n equal slices of each batch of
    `batch_size` pictures, so the hosts' parts in order are the batch of a single process.
    """
    steps = train_steps_per_epoch(count, batch_size)
    own = _own_rows(batch_size, process_index, process_count)
    order = np.random.default_rng((seed, epoch)).permutation(count)
    for step in range(start, steps):
        yield order[step * batch_size : (step + 1) * batch_size][own]


def eval_rows(
    count: int, *, batch_size: int, process_index: int, process_count: int, start: int = 0
) -> Iterator[np.ndarray]:
    """This host's part of the rows `start` to `count`, each exactly once over all hosts.

    All hosts yield equally many batches of `batch_size // process_count` rows, int64; padding rows,
    -1, fill the last ones. Host p of n has the p-th of n equal slices of each batch.
    """
    own = _own_rows(batch_size, process_index, process_count)
    for begin in range(start, count, batch_size):
        index = np.arange(begin, begin + batch_size)[own]
        yield np.where(index < count, index, -1)


def read(split: Images, index: np.ndarray) -> Batch[np.ndarray]:
    """The pictures at `index` [b], among which padding rows, -1, come last."""
    real = index >= 0
    there = index[real]
    images = split.rows(there)
    if len(there) < len(index):
        padding = np.zeros((len(index) - len(there), *images.shape[1:]), np.uint8)
        images = np.concatenate([images, padding])
    labels = np.zeros(len(index), np.int32)
    labels[real] = split.labels[there]
    return Batch(
        images=images,
        labels=labels,
        index=index.astype(np.int32),
        mask=real.astype(np.float32),
    )


def read_ahead(load: Callable[[Rows], T], portions: Iterable[Rows], count: int) -> Iterator[T]:
    """`load` of each portion, in order, up to `count` of them at a time in threads.

    The first error is raised where its portion would come. No thread is left when the consumer
    closes the generator.
    """
    waiting: collections.deque[Future[T]] = collections.deque()
    with contextlib.ExitStack() as stack:
        pool = ThreadPoolExecutor(count, thread_name_prefix="batches")
        stack.callback(pool.shutdown, cancel_futures=True)
        for portion in portions:
            # What holds for the consumer's thread holds in these too.
            waiting.append(pool.submit(contextvars.copy_context().run, load, portion))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _own_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    if batch_size % process_count:
        raise ValueError(f"batch size {batch_size} cannot be divided by {process_count} processes")
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)
