"""Whether an error while a checkpoint was read is proof that its content is damaged.

Only such a checkpoint may be set aside. A disk that fails for a moment, a file server that has
forgotten a file, a full memory or a process that died say nothing of what the files hold.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# What orbax and json make of content that does not decode, or of files that are not there.
_OF_CONTENT = (ValueError, LookupError, TypeError, AttributeError, FileNotFoundError)

# Tensorstore raises ValueError for nearly everything; the status stands before the text.
_STATUSES_OF_CONTENT = ("DATA_LOSS", "FAILED_PRECONDITION", "NOT_FOUND", "OUT_OF_RANGE")


def proves_damage(error: Exception, folder: Path) -> bool:
    """Whether the files in a checkpoint's folder can be read, and what they hold cannot be used.

    Raises:
      OSError: a file that is there cannot be read, or the folder is gone; names it.
    """
    text = str(error)
    status = re.match(r"([A-Z]+(?:_[A-Z]+)*): ", text)
    if not isinstance(error, _OF_CONTENT) or "[os_error_code=" in text:
        return False
    if status and status[1] not in _STATUSES_OF_CONTENT:
        return False
    _read_all(folder)  # libraries say of a file that they could not look for that it is missing
    return True


def first_line(exception: Exception) -> str:
    """The first line, without the middle if it is long, and the system's reason.

    That stands at the end, or in what is cut out with its number at the end.
    """
    line = (str(exception).splitlines() or [""])[0]
    line = re.sub(r" \[tensorstore_spec='.*?'\]", "", line)
    reason = ""
    if len(line) > 300:
        number = re.search(r"os_error_code='(\d+)'", line)
        line = f"{line[:120]} ... {line[-175:]}"
        if number and (text := os.strerror(int(number[1]))) not in line:
            reason = f": {text}"
    return f"{type(exception).__name__}: {line}{reason}"


def _read_all(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            _read_all(path)
            continue
        with path.open("rb") as file:
            while file.read(2**20):
                pass
