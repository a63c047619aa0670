"""What the terminal shows of a run: a bar, a line for each epoch and for steps between."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, SupportsFloat, TypeVar

from tqdm import tqdm

T = TypeVar("T")

_SECONDS_BETWEEN_LOG_LINES = 10.0
_SECONDS_BETWEEN_BARS = 0.1


class Progress:
    """The terminal: a progress bar of the whole run with its ETA, and tidy lines above it.

    The bar is on standard error, the lines are on standard output. Where standard error is no
    terminal (a log file) there is no bar but at most one plain line in ten seconds.

    Args:
      total_steps: global step at which the run ends.
      start_step: global step at which it starts, not 0 for a resumed run.
      batch_size: images per step, of all processes together.
      enabled: False on all processes but one; those print nothing.
    """

    def __init__(
        self,
        *,
        total_steps: int,
        start_step: int,
        batch_size: int,
        enabled: bool,
    ) -> None:
        self._enabled = enabled
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._loss: SupportsFloat | None = None
        self._shown = time.monotonic()
        self._shown_every = _SECONDS_BETWEEN_LOG_LINES
        self._first: tuple[int, float] | None = None  # the first step that ended, and when
        self._bar: tqdm[Any] | None = None
        if enabled and sys.stderr.isatty():
            self._shown, self._shown_every = -math.inf, _SECONDS_BETWEEN_BARS
            self._bar = tqdm(
                total=total_steps,
                initial=start_step,
                dynamic_ncols=True,
                leave=False,
                file=sys.stderr,
                bar_format="{percentage:3.0f}% {bar:24} {desc}",
            )

    def update(self, step: int, *, title: str, loss: SupportsFloat | None = None) -> None:
        """Moves the bar to `step`, if the last one is not too fresh.

        Args:
          step: steps done, of the whole run.
          title: what stands before the bar, such as 'epoch 3/30'.
          loss: current loss, which is read where it is shown; None leaves the last one standing.
        """
        if not self._enabled:
            return
        self._loss = self._loss if loss is None else loss
        now = time.monotonic()
        self._first = self._first or (step, now)
        if now - self._shown < self._shown_every:
            return
        self._shown = now
        if self._bar is None:
            print(self._text(step, title, now), file=sys.stderr, flush=True)
        else:
            self._bar.set_description_str(self._text(step, title, now), refresh=False)
            self._bar.update(step - self._bar.n)

    def _text(self, step: int, title: str, now: float) -> str:
        # The mean rate, validation included, so that the ETA is of the whole run; since the first
        # step, which compiles.
        first, since = self._first or (step, now)
        rate = (step - first) / max(now - since, 1e-9)
        eta = tqdm.format_interval((self._total_steps - step) / rate) if rate > 0 else "?"
        loss = "" if self._loss is None else f"  loss {float(self._loss):.3f}"
        images = f"{rate * self._batch_size:,.0f} images/s"
        return f"{title}{loss}  step {step}/{self._total_steps}  {images}  ETA {eta}"

    def line(self, text: str) -> None:
        """Prints a line on standard output, above the bar."""
        if self._enabled:
            tqdm.write(text, file=sys.stdout)
            sys.stdout.flush()

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Waiting(Generic[T]):
    """Passes items on and adds up how long its consumer waited for them.

    Attributes:
      seconds: so far.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self.seconds = 0.0
        self._items = items

    def __iter__(self) -> Iterator[T]:
        items = iter(self._items)
        while True:
            began = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.seconds += time.monotonic() - began
            yield item


def epoch_line(record: Mapping[str, float], epochs: int) -> str:
    """One tidy line on an epoch; fields that the record lacks are left out.

    >>> epoch_line({"epoch": 3, "step": 234, "train/loss": 1.92, "train/top1": 0.331}, 30)
    'epoch  3/30  step 234  train loss 1.920 top-1 33.1%'
    """
    width = len(str(epochs))
    return _line(
        record,
        (("epoch", f"epoch {{:{width}.0f}}/{epochs}"),),
        (("step", "step {:.0f}"),),
        (("train/loss", "train loss {:.3f}"), ("train/top1", "top-1 {:.1%}")),
        (
            ("val/loss", "val loss {:.3f}"),
            ("val/top1", "top-1 {:.1%}"),
            ("val/top5", "top-5 {:.1%}"),
        ),
        (("learning_rate", "lr {:.3g}"),),
        (("images_per_second", "{:,.0f} images/s"), ("waiting", "waiting {:.1%}")),
        (("clipped", "clipped {:.1%}"),),
    )


def step_line(record: Mapping[str, float], title: str) -> str:
    """One tidy line on the steps up to one, from a record of `step_log`.

    >>> step_line({"step": 200, "step/loss": 1.92, "step/learning_rate": 0.02}, "epoch 1/30")
    'epoch 1/30  step 200  loss 1.920  lr 0.02'
    """
    text = _line(
        record,
        (("step", "step {:.0f}"),),
        (("step/loss", "loss {:.3f}"),),
        (("step/learning_rate", "lr {:.3g}"),),
        (("step/images_per_second", "{:,.0f} images/s"), ("step/waiting", "waiting {:.1%}")),
    )
    memory = record.get("step/device_memory")
    return f"{title}  {text}" + (f"  {memory / 1e9:.1f} GB" if memory else "")


def _line(record: Mapping[str, float], *groups: tuple[tuple[str, str], ...]) -> str:
    texts = (
        " ".join(pattern.format(record[name]) for name, pattern in group if name in record)
        for group in groups
    )
    return "  ".join(text for text in texts if text)
