"""What all importers share in reading files that nobody vouches for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

# Twice the largest net of the paper (237,560,936 parameters) with its training state.
LARGEST = 2**32  # bytes


def check_size(path: Path) -> None:
    """ValueError where a file is empty or larger than any net of this family."""
    size = path.stat().st_size
    if not size:
        raise ValueError(f"{path} is empty")
    if size > LARGEST:
        raise ValueError(f"{path} has {size} bytes, more than any net of this family")


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turns whatever a parser makes of a broken file into one ValueError; the cause stays chained.

    A ValueError of our own code is taken over as it is, after the file's name.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        reason = lines[0][:300] if type(error) is ValueError else _named(error, lines[0])
        raise ValueError(f"{path}: {reason} ({what})") from error


def _named(error: Exception, line: str) -> str:
    return f"it cannot be read: {type(error).__name__}: {line[:200]}"
