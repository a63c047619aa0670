"""The runs of a sweep: a config file's `sweep(add)` on top of its `get_config`.

A sweep is a list of overrides of one config:

    def sweep(add, arg="imagenet"):
        for seed in range(5):
            add(f"seed_{seed}", {"seed": seed})

`arg` is what follows the colon in `--config=FILE:ARG`, as for `get_config`; with no colon both take
their default. A value may be a whole section of the config (`{"model": architectures.alexnet()}`).
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from zfnet_jax import architecture, geometry
from zfnet_jax.data import augment, splits
from zfnet_jax.data.sources import SPLITS
from zfnet_jax.files import write_json
from zfnet_jax.runs import workdir
from zfnet_jax.windows import both

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]{0,99}")


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a sweep.

    `label` is its row in the paper's table, or its name; `changes` are the fields, by dotted name,
    in which `config` differs from the config file's own.
    """

    name: str
    label: str
    folder: Path
    config_file: str
    config: ConfigDict
    changes: Mapping[str, Any]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The flags of scripts.train."""
        changes = (f"--config.{field}={value}" for field, value in self.changes.items())
        return (f"--config={self.config_file}", *changes, f"--workdir={self.folder}")

    @property
    def log(self) -> Path:
        """Where everything goes that the training prints."""
        return self.folder / "train.log"


def make_plan(config_file: str, config: ConfigDict, directory: Path) -> list[Run]:
    """The runs of a config file, each with its folder in `directory`.

    Args:
      config_file: 'FILE' or 'FILE:ARG'.
      config: its config, fields overridden on the command line included; those hold for all runs.
      directory: folder of the sweep; not touched.

    Raises:
      ValueError: there is no sweep; a name, a field or a value in it is wrong; two runs have one
        name or one config; or a run's folder holds a run of another config.
    """
    path, _, arg = config_file.partition(":")
    module = runpy.run_path(path)
    if "sweep" not in module:
        raise ValueError(f"{path} has no sweep(add); configs/ablations.py shows one")
    args = (arg,) if arg else ()
    own = flat(module["get_config"](*args))
    given = {field: value for field, value in flat(config).items() if value != own[field]}
    runs: list[Run] = []

    def add(name: str, overrides: Mapping[str, Any], *, label: str | None = None) -> None:
        """Adds a run: its name, also of its folder, and values of fields by dotted name."""
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{path}: {name!r} cannot name a folder: letters, digits and _.=- make a name"
            )
        if name.lower() in (run.name.lower() for run in runs):
            raise ValueError(f"{path}: two runs have the name {name!r}")
        runs.append(
            Run(
                name=name,
                label=label or name,
                folder=Path(directory) / name,
                config_file=config_file,
                config=(changed := _override(config, own, given, overrides, f"{path}: run {name}")),
                changes={k: v for k, v in flat(changed).items() if v != own[k]},
            )
        )

    module["sweep"](add, *args)
    _check(runs, path)
    return runs


def flat(fields: Mapping[str, Any] | ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Nested fields by dotted name."""
    result: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, (ConfigDict, Mapping)):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value
    return result


def check_data(runs: Sequence[Run]) -> None:
    """FileNotFoundError or ValueError unless the pictures of every run are prepared, and those that
    it was trained on as far as it is."""
    fingerprints: dict[str, dict[str, str]] = {}
    for run in runs:
        data = run.config.data
        if data.to_json() not in fingerprints:
            fingerprints[data.to_json()] = {
                split: splits.open_split(data, split).fingerprint for split in SPLITS
            }
        here, path = fingerprints[data.to_json()], run.folder / "run.json"
        there = json.loads(path.read_text())["data"] if path.exists() else here
        if there != here:
            raise ValueError(
                f"{run.folder} holds a run of other data: {there} there and {here} here. Choose"
                " another --workdir, or move that folder away"
            )


def write_plan(runs: Sequence[Run], directory: Path) -> None:
    """Writes `sweep.json`: the runs in order, with what each changes, for tables made later."""
    write_json(
        directory / "sweep.json",
        {
            "config": runs[0].config_file,
            "runs": [
                {"name": run.name, "label": run.label, "changes": dict(run.changes)} for run in runs
            ],
        },
    )


def _override(
    config: ConfigDict,
    own: Mapping[str, Any],
    given: Mapping[str, Any],
    overrides: Mapping[str, Any],
    where: str,
) -> ConfigDict:
    """A copy of a config with overrides; ValueError for a wrong one.

    An override that contradicts the command line (`given`) is wrong, but of a whole section only
    the fields count that are not the config file's own (`own`).
    """
    result = config.copy_and_resolve_references().lock()
    for field, value in flat(overrides).items():
        if field not in own:
            near = difflib.get_close_matches(field, own, n=1, cutoff=0)[0]
            raise ValueError(f"{where}: there is no field config.{field}; the nearest is {near}")
        before = own[field]
        try:
            result.update_from_flattened_dict({field: value})
            after = flat(result)[field]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{where}: config.{field} is {type(before).__name__} ({before!r}), not {value!r}"
            ) from error
        if field not in given or after == given[field]:
            continue
        if field not in overrides and after == before:
            result.update_from_flattened_dict({field: given[field]})
        else:
            raise ValueError(
                f"{where}: config.{field} is {given[field]!r} on the command line and {after!r} in"
                " the sweep"
            )
    return result


def _check(runs: Sequence[Run], path: str) -> None:
    """Finds, before anything starts, what would stop a run."""
    if not runs:
        raise ValueError(f"{path}: sweep(add) adds no run")
    by_changes: dict[str, Run] = {}
    for run in runs:
        twin = by_changes.setdefault(json.dumps(run.changes), run)
        if twin is not run:
            raise ValueError(f"{path}: runs {twin.name} and {run.name} are the same, also in seed")
        try:
            augment.check(run.config)
            net = architecture.from_config(run.config.model, classes=2)
            for axis, side in enumerate(both(run.config.augment.crop)):
                geometry.layer_sizes(net, side, axis)
        except ValueError as error:
            raise ValueError(f"{path}: run {run.name}: {error}") from error
        _check_folder(run)


def _check_folder(run: Run) -> None:
    """ValueError if the run's folder holds a run of another config."""
    earlier = workdir.saved_config(run.folder)
    if earlier is None:
        return
    there = flat(earlier)
    here = flat(workdir.as_json(run.config))
    goes_on = run.config.optimizer.schedule != "cosine" and there["epochs"] < run.config.epochs
    differing = [
        f"{field} is {there.get(field)!r} there and {here.get(field)!r} here"
        for field in sorted(there.keys() | here.keys())
        if there.get(field) != here.get(field)
        and not (goes_on if field == "epochs" else workdir.is_free(field))
    ]
    if differing:
        raise ValueError(
            f"{run.folder} holds a run of another config: {'; '.join(differing)}. Choose another "
            "--workdir, or move that folder away"
        )
