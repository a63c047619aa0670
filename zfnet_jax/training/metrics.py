"""Where the numbers of a run are kept: `metrics.jsonl` and TensorBoard.

Records are flat: one for each epoch (`epoch`, `train/loss`, `val/top1` ...) and, where the config
wants them, those between, whose names begin with `step/` (see `step_log`). Top-k accuracies and
shares are fractions of 1.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np
from absl import logging

from zfnet_jax import files

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
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
    """Records of a run's epochs, oldest first; a torn last line (a run stopped while writing) is
    left out.

    Raises:
      FileNotFoundError: the run has no `metrics.jsonl`.
      ValueError: another line is no record.
    """
    return [record for record in _read(workdir) if not _between_epochs(record)]


def read_step_metrics(workdir: Path) -> list[dict[str, float]]:
    """Records between the ends of epochs, as `read_metrics` those of the epochs."""
    return [record for record in _read(workdir) if _between_epochs(record)]


def _between_epochs(record: dict[str, float]) -> bool:
    return any(name.startswith("step/") for name in record)


def _read(workdir: Path) -> list[dict[str, float]]:
    records = [json.loads(line) for line in _whole_lines(Path(workdir) / "metrics.jsonl")]
    return [
        {k: _NON_FINITE[v] if isinstance(v, str) else v for k, v in record.items()}
        for record in records
    ]


def top_ks(classes: int) -> tuple[int, ...]:
    """The k of the top-k errors that say something of a net of so many classes.

    Of five classes or fewer the true one is always among the first five.
    """
    return (1, 5) if classes > 5 else (1,)


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
