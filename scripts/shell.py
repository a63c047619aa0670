"""What the scripts share: they start quietly, and an expected error is one clear line."""

from __future__ import annotations

from collections.abc import Callable

from absl import app, flags, logging


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`.

    An error that the user can mend ends the program with its message; anything else is a defect of
    ours and keeps its traceback. Libraries' remarks stay hidden unless --verbosity asks for them.
    """

    def quietly(arguments: list[str]) -> None:
        if arguments[1:]:
            raise app.UsageError(f"what is {' '.join(arguments[1:])!r}? Flags begin with --")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        try:
            main()
        except (ValueError, OSError, FloatingPointError) as error:
            raise SystemExit(f"error: {error}") from error

    app.run(quietly)
