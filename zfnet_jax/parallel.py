"""Arrays on all devices of all processes, which `distributed` joins, and words among these."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"
_TEXT_BYTES = 1000  # of `from_writer` and `from_all`
_LONGEST_WAIT = 30 * 24 * 3600 * 1000  # milliseconds
_meetings = itertools.count()  # a barrier has a name of its own


def is_writer() -> bool:
    """Whether this process writes files and talks: one of them does."""
    return jax.process_index() == 0


def from_writer(text: str) -> str:
    """The text that the writing process gives, in every process."""
    if jax.process_count() == 1:
        return text
    return _text(multihost_utils.broadcast_one_to_all(_as_bytes(text)))


def from_all(text: str) -> list[str]:
    """The text that each process gives, in order, in every process."""
    if jax.process_count() == 1:
        return [text]
    return [_text(row) for row in multihost_utils.process_allgather(_as_bytes(text))]


def wait_for_all() -> None:
    """Waits until every process of the job is here, however long one of them works alone.

    jax's own barriers give up after five minutes, and that at the end of a process then ends all.
    """
    if jax.process_count() > 1:
        from orbax.checkpoint import multihost

        meeting = multihost.get_barrier_sync_fn()
        meeting(key=f"zfnet_jax/{next(_meetings)}", timeout_ms=_LONGEST_WAIT)


def check_batch(batch_size: int, accumulation: int = 1) -> None:
    """ValueError unless a global batch divides among devices and accumulation steps.

    A batch that is trained on must: what an update does depends on which images it has.
    """
    parts = jax.device_count() * accumulation
    if batch_size % parts:
        raise ValueError(
            f"a batch of {batch_size} images does not divide among {jax.device_count()} devices"
            + (f" and {accumulation} accumulation steps" if accumulation > 1 else "")
            + f": choose a multiple of {parts}"
        )


def rounded_up(batch_size: int) -> int:
    """The smallest multiple of the devices of all processes that is no less than a global batch.

    ValueError unless the batch has an image.
    """
    if batch_size < 1:
        raise ValueError(f"a batch has at least one image, not {batch_size}")
    devices = jax.device_count()
    return -(-batch_size // devices) * devices


def map_over_devices(
    function: Callable[..., Any], in_axes: Sequence[int | None], donate: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """pmap over all devices of all processes, without a device axis on what they share.

    Args:
      function: reduces over `AXIS`, so that every device returns the same.
      in_axes: per argument None for what every device shares (see `replicate`), 0 for what is
        split by rows (see `split_rows`).
      donate: positions of arguments whose buffers the result may take over.
    """
    return jax.pmap(
        function, axis_name=AXIS, in_axes=tuple(in_axes), out_axes=None, donate_argnums=donate
    )


def mean_over_devices(tree: Any) -> Any:
    """The mean of each array over `AXIS`, inside a mapped function."""
    # XLA's CPU code copies what it reduces even where there is one device only.
    return tree if lax.axis_size(AXIS) == 1 else lax.pmean(tree, AXIS)


def replicate(tree: Any) -> Any:
    """Places a tree of arrays whole on every local device."""
    return jax.device_put(tree, _local(PartitionSpec()))


def split_rows(tree: Any) -> Any:
    """Splits this process's rows among its devices: [b, ...] to [devices, b / devices, ...]."""
    count = jax.local_device_count()
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
    return NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), spec)
