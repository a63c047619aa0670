"""Several processes as one job: they start together, agree on what they do, and end together."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import math
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import jax

from zfnet_jax import determinism, failures, launch, meeting, parallel
from zfnet_jax.lifeline import EXPECTED, DisagreementError, Lifeline, LostError
from zfnet_jax.meeting import differences

# Seconds that a process has to come to the same error by itself, where another says that it fails.
# One that fails waits half as long for the news that another has failed before it.
_PATIENCE = 2.0

_line: Lifeline | None = None
_ending = threading.Lock()  # taken by the thread that ends the process, for good


@contextlib.contextmanager
def joined(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    seconds: float = meeting.START_SECONDS,
    about: Mapping[str, Any] | None = None,
    deterministic: bool = False,
    saves: bool = False,
    debug: bool = False,
    alone: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Joins the processes of one job, if there are several, to their common end.

    Inside, an error in one ends all, see `together`; at its end each waits for the others, however
    long one of them works alone.

    Args:
      coordinator, processes, process: see `launch.recognise`.
      seconds: how long the slowest process may take to start.
      about: what all processes must have in common, JSON values by name.
      deterministic: see `determinism.require`.
      saves: whether SIGTERM is heeded by a `preemption.Watch`; else it ends a process, as anywhere.
      debug: see `together`.
      alone: called before JAX starts, if this process is no part of a job.

    Raises:
      ValueError: there are several processes, but not all is known that joins them.
      LostError: a process is missing or has failed.
      DisagreementError: the processes differ in `about`, or in their number of devices.
    """
    with together(debug=debug):
        if deterministic:
            determinism.require()  # before JAX starts
        # The service takes SIGTERM away: who does not ask it could not be told to stop.
        jax.config.update("jax_enable_preemption_service", saves)
        _join(coordinator, processes, process, seconds, about or {}, alone)
        yield
    if _line:
        _line.leave()


def _join(
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    seconds: float,
    about: Mapping[str, Any],
    alone: Callable[[], None] | None,
) -> None:
    global _line
    place = launch.recognise(os.environ, coordinator, processes, process, launch.count_gpus())
    if place is None:
        if alone:
            alone()
    elif place is launch.CLOUD_TPU:
        jax.distributed.initialize(initialization_timeout=math.ceil(seconds))
        if jax.process_count() > 1:
            address = parallel.from_writer(meeting.own_address())
            _line = meeting.meet(address, jax.process_index(), jax.process_count(), seconds, about)
            _line.watch(_lost, _PATIENCE)
    else:
        address, number, count = place.coordinator, place.process, place.processes
        assert address is not None
        assert number is not None
        assert count is not None
        _line = meeting.meet(address, number, count, seconds, about)
        _line.watch(_lost, _PATIENCE)
        jax.distributed.initialize(
            address,
            count,
            number,
            place.local_device_ids,
            cluster_detection_method="deactivate",  # else it gives each process one GPU
            initialization_timeout=math.ceil(seconds),
        )
    if jax.device_count() == 1:
        return
    counts = collections.Counter(device.process_index for device in jax.devices())
    if parallel.is_writer() and (len(counts) > 1 or jax.default_backend() != "cpu"):
        print(_devices(counts), file=sys.stderr, flush=True)
    numbers = [{"number of devices": counts[number]} for number in sorted(counts)]
    if wrong := differences(numbers):
        raise DisagreementError(wrong)


def gather(value: Any) -> list[Any]:
    """What all processes of the job give, JSON values, in their order; waits for all of them.

    Needs no device, and no process gives up. Outside of `joined`, and in `parallel.alone`, a
    process is alone, and hears itself.
    """
    return _line.gather(value) if _line and parallel.process_count() > 1 else [value]


def agree(facts: Mapping[str, Any]) -> None:
    """Makes sure that all processes of the job give the same facts, JSON values by name.

    Raises:
      DisagreementError: they do not; raised by all, naming which process differs in what.
    """
    text = json.dumps(facts, sort_keys=True)
    digests = gather(hashlib.sha256(text.encode()).hexdigest())
    if len(set(digests)) > 1:
        raise DisagreementError(differences(gather(json.loads(text))))


@contextlib.contextmanager
def together(agreed: tuple[type[Exception], ...] = (), debug: bool = False) -> Iterator[None]:
    """Where one process of several fails, ends it at once and the others with it.

    Otherwise it would wait for them at its end, and they for it in their next step. What is raised
    inside must not have to wait for the others on its way out: see `train`.

    Args:
      agreed: errors that all processes raise after the same step; they are passed on.
      debug: whether an error that the user can mend is shown with its traceback, too.
    """
    try:
        yield
    except agreed:
        raise
    except BaseException as error:
        if not (_line or jax.distributed.is_initialized()) or _is_good_end(error):
            if _line and isinstance(error, SystemExit) and not agreed:
                _line.leave()
            raise
        _fail(error, debug)


def _is_good_end(error: BaseException) -> bool:
    """Whether all processes end so: done, or told to stop and saved."""
    good = (None, 0, os.EX_TEMPFAIL)
    return isinstance(error, GeneratorExit) or (
        isinstance(error, SystemExit) and error.code in good
    )


def _fail(error: BaseException, debug: bool) -> NoReturn:
    """Ends this process for its error, or for that of another of which it is the consequence."""
    reason = _reason(error)
    own = _own_name()
    news = _line.news(_PATIENCE / 2) if _line else None
    with _ending:
        if news and news[1] != reason:
            _exit(f"{news[0]}; {own} ends with it", LostError.exit_code)
        mended = isinstance(error, EXPECTED) or failures.is_out_of_memory(error)
        if debug or not (mended or isinstance(error, (SystemExit, KeyboardInterrupt))):
            traceback.print_exception(error)
        code = getattr(error, "exit_code", 2 if mended else 1)
        if isinstance(error, KeyboardInterrupt):
            code = 130
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            code = error.code
        if _line:
            _line.tell(reason)
        _exit(reason if isinstance(error, DisagreementError) else f"{own}: {reason}", code)


def _reason(error: BaseException) -> str:
    """What ends a process, in one line."""
    if isinstance(error, SystemExit):
        return f"ended with exit code {error.code}"
    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    return failures.told(error, "a smaller batch needs less")[:1000]


def _lost(text: str) -> None:
    """Another process has failed or died."""
    with _ending:
        _exit(f"{text}; {_own_name()} ends with it", LostError.exit_code)


def _own_name() -> str:
    if _line:  # jax may be joining still
        return _line.name(_line.process)
    return f"process {jax.process_index()} of {jax.process_count()}"


def _exit(text: str, code: int) -> NoReturn:
    """Ends the process without waiting for the others, as JAX would."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        print(f"error: {text}", file=sys.stderr, flush=True)
    if _line:
        _line.wait_for_ends(5 * _PATIENCE)
    os._exit(code)


def _devices(counts: Mapping[int, int]) -> str:
    """Args: how many devices each process has."""
    several = len(counts) > 1
    each = "/".join(str(count) for count in sorted(set(counts.values())))
    kinds = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    return f"{len(counts)} process{'es' * several} x {each} device{'s' * (each != '1')}: {kinds}"
