"""What the scripts share: an expected error is one clear line, not a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def as_one_line() -> Iterator[None]:
    """Ends the program with the message of an error that the user can mend.

    Anything else is a defect of ours and keeps its traceback.
    """
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error
