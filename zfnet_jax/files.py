"""Whole files or none: a file has its name only once all of it is on the disk."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


def temporary_name(path: Path) -> Path:
    """A name beside `path`, of the same ending, that nobody else writes to."""
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")


def remove_unfinished_folders(path: Path) -> None:
    """Removes what was to become the folder `path` when its writers were killed.

    For one who holds a lock on it: a living writer's would be gone, too.
    """
    for one in path.parent.glob(f".{glob.escape(path.stem)}.*.tmp{glob.escape(path.suffix)}"):
        shutil.rmtree(one, ignore_errors=True)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which replaces `path` when the block ends without an error.

    Of several writers at once each writes a file of its own; the last that ends counts.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong first is what matters
            temporary.unlink()
        raise
    temporary.replace(path)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which gets the name `path` when the block ends without an error.

    If there is one of that name by then, it stays, and the new one is dropped.
    """
    temporary = temporary_name(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if not path.exists():
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def damage_told(path: Path, remedy: str) -> Iterator[None]:
    """Where content is read: whatever a library makes of a broken or missing file is one error.

    What the system says of a disk, a file server or the memory passes as it is: that may pass, and
    the file be whole.

    Args:
      path: what is damaged then.
      remedy: what to do then: 'remove it, and measure again'.

    Raises:
      ValueError: it is damaged.
    """
    try:
        yield
    except Exception as error:
        of_system = isinstance(error, OSError) and error.errno is not None
        if isinstance(error, MemoryError) or (
            of_system and not isinstance(error, FileNotFoundError)
        ):
            raise
        raise ValueError(f"{path} is damaged: {remedy} ({error})") from error


def write_bytes(path: Path, data: bytes) -> None:
    with whole_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a compressed .npz; its folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
