"""What all pages share."""

from __future__ import annotations

from pathlib import Path


def check_free(folder: Path, mark: str) -> None:
    """ValueError if a folder holds a page of another kind, which a new one would overwrite.

    Args:
      mark: what every page of this kind contains.
    """
    there = folder / "index.html"
    if there.exists() and mark.encode() not in there.read_bytes():
        raise ValueError(f"{there} is another page, which would be lost: choose another --out")
