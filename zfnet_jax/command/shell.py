"""What the scripts share: they start quietly, and an expected error is one clear line."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from zfnet_jax import entry, failures, lifeline
from zfnet_jax.runs import compilation_cache

_DEBUG = flags.DEFINE_bool("debug", False, "Show where an expected error was raised, too.")

WRONG = 2  # exit code of an error that the user can mend; 1 is a defect of ours


def run(
    main: Callable[..., None],
    *takes: str,
    several: bool = False,
    saves: bool = False,
    alone: Callable[[], None] | None = None,
) -> None:
    """Parses the flags and calls `main` with the arguments that are no flags, named `takes`.

    With `several` it may be started as several processes: they are joined into one job before
    `main`, and end together, see `distributed`. `saves`: it heeds SIGTERM itself. `alone` is called
    before JAX starts in a process that is no part of a job.

    An error that the user can mend ends the program with its message, in one line, and exit code 2
    (with --debug it keeps its traceback); a full memory is one, with the flags of smaller batches.
    Anything else is a defect of ours and keeps its traceback always.
    Libraries' remarks stay hidden unless --verbosity asks for them.
    """

    def quietly(arguments: list[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        compilation_cache.use_default_folder()
        try:
            with (
                processes.joined(_DEBUG.value, saves, alone)
                if several
                else contextlib.nullcontext()
            ):
                main(*arguments[1:])
        except Exception as error:
            expected = isinstance(error, (*lifeline.EXPECTED, lifeline.LostError))
            full = failures.is_out_of_memory(error)
            if _DEBUG.value or not (expected or full):
                raise
            line = failures.told(error, _smaller()) if full else str(error)
            raise fail(line, getattr(error, "exit_code", WRONG)) from error
        except KeyboardInterrupt as error:
            raise fail("stopped", code=130) from error

    def parse(arguments: list[str]) -> list[str]:
        try:
            return _parse(arguments, takes)
        except _WrongFlagsError as error:
            end = fail(str(error))
            if several:
                processes.tell(arguments, str(error))
            raise end from error

    show_any_letters()
    if several:
        from zfnet_jax.command import processes  # which defines flags

        for flag in flags.FLAGS.get_key_flags_for_module(processes.__name__):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # so that --help shows them
    app.run(quietly, flags_parser=parse)


def show_any_letters() -> None:
    """Letters that the terminal lacks are printed as their codes; a name of a class or a file may
    have any, also none that is UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def fail(message: str, code: int = WRONG) -> SystemExit:
    """Prints an error in one line; what to raise then."""
    line = entry.as_typed(" ".join(message.splitlines()))
    print(f"error: {line}", file=sys.stderr)
    return SystemExit(code)


class _WrongFlagsError(Exception):
    """In one line."""


def _smaller() -> str:
    """How a script's batches are made smaller."""
    if "batch_size" in flags.FLAGS:
        now = flags.FLAGS["batch_size"].value
        return f"--batch_size, now {now or 'as the run evaluates'}, takes fewer images per step"
    if "config" in flags.FLAGS and flags.FLAGS["config"].value is not None:
        return (
            "--config.optimizer.accumulation=N computes a batch in N parts, --config.batch_size and"
            " --config.eval_batch_size take fewer images per step"
        )
    return "a device with more of it, or fewer images at once"


def _parse(arguments: list[str], takes: Sequence[str]) -> list[str]:
    """The program and the arguments that are no flags.

    Raises:
      _WrongFlagsError: a wrong flag, config file or config field, or not the arguments that it
        takes. Whatever the config file raises ends up here: its last line says what.
    """
    try:
        flags.FLAGS.set_gnu_getopt(True)  # flags may follow arguments
        given = flags.FLAGS(arguments)
    except Exception as error:
        if "--debug" in arguments:
            raise
        # ml_collections puts the repr of an error into another one.
        lines = str(error).replace("\\n", "\n").replace("\\'", "'").splitlines()
        if any(line.lstrip().startswith("Traceback") for line in lines):
            lines = [lines[0], lines[-1]]
        if isinstance(error, AttributeError):
            lines = ["no such field of the config:", *lines]
        elif not isinstance(error, (flags.Error, OSError, ValueError)):
            lines = [f"{type(error).__name__} in the config:", *lines]
        raise _WrongFlagsError(" ".join(" ".join(lines).split())) from error
    if extra := given[1 + len(takes) :]:
        raise _WrongFlagsError(f"what is {' '.join(extra)!r}? Flags begin with --")
    if lacking := takes[len(given) - 1 :]:
        raise _WrongFlagsError(f"{' and '.join(lacking)} must be given, beside the flags")
    return given
