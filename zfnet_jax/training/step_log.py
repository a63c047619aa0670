"""How training goes between the ends of epochs: one record in `config.log_every_steps` steps.

A record is of the steps since the one before it, or since its epoch began: `step/loss` their mean
training loss, `step/learning_rate` that of the last of them, and, other at each repetition,
`step/images_per_second`, `step/waiting` (share of the time in which the loop waited for its next
batch) and `step/device_memory` (bytes in use at most so far on this process's first device, where
the device counts them: a CPU does not).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jax

from zfnet_jax import parallel
from zfnet_jax.training.progress import Waiting

Sums = dict[str, float]


class StepLog:
    """The records of one epoch.

    Args:
      every: steps from one record to the next; 0 makes none.
      batch_size: images per step, of all processes together.
      fed: what the loop waits for.
      step: steps done, of the whole run.
      sums: `TrainState.sums` at the last record of this epoch, {} where there is none yet.

    Attributes:
      sums: as above, at the newest record; what a checkpoint keeps of the log.
    """

    def __init__(
        self,
        *,
        every: int,
        batch_size: int,
        fed: Waiting[Any],
        step: int,
        sums: Sums,
    ) -> None:
        self.sums = sums
        self._every, self._batch_size = every, batch_size
        self._fed, self._first = fed, step
        self._began, self._waited = time.monotonic(), 0.0

    def due(self, step: int) -> bool:
        """Whether a record ends with this step."""
        return self._every > 0 and step % self._every == 0

    def record(
        self, step: int, sums: Mapping[str, jax.Array], learning_rate: float
    ) -> tuple[dict[str, float], dict[str, float]]:
        """The record that ends with a step, and its fields that are other at each repetition.

        Waits for the step: the devices have nothing to do for the moment that this takes.

        Args:
          sums: `TrainState.sums` after the step.
        """
        new = {name: float(value) for name, value in sums.items()}
        done = {name: value - self.sums.get(name, 0.0) for name, value in new.items()}
        now, waited = time.monotonic(), self._fed.seconds
        seconds = now - self._began
        times = {
            "step/images_per_second": (step - self._first) * self._batch_size / seconds,
            "step/waiting": (waited - self._waited) / seconds,
        }
        memory = parallel.local_devices()[0].memory_stats()
        if memory and "peak_bytes_in_use" in memory:
            times["step/device_memory"] = memory["peak_bytes_in_use"]
        self.sums, self._first, self._began, self._waited = new, step, now, waited
        loss = done["loss"] / done["steps"]
        return {"step/loss": loss, "step/learning_rate": learning_rate}, times
