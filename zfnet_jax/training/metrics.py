"""Where the numbers of a run go: `metrics.jsonl`, TensorBoard and the terminal.

Records are flat. The names that `epoch_line` knows: epoch, train/loss, train/top1, val/loss,
val/top1, val/top5, learning_rate, clipped (share of filters clipped by the RMS limit) and the time
fields images_per_second and waiting (share of the training time in which the loop waited for its
next batch); top-k accuracies and shares are fractions of 1.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, SupportsFloat, TextIO, TypeVar, cast

import numpy as np
from absl import logging
from tqdm import tqdm

from zfnet_jax import files

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

T = TypeVar("T")

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SECONDS_BETWEEN_LOG_LINES = 10.0
_SECONDS_BETWEEN_BARS = 0.1
_TENSORBOARD_FLUSH_SECONDS = 10


class MetricsWriter:
    """Appends records to `workdir/metrics.jsonl` and to TensorBoard in `workdir/tensorboard`.

    A resumed run must end with the records of an unbroken one, so opening removes all records
    after `resume_step`, and the records of a step must be written before its checkpoint is saved.
    TensorBoard's files are not rewritten; TensorBoard itself hides what it is told to purge.

    JSON knows no NaN or infinity: such values stand as the strings "NaN", "Infinity" and
    "-Infinity", which `read_metrics` turns back into numbers.

    Args:
      workdir: folder of the run; made if missing.
      resume_step: step of the restored checkpoint; -1 for a run from the start.
      is_writer: False on all processes but one; those do nothing.

    Raises:
      ValueError: a line of `metrics.jsonl` other than a torn last one is no record.
    """

    def __init__(self, workdir: Path, *, resume_step: int, is_writer: bool) -> None:
        self._file: TextIO | None = None
        self._tensorboard: SummaryWriter | None = None
        if not is_writer:
            return
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / "metrics.jsonl"
        _remove_records_after(path, resume_step)
        self._file = path.open("a", encoding="utf-8")
        self._tensorboard = _summary_writer(workdir / "tensorboard", resume_step + 1)

    def write(
        self,
        step: int,
        scalars: Mapping[str, float],
        *,
        time_fields: Mapping[str, float] | None = None,
    ) -> None:
        """Appends one record, on disk when this returns.

        Args:
          step: global step.
          scalars: numbers that are the same whenever the run is repeated.
          time_fields: numbers that are not, such as seconds and images per second.
        """
        if self._file is None:
            return
        time_fields = time_fields or {}
        names = ["step", *scalars, *time_fields]
        if len(set(names)) < len(names):
            doubled = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"metrics of step {step}: {doubled} given twice")
        record: dict[str, float] = {"step": int(step)}
        for name, value in {**scalars, **time_fields}.items():
            record[name] = _number(name, value)
        line = {name: _to_json(value) for name, value in record.items()}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        for name, value in record.items():
            if name != "step" and self._tensorboard:
                self._tensorboard.add_scalar(name, value, int(step))

    def image(self, tag: str, array: np.ndarray, step: int) -> None:
        """Shows an image in TensorBoard: uint8 [H, W, 3]."""
        if self._tensorboard is None:
            return
        array = np.asarray(array)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
            raise ValueError(
                f"image {tag}: expected uint8 [H, W, 3], not {array.dtype}{array.shape}"
            )
        self._tensorboard.add_image(tag, array, int(step), dataformats="HWC")

    def close(self) -> None:
        """Flushes and closes the files; the writer does nothing afterwards."""
        if self._file is not None:
            self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()
        self._file = self._tensorboard = None

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_metrics(workdir: Path) -> list[dict[str, float]]:
    """Records of a run, oldest first; a torn last line (a run stopped while writing) is left out.

    Raises:
      FileNotFoundError: the run has no `metrics.jsonl`.
      ValueError: another line is no record.
    """
    records = [json.loads(line) for line in _whole_lines(Path(workdir) / "metrics.jsonl")]
    return [
        {k: _NON_FINITE[v] if isinstance(v, str) else v for k, v in record.items()}
        for record in records
    ]


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


def top_ks(classes: int) -> tuple[int, ...]:
    """The k of the top-k errors that say something of a net of so many classes.

    Of five classes or fewer the true one is always among the first five.
    """
    return (1, 5) if classes > 5 else (1,)


def epoch_line(record: Mapping[str, float], epochs: int) -> str:
    """One tidy line on an epoch; fields that the record lacks are left out.

    >>> epoch_line({"epoch": 3, "step": 234, "train/loss": 1.92, "train/top1": 0.331}, 30)
    'epoch  3/30  step 234  train loss 1.920 top-1 33.1%'
    """
    width = len(str(epochs))
    groups = (
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
    texts = (
        " ".join(pattern.format(record[name]) for name, pattern in group if name in record)
        for group in groups
    )
    return "  ".join(text for text in texts if text)


def _number(name: str, value: Any) -> int | float:
    array = np.asarray(value)
    if array.size != 1 or (array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16"):
        raise ValueError(f"metric {name}: expected one number, not {value!r}")
    number = array.reshape(()).astype(array.dtype if array.dtype.kind in "iu" else np.float64)
    return number.item()


def _to_json(value: int | float) -> int | float | str:
    if math.isfinite(value):
        return value
    return next(text for text, number in _NON_FINITE.items() if str(number) == str(value))


def _whole_lines(path: Path) -> list[str]:
    """Lines of a metrics file, each with its newline, without a torn last one."""
    lines = path.read_bytes().splitlines(keepends=True)
    whole = []
    for index, line in enumerate(lines):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("no newline")
            record = json.loads(line)
            if not isinstance(record, dict) or not isinstance(record.get("step"), int):
                raise ValueError("no step")
        except ValueError as error:
            if index == len(lines) - 1:
                break
            raise ValueError(
                f"{path}, line {index + 1} is no record ({error}); remove that line"
            ) from error
        whole.append(line.decode())
    return whole


def _summary_writer(folder: Path, first_step: int) -> SummaryWriter | None:
    """TensorBoard's; None, with a line in the log, where its package is not installed."""
    try:
        with _without_torch():
            from tensorboardX import SummaryWriter
    except ImportError:
        logging.warning("no TensorBoard files are written: tensorboardX is not installed")
        return None
    return SummaryWriter(
        str(folder),
        purge_step=first_step,
        flush_secs=_TENSORBOARD_FLUSH_SECONDS,
        # Else a run resumed within the same second would overwrite the file before.
        filename_suffix=f".{first_step}",
    )


def _remove_records_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    old = path.read_bytes()
    lines = _whole_lines(path)
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    new = "".join(kept).encode()
    if new == old:
        return
    if len(kept) < len(lines):
        logging.info("%s: removed %d records after step %d", path, len(lines) - len(kept), step)
    files.write_bytes(path, new)


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """tensorboardX loads PyTorch where it is installed, for tensors that nobody gives it here; that
    takes longer than all else that a training loads."""
    loaded = "torch" in sys.modules
    if not loaded:
        sys.modules["torch"] = cast(ModuleType, None)  # Python's way to refuse an import
    try:
        yield
    finally:
        if not loaded:
            del sys.modules["torch"]
