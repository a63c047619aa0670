"""One pass over images, or other rows: each exactly once, on all devices of all processes.

Batches are read ahead in threads and placed on the devices while they compute. Neither the number
of rows nor the batch need divide among the devices: the batch is rounded up, the last one is filled
with padding rows, whose number is -1, and nothing of those comes back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from tqdm import tqdm

from zfnet_jax import parallel
from zfnet_jax.data import batches
from zfnet_jax.data.images import Images

Arrays = Any  # a tree of arrays
# Rows of a device and what all share to what is found of them, see `gathered` and `summed`.
Step = Callable[..., Arrays]

_UNDER_WAY = 2  # steps, lest batches pile up in front of the devices
_AHEAD = 4  # batches that are being read, or lie on the devices, before they are needed


def over_images(
    images: Images,
    step: Step,
    shared: tuple[Arrays, ...],
    *,
    batch_size: int,
    title: str,
    progress: bool,
) -> Iterator[tuple[range, Arrays]]:
    """Shows every image to a step.

    Args:
      images: N images.
      step: made by `gathered` of a step that takes `data.batches.Batch`.
      shared: what all devices share, as `parallel.replicate` places it.
      batch_size: images per step, of all devices and processes together.
      title, progress: see `bar`.

    Yields:
      per batch the numbers of its images, in ascending order without a gap, and what the step found
      of each: a tree of NumPy arrays [len(rows), ...], in every process.
    """
    with bar(len(images), title, "images", progress) as shown:
        read = functools.partial(batches.read, images)
        for rows, found in over_rows(len(images), read, step, shared, batch_size=batch_size):
            yield rows, found
            shown.update(len(rows))


def over_rows(
    count: int,
    read: Callable[[np.ndarray], Arrays],
    step: Step,
    shared: tuple[Arrays, ...],
    *,
    batch_size: int,
) -> Iterator[tuple[range, Arrays]]:
    """As `over_images`, for any rows and without a bar.

    Args:
      count: rows there are.
      read: what the step sees of rows [b], -1 for padding: a tree of arrays [b, ...] with these
        numbers as its field `index`.
    """

    def fetched(rows: range, index: jax.Array, found: Arrays) -> tuple[range, Arrays]:
        order = _order(np.asarray(index), rows)
        return rows, jax.tree.map(lambda array: np.asarray(array)[order], found)

    before = None
    for rows, batch in placed(count, read, batch_size=batch_size):
        now = rows, *step(*shared, batch)
        if before is not None:  # while the devices compute
            yield fetched(*before)
        before = now
    if before is not None:
        yield fetched(*before)


def sums(
    images: Images, step: Step, shared: tuple[Arrays, ...], *, batch_size: int
) -> dict[str, float]:
    """The sums over all images of what a step finds, batch by batch as Python numbers.

    Args:
      step: made by `summed` of a step that takes `data.batches.Batch`.
      images, shared, batch_size: see `over_images`.
    """
    read = functools.partial(batches.read, images)
    # A few numbers a batch may stay on the devices to the end: the host reads none before.
    parts: list[tuple[range, Any]] = []
    for rows, batch in placed(len(images), read, batch_size=batch_size):
        parts.append((rows, step(*shared, batch)))
        if len(parts) > _UNDER_WAY:
            jax.block_until_ready(parts[-1 - _UNDER_WAY])
    totals: dict[str, float] = {}
    for rows, (count, found) in parts:
        if count != len(rows):
            raise RuntimeError(f"{count} images were seen instead of {len(rows)}")
        for name, value in found.items():
            totals[name] = totals.get(name, 0) + value.item()
    return totals


def gathered(step: Step, shared: int = 2) -> Step:
    """Maps a step over devices for a pass that wants what was found of every row.

    Args:
      step: (what all share, a device's rows as `read`) -> a tree of arrays [b, ...].
      shared: how many arguments all devices share; two are parameters and mean.
    """

    return parallel.map_over_devices(_gathering(step), (None,) * shared + (0,))


@functools.lru_cache(maxsize=8)  # of a step that is used again nothing is compiled again
def _gathering(step: Step) -> Step:
    def on_device(*arguments: Arrays) -> tuple[jax.Array, Arrays]:
        return lax.all_gather((arguments[-1].index, step(*arguments)), parallel.AXIS, tiled=True)

    return on_device


def summed(step: Step, shared: int = 2) -> Step:
    """Maps a step over devices for a pass that wants sums; arguments as of `gathered`.

    The step finds a dict of one number per row, arrays [b].
    """

    def on_device(*arguments: Arrays) -> tuple[jax.Array, dict[str, jax.Array]]:
        real = arguments[-1].index >= 0
        found = {
            name: jnp.sum(jnp.where(real, values, 0)) for name, values in step(*arguments).items()
        }
        return lax.psum((jnp.sum(real), found), parallel.AXIS)

    return parallel.map_over_devices(on_device, (None,) * shared + (0,))


def placed(
    count: int, read: Callable[[np.ndarray], Arrays], *, batch_size: int, start: int = 0
) -> Iterator[tuple[range, Arrays]]:
    """The batches of a pass on the devices, for a step that carries something from one to the next.

    Args:
      count, read, batch_size: see `over_rows`.
      start: the first row, where an earlier pass stopped.

    Yields:
      the numbers of a batch's rows over all processes, and what `read` made of this process's,
      split among its devices.
    """
    size = parallel.rounded_up(batch_size)
    own = batches.eval_rows(
        count,
        batch_size=size,
        process_index=parallel.process_index(),
        process_count=parallel.process_count(),
        start=start,
    )
    begin = start
    for batch in on_devices(read, own):
        end = min(begin + size, count)
        yield range(begin, end), batch
        begin = end


def on_devices(
    read: Callable[[np.ndarray], Arrays], portions: Iterable[np.ndarray]
) -> Iterator[Arrays]:
    """What `read` makes of each portion of rows, split among the devices of this process.

    Threads read and place some of them before they are needed.
    """

    def load(index: np.ndarray) -> Arrays:
        return parallel.split_rows(read(index))

    return batches.read_ahead(load, portions, _AHEAD)


def bar(total: int, title: str, unit: str, progress: bool, *, start: int = 0) -> tqdm[Any]:
    """A bar with rows per second and the time left; one process shows it, if `progress`."""
    hidden = not (progress and parallel.speaks())
    return tqdm(total=total, desc=title, unit=f" {unit}", initial=start, disable=hidden)


def _order(index: np.ndarray, rows: range) -> slice | np.ndarray:
    """Where `rows` stand in the numbers [B] that came back with them."""
    if np.array_equal(index[: len(rows)], rows):
        return slice(len(rows))
    # The devices of a process need not be neighbours among all devices.
    order = np.argsort(index)[len(index) - len(rows) :]
    if not np.array_equal(index[order], rows):
        raise RuntimeError(f"other rows than {rows.start} to {rows.stop - 1} came back: {index}")
    return order
