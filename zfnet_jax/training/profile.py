"""A profile of chosen steps of a training, taken by JAX, that Perfetto and TensorBoard open."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import jax


def steps_of(text: str) -> tuple[int, int]:
    """First and last step of 'FIRST:LAST'. ValueError if it is nothing of the kind."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    first, last = (int(number) for number in match.groups()) if match else (0, 0)
    if not 1 <= first <= last:
        raise ValueError(
            f"steps to profile are FIRST:LAST, such as 100:110, the first of a run being 1; got "
            f"{text!r}"
        )
    return first, last


class StepProfile:
    """Profiles steps of a training.

    Args:
      steps: the first and the last of them; None profiles nothing.
      folder: where JAX lays the profile down.
      is_writer: False on all processes but one; those profile nothing.
    """

    def __init__(self, steps: tuple[int, int] | None, folder: Path, *, is_writer: bool) -> None:
        self._steps, self._folder, self._is_writer = steps, folder, is_writer
        self._begun = self._runs = False

    def check(self, done: int, end: int) -> None:
        """ValueError if a training from step `done` to `end` leaves some of the steps out."""
        if self._steps and not done < self._steps[0] <= self._steps[1] <= end:
            first, last = self._steps
            raise ValueError(
                f"steps {first} to {last} cannot be profiled: from here the run trains steps "
                f"{done + 1} to {end}"
            )

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Around the call that gives the devices the step of this number."""
        if self._steps and number == self._steps[0]:
            self._begun = True
            if self._is_writer:
                jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
                self._runs = True
        with contextlib.ExitStack() as stack:
            if self._runs:
                stack.enter_context(jax.profiler.StepTraceAnnotation("train", step_num=number))
            yield

    def ended(self, number: int, loss: jax.Array) -> str:
        """To be called after it, with its training loss; waits for the last one.

        Returns:
          where the profile lies, in a line, once it is there; else ''.
        """
        if not self._steps or number < self._steps[1]:
            return ""
        loss.block_until_ready()
        return self.close()

    def close(self) -> str:
        """Ends a profile that is being taken, for good; where it lies, as `ended`."""
        if not self._begun:
            return ""
        self._steps = None
        if not self._runs:
            return ""
        self._runs = False
        jax.profiler.stop_trace()
        found = sorted(self._folder.glob("plugins/profile/*/perfetto_trace.json.gz"))
        return f"the profile lies in {found[-1]}: open it at https://ui.perfetto.dev"

    def __enter__(self) -> StepProfile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
