"""Checkpoints of one run: complete, checked by digests, and resumed from the newest good one.

This is the only file that knows orbax. Orbax writes a step into a temporary directory and renames
it when it is whole, so a crash leaves no checkpoint that looks finished. It does not notice bytes
that change afterwards: it restores flipped bits without a word. So every array goes with a SHA-256
of its dtype, shape and bytes, the record that holds these digests with one of its own, and
`Checkpoints.restore` verifies them all.

On disk, under the directory of the run's checkpoints:

    <step>/arrays     the arrays, as a nested dict of numpy arrays
    <step>/record     {"step", "error", "record", "digests", "digest"}, JSON
    damaged-<step>    set aside by `Checkpoints.restore_latest`, never read again
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from logging import LogRecord
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from zfnet_jax.runs import array_tree
from zfnet_jax.runs.array_tree import PyTree

_ITEMS = {"arrays": ocp.args.StandardRestore, "record": ocp.args.JsonRestore}


class DamagedCheckpointError(ValueError):
    """A checkpoint is incomplete, unreadable or differs from its digests."""


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
            except DamagedCheckpointError as damage:
                logging.warning("%s. It cannot be the best checkpoint.", damage)

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
          DamagedCheckpointError: the checkpoint is incomplete, unreadable or was changed.
          ValueError: no such step, or the arrays are not those of `like`.
        """
        self.wait()
        if step not in self.all_steps():
            raise ValueError(f"{self.directory} has no step {step}, only {self.all_steps()}")
        stored = self._read_record(step)
        flat = array_tree.named_leaves(self._read(step, "arrays"))
        digests = stored["digests"]
        if flat.keys() != digests.keys():
            raise self._damage(step, f"arrays {sorted(flat.keys() ^ digests.keys())} lost or extra")
        for name, array in flat.items():
            if array_tree.digest(array) != digests[name]:
                raise self._damage(step, f"array {name} differs from its digest")
        if like is None:
            return array_tree.nested(flat), stored["record"]
        return array_tree.fill(like, flat, f"step {step} in {self.directory}"), stored["record"]

    def restore_latest(
        self, like: PyTree | None = None
    ) -> tuple[int, PyTree, dict[str, Any]] | None:
        """Restores the newest good step; those passed over are set aside with an error message.

        A damaged step is renamed to `damaged-<step>` (unless opened read-only), so that the run can
        save that step again.

        Returns:
          (step, arrays, record) as in `restore`, or None if nothing has been saved yet.

        Raises:
          DamagedCheckpointError: there are checkpoints, but none is good. Nothing is renamed.
          ValueError: the newest good step does not have the arrays of `like`.
        """
        self.wait()
        damages: dict[int, DamagedCheckpointError] = {}
        for step in reversed(self.all_steps()):
            try:
                arrays, record = self.restore(step, like)
            except DamagedCheckpointError as damage:
                damages[step] = damage
                continue
            for damage in damages.values():
                logging.error("%s. Falling back to step %d.", damage, step)
            self._set_aside(list(damages))
            return step, arrays, record
        if damages:
            raise DamagedCheckpointError(
                "no good checkpoint is left: "
                + "; ".join(str(damage) for damage in damages.values())
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
                f"could not write a checkpoint in {self.directory}: {first_line(exception)}"
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

    def _read(self, step: int, item: str) -> Any:
        try:
            args = ocp.args.Composite(**{item: _ITEMS[item]()})
            return self._manager.restore(step, args=args)[item]
        except Exception as exception:
            # Whatever orbax and tensorstore make of a broken file; the cause stays chained.
            raise self._damage(
                step, f"cannot read its {item}: {first_line(exception)}"
            ) from exception

    def _read_record(self, step: int) -> dict[str, Any]:
        stored = self._read(step, "record")
        if not isinstance(stored, dict) or stored.get("digest") != _record_digest(stored):
            raise self._damage(step, "its record differs from its digest")
        if stored["step"] != step:
            raise self._damage(step, f"it holds step {stored['step']}")
        return stored

    def _damage(self, step: int, reason: str) -> DamagedCheckpointError:
        return DamagedCheckpointError(f"checkpoint of step {step} in {self.directory}: {reason}")

    def _set_aside(self, steps: list[int]) -> None:
        if self._read_only or not steps:
            return
        # Barriers: no process may still be reading what is renamed, nor list it afterwards.
        ocp.multihost.sync_global_processes("zfnet:before_set_aside")
        if jax.process_index() == 0:
            for step in steps:
                target, count = self.directory / f"damaged-{step}", 1
                while target.exists():
                    count += 1
                    target = self.directory / f"damaged-{step}-{count}"
                (self.directory / str(step)).rename(target)
        ocp.multihost.sync_global_processes("zfnet:after_set_aside")
        self._manager.reload()
        for step in steps:
            self._errors.pop(step, None)


def open_checkpoints(directory: Path) -> Checkpoints:
    """Checkpoints of a run to read from, for analyses; nothing on disk is changed."""
    return Checkpoints(directory, keep_latest=1, keep_best=0, keep_steps=(), read_only=True)


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


def first_line(exception: Exception) -> str:
    """The first line, without the middle if it is long, and the system's reason.

    That stands at the end, or in what is cut out with its number at the end.
    """
    line = (str(exception).splitlines() or [""])[0]
    reason = ""
    if len(line) > 300:
        number = re.search(r"os_error_code='(\d+)'", line)
        line = f"{line[:120]} ... {line[-175:]}"
        if number and (text := os.strerror(int(number[1]))) not in line:
            reason = f": {text}"
    return f"{type(exception).__name__}: {line}{reason}"


def _not_of_orbax(record: LogRecord) -> bool:
    return "orbax" not in Path(record.pathname).parts


def _quieten_orbax() -> None:
    """Drops orbax's log records: several lines per save, and of a failed one pages of traceback.

    What they say of failures is raised as well. The same filter is never added twice.
    """
    logging.get_absl_logger().addFilter(_not_of_orbax)
