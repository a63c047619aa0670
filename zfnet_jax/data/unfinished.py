"""An unfinished prepared split on disk: written front to back, safe to kill at any moment.

`images.npy` grows row by row and `journal.jsonl` says, one line per example of the source, what
became of it. A line is written only after its row is on the disk, so whatever the journal holds
can be trusted; rows beyond it are cut off and decoded again.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.files import write_bytes

COMMIT_EVERY = 512  # examples between two syncs to the disk: at most this much work is lost

# What fields of a description are called where they differ.
_WORDS = {"class_names": "classes", "source": "photos or folder", "state": "times of the files"}


class PixelStatistics:
    """SHA-256 of all rows in order and their exact per-pixel sums."""

    def __init__(self, image_size: int):
        self._digest = hashlib.sha256()
        self._sums = np.zeros((image_size, image_size, 3), np.int64)
        self._count = 0

    def update(self, rows: np.ndarray) -> None:
        """Takes uint8 rows `[k, S, S, 3]`."""
        self._digest.update(np.ascontiguousarray(rows).data)
        self._sums += rows.sum(axis=0, dtype=np.int64)
        self._count += len(rows)

    def sha256(self) -> str:
        return self._digest.hexdigest()

    def mean(self) -> np.ndarray:
        """Per-pixel mean, float32 `[S, S, 3]`."""
        return (self._sums / self._count).astype(np.float32)


class PartialSplit:
    """Opens or resumes the folder of an unfinished split; use as a context manager.

    Attributes:
      journal: what became of the examples dealt with so far, in the source's order: dicts with
        'key' and either 'label' or 'reason' (unreadable).

    Raises:
      ValueError: the folder was begun with another `description`.
      BlockingIOError: another process is writing it.
    """

    def __init__(self, folder: Path, description: dict[str, Any], image_size: int):
        self.folder = folder
        self._row_bytes = image_size * image_size * 3
        self._image_size = image_size
        folder.mkdir(parents=True, exist_ok=True)
        self._pending: list[tuple[dict[str, Any], np.ndarray | None]] = []
        with ExitStack() as files:
            self._journal_file = files.enter_context((folder / "journal.jsonl").open("a+b"))
            _lock(self._journal_file, folder)
            self._images_file = files.enter_context((folder / "images.npy").open("a+b"))
            self._check_description(description)
            self.journal = self._recover()
            self._files = files.pop_all()  # nothing failed: they stay open

    def __enter__(self) -> PartialSplit:
        return self

    def __exit__(self, *exception: object) -> None:
        # What is not committed by now is decoded again on resuming: committing here, possibly in
        # the middle of an interrupted commit, could write rows twice.
        self._files.close()

    def add(self, entry: dict[str, Any], row: np.ndarray | None) -> None:
        """Appends what became of the next example; `row` is None for an unreadable one."""
        self._pending.append((entry, row))
        if len(self._pending) >= COMMIT_EVERY:
            self.commit()

    def commit(self) -> None:
        """Brings everything added so far to the disk: first the rows, then their journal lines."""
        for _, row in self._pending:
            if row is not None:
                self._images_file.write(np.ascontiguousarray(row).data)
        _sync(self._images_file)
        entries = [entry for entry, _ in self._pending]
        self._journal_file.write(b"".join(json.dumps(e).encode() + b"\n" for e in entries))
        _sync(self._journal_file)
        self.journal += entries
        self._pending = []

    def finish_images(self) -> int:
        """Writes the true number of rows into the header of `images.npy` and returns it."""
        self.commit()
        count = sum("label" in entry for entry in self.journal)
        path = self.folder / "images.npy"
        with path.open("r+b") as file:
            file.write(self._header(count))
            _sync(file)
        return count

    def _header(self, count: int) -> bytes:
        # NumPy pads the header so that the first axis can grow in place: its length is constant.
        buffer = io.BytesIO()
        shape = (count, self._image_size, self._image_size, 3)
        fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(buffer, fields)
        return buffer.getvalue()

    def _check_description(self, description: dict[str, Any]) -> None:
        path = self.folder / "description.json"
        if not path.exists():
            self._journal_file.truncate(0)
            write_bytes(path, to_json(description))
            return
        begun, now = json.loads(path.read_text()), json.loads(to_json(description))
        if begun != now:
            fields = begun.keys() | now.keys()
            again = "remove it or pass --overwrite to begin afresh"
            if "class_names" not in begun:
                raise ValueError(
                    f"{self.folder} was begun by an earlier version, which did not keep what its"
                    f" labels mean: {again}"
                )
            differing = sorted(name for name in fields if begun.get(name) != now.get(name))
            words = (_WORDS.get(name, name) for name in differing)
            raise ValueError(
                f"{self.folder} holds an unfinished preparation of other pictures or classes,"
                f" another size or another Pillow (differing: {', '.join(words)}): {again}"
            )

    def _recover(self) -> list[dict[str, Any]]:
        """Cuts both files back to the examples that both hold."""
        header = len(self._header(0))
        rows_on_disk = max(0, self._images_file.seek(0, os.SEEK_END) - header) // self._row_bytes
        self._journal_file.seek(0)
        journal: list[dict[str, Any]] = []
        rows = journal_end = 0
        for line in self._journal_file:
            entry = _parse(line)
            if entry is None or rows + ("label" in entry) > rows_on_disk:
                break
            journal.append(entry)
            rows += "label" in entry
            journal_end += len(line)
        self._journal_file.truncate(journal_end)
        self._images_file.truncate(header + rows * self._row_bytes if rows else 0)
        if not rows:
            self._images_file.write(self._header(0))
        return journal


def publish(partial: Path, final: Path) -> None:
    """Puts a finished folder into place, replacing an older one, and removes its journal."""
    _sync_folder(partial)
    if final.exists():
        shutil.rmtree(_old(final), ignore_errors=True)
        final.rename(_old(final))
    partial.rename(final)
    _sync_folder(final.parent)
    tidy(final)


def tidy(final: Path) -> None:
    """Removes what a finished folder no longer needs, also where `publish` was killed before."""
    shutil.rmtree(_old(final), ignore_errors=True)
    for name in ("journal.jsonl", "description.json"):
        (final / name).unlink(missing_ok=True)


def _old(final: Path) -> Path:
    return final.with_name(final.name + ".old")


def to_json(content: Any) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def to_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:  # a line that the disk never completed
        return None


def _sync(file: io.IOBase) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(file: io.IOBase, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"{folder}: another preparation is writing here; wait for it"
        raise BlockingIOError(message) from None
    except OSError:
        pass  # a file system without locks
