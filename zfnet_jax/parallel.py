"""Arrays on all devices of all processes, which `distributed` joins, and words among these."""

from __future__ import annotations

import contextlib
import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"
_TEXT_BYTES = 1000  # of `from_writer`
_LONGEST_WAIT = 30 * 24 * 3600 * 1000  # milliseconds
_FAILING = 60_000  # milliseconds between the failures of two processes in the same
_meetings = itertools.count()  # a barrier has a name of its own
_only: ContextVar[jax.Device | None] = ContextVar("only", default=None)  # see `alone`

T = TypeVar("T")


@contextlib.contextmanager
def alone(device: jax.Device) -> Iterator[None]:
    """What is done here is done on one device of this process, as if there were no other.

    It holds for the thread that it is opened in.
    """
    before = _only.set(device)
    try:
        with jax.default_device(device):
            yield
    finally:
        _only.reset(before)


def local_devices() -> list[jax.Device]:
    """Those of this process that work here: all, or one `alone`."""
    only = _only.get()
    return jax.local_devices() if only is None else [only]


def device_count() -> int:
    """Devices of all processes that work together here."""
    return jax.device_count() if _only.get() is None else 1


def process_count() -> int:
    """Processes that work together here."""
    return jax.process_count() if _only.get() is None else 1


def process_index() -> int:
    """The number of this process among those that work together here."""
    return jax.process_index() if _only.get() is None else 0


def is_writer() -> bool:
    """Whether this process writes files: one of them does."""
    return process_index() == 0


def speaks() -> bool:
    """Whether what is done here shows how far it is: one process does, of what it does alone."""
    return is_writer() and _only.get() is None


def from_writer(text: str) -> str:
    """The text that the writing process gives, in every process."""
    if process_count() == 1:
        return text
    return _text(multihost_utils.broadcast_one_to_all(_as_bytes(text)))


def from_all(value: T) -> list[T]:
    """What each process gives, by its number, in every process: whatever pickle takes."""
    if process_count() == 1:
        return [value]
    own = np.frombuffer(pickle.dumps(value), np.uint8)
    lengths = multihost_utils.process_allgather(np.array(len(own), np.int32))
    # Few sizes, or each would compile a program of its own.
    filled = np.zeros(1 << int(max(lengths)).bit_length(), np.uint8)
    filled[: len(own)] = own
    every = multihost_utils.process_allgather(filled)
    return [pickle.loads(row[:length].tobytes()) for row, length in zip(every, lengths)]


def of_all(items: Iterable[T]) -> Iterator[T]:
    """What the processes find, each for itself, in every process: one of each in turn."""
    own = iter(items)
    while any(every := from_all([*itertools.islice(own, 1)])):
        yield from itertools.chain.from_iterable(every)


def by_writer(do: Callable[[], T]) -> T:
    """What the writing process does `alone`; its result, or its error, in every process."""
    if process_count() == 1:
        return do()
    own = None
    if is_writer():
        with alone(local_devices()[0]):
            own = outcome(do)
    wait_for_all()  # of which the writer may work long
    found, error = cast("Outcome[T]", from_all(own)[0])
    if error is not None:
        raise error
    return cast(T, found)


Outcome = tuple[T | None, Exception | None]  # a result, or the error that there is instead


def outcome(do: Callable[[], T]) -> Outcome[T]:
    """What comes of it, such that other processes can be told."""
    try:
        return do(), None
    except Exception as error:
        return None, _portable(error)


def _portable(error: Exception) -> Exception:
    """An error as pickle takes it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kind = next(one for one in type(error).__mro__ if one.__module__ == "builtins")
        return kind(str(error)).with_traceback(error.__traceback__)
    return error


def wait_for_all() -> None:
    """Waits until every process of the job is here, however long one of them works alone.

    jax's own barriers give up after five minutes, and that at the end of a process then ends all.
    """
    _meet(str(next(_meetings)), _LONGEST_WAIT)


def all_fail(what: str, error: Exception) -> None:
    """Returns where every process has failed in the same, so that they go on together.

    RuntimeError: another one has not, and works on what this process will have no part in.
    """
    try:
        _meet(f"{what} failed", _FAILING)
    except Exception:
        raise RuntimeError(f"one process alone has failed in {what}: {error}") from error


def _meet(key: str, milliseconds: int) -> None:
    if process_count() > 1:
        from orbax.checkpoint import multihost

        meeting = multihost.get_barrier_sync_fn()
        meeting(key=f"zfnet_jax/{key}", timeout_ms=milliseconds)


def check_batch(batch_size: int, accumulation: int = 1) -> None:
    """ValueError unless a global batch divides among devices and accumulation steps.

    A batch that is trained on must: what an update does depends on which images it has.
    """
    parts = device_count() * accumulation
    if batch_size % parts:
        raise ValueError(
            f"a batch of {batch_size} images does not divide among {device_count()} devices"
            + (f" and {accumulation} accumulation steps" if accumulation > 1 else "")
            + f": choose a multiple of {parts}"
        )


def rounded_up(batch_size: int) -> int:
    """The smallest multiple of the devices of all processes that is no less than a global batch.

    ValueError unless the batch has an image.
    """
    if batch_size < 1:
        raise ValueError(f"a batch has at least one image, not {batch_size}")
    devices = device_count()
    return -(-batch_size // devices) * devices


def map_over_devices(
    function: Callable[..., Any], in_axes: Sequence[int | None], donate: tuple[int, ...] = ()
) -> jax.stages.Wrapped:
    """pmap over the devices that work together, without a device axis on what they share.

    Args:
      function: reduces over `AXIS`, so that every device returns the same.
      in_axes: per argument None for what every device shares (see `replicate`), 0 for what is
        split by rows (see `split_rows`).
      donate: positions of arguments whose buffers the result may take over.
    """
    return jax.pmap(
        function,
        axis_name=AXIS,
        in_axes=tuple(in_axes),
        out_axes=None,
        donate_argnums=donate,
        devices=None if _only.get() is None else local_devices(),
    )


def mean_over_devices(tree: Any) -> Any:
    """The mean of each array over `AXIS`, inside a mapped function."""
    # XLA's CPU code copies what it reduces even where there is one device only.
    return tree if lax.axis_size(AXIS) == 1 else lax.pmean(tree, AXIS)


def replicate(tree: Any) -> Any:
    """Places a tree of arrays whole on every local device."""
    return jax.device_put(tree, _local(PartitionSpec()))


def here(tree: Any) -> Any:
    """Of arrays that `replicate` has placed, the copies on the first device that works here."""
    (device, *_) = local_devices()

    def own(array: jax.Array) -> jax.Array:
        return next(one.data for one in array.addressable_shards if one.device == device)

    return jax.tree.map(own, tree)


def split_rows(tree: Any) -> Any:
    """Splits this process's rows among its devices: [b, ...] to [devices, b / devices, ...]."""
    count = len(local_devices())
    reshaped = jax.tree.map(lambda x: np.reshape(x, (count, -1, *x.shape[1:])), tree)
    return jax.device_put(reshaped, _local(PartitionSpec(AXIS)))


def _as_bytes(text: str) -> np.ndarray:
    data = np.zeros(_TEXT_BYTES, np.uint8)
    own = np.frombuffer(text.encode(errors="surrogateescape")[:_TEXT_BYTES], np.uint8)
    data[: len(own)] = own
    return data


def _text(data: Any) -> str:
    return np.asarray(data).tobytes().rstrip(b"\0").decode(errors="surrogateescape")


def _local(spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(Mesh(np.array(local_devices()), (AXIS,)), spec)
