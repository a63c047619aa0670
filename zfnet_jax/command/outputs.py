"""Where a script writes what it was asked for: checked before the work, not after it."""

from __future__ import annotations

from pathlib import Path

PICTURES = (".png", ".pdf", ".svg")  # what figures are written as


def folder(path: str) -> Path:
    """A folder to write into, which need not exist. ValueError if it is a file."""
    out = Path(path)
    above = next(one for one in (out, *out.absolute().parents) if one.exists())
    if not above.is_dir():
        raise ValueError(f"--out={path}: {above} is a file, and a folder is asked for")
    return out


def file(path: str, endings: tuple[str, ...] = ()) -> Path:
    """A file to write, whose folder need not exist.

    Args:
      endings: one of which it must have, where any are given.

    Raises:
      ValueError: it is a folder or would lie in a file, or it has another ending.
    """
    out = Path(path)
    example = f"--out={path.rstrip('/')}{'/picture' if out.is_dir() else ''}{(*endings, '')[0]}"
    if out.is_dir() or path.endswith("/"):
        raise ValueError(f"--out={path} is a folder: name the file to write, such as {example}")
    if endings and out.suffix.lower() not in endings:
        raise ValueError(
            f"--out={path} must end in {', '.join(endings[:-1])} or {endings[-1]}: {example}"
        )
    folder(path[: -len(out.name)] or ".")
    return out
