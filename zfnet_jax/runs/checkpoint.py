"""Checkpoints of one run: complete, checked by digests, and resumed from the newest good one.

This is the only file that knows orbax. Orbax writes a step into a temporary directory and renames
it when it is whole, so a crash leaves no checkpoint that looks finished. It does not notice bytes
that change afterwards: it restores flipped bits without a word. So every array goes with a SHA-256
of its dtype, shape and bytes, the record that holds these digests with one of its own, and
`Checkpoints.restore` verifies them all.

A checkpoint is set aside only where its content is proven to be damaged, for every process of the
job alike (see `damage`); any other error of reading ends the run and changes nothing.

On disk, under the directory of the run's checkpoints:

    <step>/arrays     the arrays, as a nested dict of numpy arrays
    <step>/record     {"step", "error", "record", "digests", "digest"}, JSON
    damaged-<step>    set aside by `Checkpoints.restore_latest`, never read again
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from logging import LogRecord
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from zfnet_jax import parallel
from zfnet_jax.runs import array_tree, damage, steps
from zfnet_jax.runs.array_tree import PyTree
from zfnet_jax.runs.steps import Which

# A save that orbax begins in one thread while it begins another would take the number of that one,
# and write without waiting for its own folder to be made.
_beginning = threading.Lock()

_FAILED = "failed: "  # what a process tells the others that cannot read


class DamagedCheckpointError(ValueError):
    """A checkpoint is incomplete, does not decode or differs from its digests."""


class UnreadableCheckpointError(OSError):
    """A checkpoint could not be read, or not by every process, which proves nothing of its content.

    Nothing was changed on the disk.
    """


class Checkpoints:
    """The checkpoints of one run.

    With several processes each of them makes the same calls with the same (replicated) values;
    process 0 writes. Saving goes on in the background: `wait` or `close` before relying on it.

    Args:
      directory: where the checkpoints lie; made if missing, unless `read_only`.
      keep_latest: how many of the newest steps are kept. With 2 or more there is one to fall back
        on when the newest is damaged.
      keep_best: how many of the steps with the lowest error are kept; of equals the newest.
      keep_steps: steps that are kept for good, such as the ends of the paper's epochs of Fig. 4.
      read_only: opens what is there and changes nothing.

    Raises:
      FileNotFoundError: `read_only` and the directory does not exist.
      UnreadableCheckpointError: a record cannot be read, and is not damaged.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_latest: int,
        keep_best: int,
        keep_steps: Sequence[int],
        read_only: bool = False,
    ) -> None:
        if keep_latest < 1 or keep_best < 0:
            raise ValueError(
                f"keep_latest must be at least 1 and keep_best at least 0, not {keep_latest} and "
                f"{keep_best}"
            )
        self.directory = Path(directory).absolute()
        if read_only and not self.directory.is_dir():
            raise FileNotFoundError(f"no checkpoints: there is no directory {self.directory}")
        self._read_only = read_only
        self._errors: dict[int, float | None] = {}
        _quieten_orbax()
        policies = ocp.checkpoint_managers
        keep = policies.AnyPreservationPolicy(
            [
                policies.LatestN(keep_latest),
                _BestByError(self._errors, keep_best),
                policies.CustomSteps(tuple(keep_steps)),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keep,
                read_only=read_only,
                create=not read_only,
                cleanup_tmp_directories=not read_only,
            ),
        )
        for step in self.all_steps():
            try:
                self._errors[step] = self._read_record(step)["error"]
            except DamagedCheckpointError as error:
                logging.warning("%s. It cannot be the best checkpoint.", error)

    def save(
        self, step: int, arrays: PyTree, record: Mapping[str, Any], error: float | None
    ) -> bool:
        """Saves one step and then deletes those that need not be kept.

        The arrays are copied to the host before this returns, so they may be donated afterwards.

        Args:
          step: global step, larger than any saved one.
          arrays: everything that makes the next step: a tree of jax (fully replicated) or numpy
            arrays and scalars.
          record: the JSON-able rest (host state, config, class names, preprocessing). It comes back
            as JSON gives it: tuples as lists, keys as strings.
          error: validation error, lower is better. None (a save in mid-epoch) or a non-finite one
            is never the best.

        Returns:
          False, with nothing written, if this step is saved already: the first save of it stands.

        Raises:
          ValueError: the step is older than the newest saved one, or opened read-only.
          OSError: the save before this one could not be completed.
        """
        self.wait()
        step = int(step)
        if self._read_only:
            raise ValueError(f"cannot save step {step}: {self.directory} was opened read-only")
        if step in self.all_steps():
            return False
        latest = self.latest_step()
        if latest is not None and step < latest:
            raise ValueError(
                f"cannot save step {step} in {self.directory}: step {latest} is there already; "
                "use another directory or remove the newer checkpoints"
            )
        if error is not None:
            error = float(error) if math.isfinite(error) else None
        # Copies, not views: on the CPU a view shares memory with a buffer that may be donated.
        flat = {name: np.array(leaf) for name, leaf in array_tree.named_leaves(arrays).items()}
        stored = {
            "step": step,
            "error": error,
            "record": json.loads(json.dumps(record)),
            "digests": {name: array_tree.digest(array) for name, array in flat.items()},
        }
        stored["digest"] = _record_digest(stored)
        self._errors[step] = error
        items = {
            "arrays": ocp.args.StandardSave(array_tree.nested(flat)),
            "record": ocp.args.JsonSave(stored),
        }
        # force: the caller has decided to save; orbax's rules on when to save do not apply.
        with _beginning:
            return self._manager.save(step, args=ocp.args.Composite(**items), force=True)

    def all_steps(self) -> list[int]:
        """Saved steps, oldest first, that of a save still going on included."""
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """Newest saved step."""
        return max(self.all_steps(), default=None)

    def best_step(self) -> int | None:
        """Step with the lowest error, of equals the newest; None if no step has an error."""
        ranked = [step for step in self.all_steps() if self._errors.get(step) is not None]
        return min(ranked, key=lambda step: (self._errors[step], -step), default=None)

    def step_of(self, which: Which) -> int:
        """The step that is meant; a number as it is, whether it is saved or not.

        Raises:
          FileNotFoundError: nothing is saved yet.
          ValueError: no such word, or no step has an error to be the best by.
        """
        if not self.all_steps():
            raise FileNotFoundError(f"{self.directory.parent} holds no checkpoint yet: train first")
        step = which if isinstance(which, int) else steps.parse(which)
        if isinstance(step, int):
            return step
        step = self.latest_step() if step == "latest" else self.best_step()
        if step is None:
            raise ValueError(
                f"no checkpoint in {self.directory} has a validation error, so none is the best:"
                f" there are steps {', '.join(map(str, self.all_steps()))}"
            )
        return step

    def standing(self, step: int) -> str:
        """Which one a step is among them, in a few words; '' of the newest."""
        newest = self.latest_step()
        if newest in (None, step):
            return ""
        best = "the lowest validation error; " if step == self.best_step() else ""
        return f"{best}the newest is step {newest}"

    def restore(self, step: int, like: PyTree | None = None) -> tuple[PyTree, dict[str, Any]]:
        """Reads one step and verifies the digest of every array and of the record.

        Args:
          step: one of `all_steps`.
          like: tree of arrays (or `jax.ShapeDtypeStruct`) whose structure, shapes and dtypes the
            arrays must have.

        Returns:
          The arrays, on the host as numpy arrays, in the structure of `like` (without it a nested
          dict by names and indices), and the record.

        Raises:
          DamagedCheckpointError: the checkpoint is incomplete or was changed.
          UnreadableCheckpointError: it cannot be read, which may pass.
          ValueError: no such step, or the arrays are not those of `like`.
        """
        self.wait()
        if step not in self.all_steps():
            raise ValueError(f"{self.directory} has no step {step}, only {self.all_steps()}")
        arrays, stored = self._restore(step, like)
        return arrays, stored["record"]

    def restore_latest(
        self, like: PyTree | None = None
    ) -> tuple[int, PyTree, dict[str, Any]] | None:
        """Restores the newest good step; those passed over are set aside with an error message.

        A damaged step is renamed to `damaged-<step>` (unless opened read-only), so that the run can
        save that step again. With several processes each reads for itself, and all of them must
        find the same.

        Returns:
          (step, arrays, record) as in `restore`, or None if nothing has been saved yet.

        Raises:
          DamagedCheckpointError: there are checkpoints, but none is good. Nothing is renamed.
          UnreadableCheckpointError: one cannot be read, which may pass; or not every process finds
            the same. Nothing is renamed.
          ValueError: the newest good step does not have the arrays of `like`.
        """
        self.wait()
        damages: dict[int, DamagedCheckpointError] = {}
        for step in reversed(self.all_steps()):
            found = self._found_by_all(step, like)
            assert found is not None
            if isinstance(found, DamagedCheckpointError):
                damages[step] = found
                continue
            for error in damages.values():
                logging.error("%s. Falling back to step %d.", error, step)
            self._set_aside(list(damages))
            return step, *found
        self._found_by_all(None, like)
        if damages:
            raise DamagedCheckpointError(
                "no good checkpoint is left: " + "; ".join(str(error) for error in damages.values())
            )
        return None

    def wait(self) -> None:
        """Blocks until the last save is complete.

        Raises:
          OSError: that save failed; the steps saved before it are still there.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as exception:
            self._manager.reload()
            raise OSError(
                f"could not write a checkpoint in {self.directory}: {damage.first_line(exception)}"
            ) from exception

    def close(self) -> None:
        """Waits for the last save, as `wait` does, and frees orbax's threads."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _restore(self, step: int, like: PyTree | None) -> tuple[PyTree, dict[str, Any]]:
        """Arrays as in `restore`, and the whole stored record. Errors as there."""
        stored = self._read_record(step)
        with self._reading(step, "arrays"):
            handler = ocp.StandardCheckpointHandler()
            folder = self._manager.directory / str(step) / "arrays"
            read = handler.restore(folder, args=ocp.args.StandardRestore())
            flat = array_tree.named_leaves(read)
            found = {name: array_tree.digest(array) for name, array in flat.items()}
        digests = stored["digests"]
        if found.keys() != digests.keys():
            raise self._damage(
                step, f"arrays {sorted(found.keys() ^ digests.keys())} lost or extra"
            )
        for name, digest in found.items():
            if digest != digests[name]:
                raise self._damage(step, f"array {name} differs from its digest")
        if like is None:
            return array_tree.nested(flat), stored
        return array_tree.fill(like, flat, f"step {step} in {self.directory}"), stored

    def _read_record(self, step: int) -> dict[str, Any]:
        with self._reading(step, "record"):
            folder = self._manager.directory / str(step) / "record"
            stored = ocp.JsonCheckpointHandler().restore(folder)
        if not isinstance(stored, dict) or stored.get("digest") != _record_digest(stored):
            raise self._damage(step, "its record differs from its digest")
        if stored["step"] != step:
            raise self._damage(step, f"it holds step {stored['step']}")
        return stored

    @contextlib.contextmanager
    def _reading(self, step: int, item: str) -> Iterator[None]:
        """Tells damage from errors that say nothing of the content; the cause stays chained.

        Reading is by orbax's handlers, not by its manager: that waits for all processes after it
        has read, but not after it has failed.
        """
        try:
            yield
        except Exception as error:
            cause = error
            try:
                if damage.proves_damage(error, self._folder(step)):
                    raise self._damage(
                        step, f"cannot read its {item}: {damage.first_line(error)}"
                    ) from error
            except OSError as of_a_file:
                cause = of_a_file
            raise UnreadableCheckpointError(
                f"cannot read the {item} of the checkpoint of step {step} in {self.directory}:"
                f" {damage.first_line(cause)}; nothing was changed: the same command tries again"
            ) from error

    def _found_by_all(
        self, step: int | None, like: PyTree | None
    ) -> tuple[PyTree, dict[str, Any]] | DamagedCheckpointError | None:
        """What every process finds in a step: arrays and record, or damage.

        Args:
          step: None where this process has no more steps.

        Raises:
          UnreadableCheckpointError: processes find different things, or another one fails.
          Exception: whatever this one fails with.
        """
        found, told = None, "no checkpoint"
        failure: Exception | None = None
        try:
            if step is not None:
                arrays, stored = self._restore(step, like)
                found, told = (arrays, stored["record"]), f"step {step} ({stored['digest'][:16]})"
        except DamagedCheckpointError as error:
            found, told = error, f"step {step} damaged"
        except Exception as error:
            failure, told = error, f"{_FAILED}{error}"
        everyone = parallel.from_all(told)
        if failure:
            raise failure
        for process, other in enumerate(everyone):
            if other.startswith(_FAILED):
                raise UnreadableCheckpointError(f"process {process}: {other.removeprefix(_FAILED)}")
            if other != everyone[0]:
                raise UnreadableCheckpointError(
                    f"{self.directory}: process 0 finds {everyone[0]}, process {process} finds"
                    f" {other}; nothing was changed: all processes must see the same folder"
                )
        return found

    def _folder(self, step: int) -> Path:
        return self.directory / str(step)

    def _damage(self, step: int, reason: str) -> DamagedCheckpointError:
        return DamagedCheckpointError(f"checkpoint of step {step} in {self.directory}: {reason}")

    def _set_aside(self, steps: list[int]) -> None:
        """Process 0 renames the steps, once all have read them; the others learn of it."""
        if self._read_only or not steps:
            return
        refusal = ""
        if parallel.is_writer():
            try:
                for step in steps:
                    target, count = self.directory / f"damaged-{step}", 1
                    while target.exists():
                        count += 1
                        target = self.directory / f"damaged-{step}-{count}"
                    self._folder(step).rename(target)
            except OSError as error:
                refusal = f"cannot set a damaged checkpoint aside: {error}"
        if refusal := parallel.from_writer(refusal):
            raise OSError(refusal)
        self._manager.reload()
        for step in steps:
            self._errors.pop(step, None)


def newest_step(directory: Path) -> int | None:
    """The newest step of the checkpoints in a directory, unopened; None if there is none."""
    names = [path.name for path in directory.glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=None)


def open_checkpoints(directory: Path) -> Checkpoints:
    """Checkpoints of a run to read from, for analyses; nothing on disk is changed."""
    return Checkpoints(directory, keep_latest=1, keep_best=0, keep_steps=(), read_only=True)


def step_of(workdir: str | Path, which: Which | None) -> int | None:
    """The step of a run's folder that is meant; a number as it is, whether it is saved or not: what
    was measured of it may be. Errors of words as of `Checkpoints.step_of`."""
    if which is None or isinstance(which, int):
        return which
    with open_checkpoints(Path(workdir) / "checkpoints") as checkpoints:
        return checkpoints.step_of(which)


def standing(workdir: str | Path, step: int) -> str:
    """Which checkpoint of a run's folder a step is, in a few words; '' where it is the newest, or
    there are none."""
    folder = Path(workdir) / "checkpoints"
    if newest_step(folder) in (None, step):
        return ""
    with open_checkpoints(folder) as checkpoints:
        return checkpoints.standing(step)


def note(workdir: str | Path, step: int) -> str:
    """What to write beside a result of a step, such as 'step 8 (the newest is step 12)'; '' where
    it is the newest."""
    words = standing(workdir, step)
    return f"step {step} ({words})" if words else ""


@dataclasses.dataclass
class _BestByError:
    """Orbax's BestN, ranked by the errors of the verified records.

    Orbax's own metrics files carry no digest, and a broken one would keep the manager from opening.
    """

    errors: Mapping[int, float | None]
    n: int

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        ranked = [
            SimpleNamespace(step=c.step, time=c.time, metrics=self.errors.get(c.step))
            for c in checkpoints
        ]
        best = ocp.checkpoint_managers.BestN(
            get_metric_fn=float, reverse=True, n=self.n, keep_checkpoints_without_metrics=False
        )
        return best.should_preserve(ranked, context=context)


def _record_digest(stored: Mapping[str, Any]) -> str:
    content = {key: value for key, value in stored.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _not_of_orbax(record: LogRecord) -> bool:
    return "orbax" not in Path(record.pathname).parts


def _quieten_orbax() -> None:
    """Drops orbax's log records: several lines per save, and of a failed one pages of traceback.

    What they say of failures is raised as well. The same filter is never added twice.
    """
    logging.get_absl_logger().addFilter(_not_of_orbax)
