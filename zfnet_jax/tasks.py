"""Independent tasks, each done whole on one device, dealt to all devices of all processes.

`passes` splits a batch among the devices; here each has a task of its own: images whose winners are
projected, a head on a fold, a net trained anew. What a task finds does not depend on how many
devices there are, not even in how sums round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

import jax

from zfnet_jax import parallel
from zfnet_jax.parallel import Outcome

Task = TypeVar("Task")
Found = TypeVar("Found")


def dealt(tasks: Sequence[Task], do: Callable[[Task], Found]) -> Iterator[Found]:
    """Does tasks, as many at a time as there are devices; yields what they find, in their order.

    All processes call it with the same tasks and read all of it. A task runs in a thread of its
    device, `parallel.alone` on it. While the results of one round of tasks are looked at, the next
    one is under way.

    Args:
      do: what a task finds, which pickle takes where there are several processes.

    Raises:
      whatever a task raises, the first in their order, in every process.
    """
    count = parallel.device_count()
    if count == 1:  # in the thread that hears signals
        yield from map(do, tasks)
        return
    devices = parallel.local_devices()
    first = parallel.process_index() * len(devices)
    rounds = [tasks[begin : begin + count] for begin in range(0, len(tasks), count)]
    with contextlib.ExitStack() as stack:
        threads = [ThreadPoolExecutor(1) for _ in devices]
        for thread in threads:
            stack.callback(thread.shutdown, cancel_futures=True)

        def start(number: int) -> list[Future[Outcome[Found]]]:
            own = rounds[number][first : first + len(devices)] if number < len(rounds) else ()
            return [
                thread.submit(_done, device, do, task)
                for thread, device, task in zip(threads, devices, own)
            ]

        ahead = start(0)
        for number in range(len(rounds)):
            under_way, ahead = ahead, start(number + 1)
            own = [future.result() for future in under_way]
            if parallel.process_count() > 1:
                parallel.wait_for_all()  # of which one may have worked longest
                own = [one for some in parallel.from_all(own) for one in some]
            for found, error in own:
                if error is not None:
                    raise error
                yield cast(Found, found)


def _done(device: jax.Device, do: Callable[[Task], Found], task: Task) -> Outcome[Found]:
    with parallel.alone(device):
        return parallel.outcome(lambda: do(task))
