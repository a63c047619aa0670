"""What a run's folder says about the run: config.json, run.json and each checkpoint's record."""

from __future__ import annotations

import contextlib
import json
import platform
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from zfnet_jax import architecture, determinism, distributed, lock, parallel
from zfnet_jax.data import titles
from zfnet_jax.data.images import Split
from zfnet_jax.files import write_json
from zfnet_jax.runs import titles as run_titles

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow")

_LOOKS = 10  # for a file of another host, half a second apart: network file systems are late

# Fields that a resumed run may change: they do not alter the steps that were made. Of the data the
# fingerprint is compared, wherever they lie; for `epochs` and drops see `optimizer.check_resumed`.
FREE_FIELDS = (
    "epochs",
    "early_stopping",
    "rules",
    "checkpoint",
    "check",
    "log_every_steps",
    "eval_batch_size",
    "data",
    "on_nonfinite",
    "rollback",
    "optimizer.drops",
)

# Fields that came later, by dotted name, as runs of before were trained.
LATER_FIELDS: Mapping[str, Any] = {
    "init_from": "",
    "init_layers": [],
    "frozen": [],
    "optimizer.drops": [],
    "optimizer.clip_norm": 0.0,
    "optimizer.class_weights": "none",
    "augment.colour": 0.0,
    "early_stopping": 0,
    "rules": [],
}


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Holds a run's folder, made if missing, against a second training.

    Raises:
      ValueError: another process trains there, or the folder cannot be written.
      DisagreementError: the processes of the job do not share it.
    """
    with contextlib.ExitStack() as stack:
        refusal = ""
        if parallel.is_writer():
            try:
                directory.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock.locked(directory / "run.lock", "a training"))
            except (OSError, ValueError) as error:
                refusal = str(error)
        if refusal := parallel.from_writer(refusal):
            raise ValueError(refusal)
        check_shared(directory)
        yield


def check_shared(directory: Path) -> None:
    """DisagreementError unless all processes of the job see the folder that process 0 writes to."""
    if len(distributed.gather(None)) == 1:
        return
    here = f"{directory.absolute()} on {socket.gethostname()}"
    nonce = f".seen-by-all-{secrets.token_hex(8)}"
    if parallel.is_writer():
        (directory / nonce).touch()
    there, nonce = distributed.gather([here, nonce])[0]
    try:
        seen = any((directory / nonce).exists() or time.sleep(0.5) for _ in range(_LOOKS))
        distributed.agree({"workdir": there if seen else f"{here} (not the same folder)"})
    finally:
        if parallel.is_writer():
            (directory / nonce).unlink(missing_ok=True)


def claim(
    directory: Path,
    config: ConfigDict,
    train: Split,
    validation: Split,
    *,
    start: Mapping[str, Any] | None = None,
    check_resumed: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Writes config.json and run.json, or checks that the run already there is the same one.

    Args:
      start: where a run that starts from another net has its weights from, for run.json.
      check_resumed: looks at the config that the run had before, whose free fields may differ, and
        raises a ValueError where they may not in this way.

    Raises:
      ValueError: the folder holds a run of another config or other data, naming what differs; or
        the file of titles does not fit the classes.
    """
    directory = Path(directory)
    class_titles = _read_titles(config, train)
    data = fingerprints(train, validation)
    new, run = as_json(config), {}
    if (earlier := saved_config(directory)) is not None:
        run = json.loads((directory / "run.json").read_text())
        if "imported" in run:
            raise ValueError(
                f"{directory} holds an imported net, which is not trained on in its own folder:"
                f" choose another --workdir, with --config.init_from={directory}"
            )
        differing = [
            f"{field} is {old!r} there and {now!r} here"
            for field, (old, now) in _differences(earlier, _completed(new)).items()
            if not is_free(field)
        ]
        if run["data"] != data:
            differing.append(f"the data are {run['data']} there and {data} here")
        if differing:
            raise ValueError(
                f"{directory} holds a run of another config: {'; '.join(differing)}. "
                "Choose another --workdir"
            )
        if check_resumed:
            check_resumed(earlier)
    if parallel.is_writer():
        directory.mkdir(parents=True, exist_ok=True)
        write_json(
            directory / "run.json",
            {
                "data": data,
                "images": {"train": len(train), "validation": len(validation)},
                "class_names": train.class_names,
                **run_titles.record(class_titles),
                **({"init_from": origin} if (origin := start or run.get("init_from")) else {}),
                **_circumstances(),
                "segments": segments(directory),
            },
        )
        write_json(directory / "config.json", new)


def saved_config(directory: Path) -> dict[str, Any] | None:
    """The config of the run in a folder, with the fields that came later as it was trained; None
    if there is none yet."""
    path = directory / "config.json"
    return _completed(json.loads(path.read_text())) if path.exists() else None


def _completed(config: Mapping[str, Any]) -> dict[str, Any]:
    result = {**config, "model": architecture.completed(config["model"])}
    for name, value in LATER_FIELDS.items():
        *sections, field = name.split(".")
        holder = result[sections[0]] if sections else result
        holder.setdefault(field, value)
    return result


def without_later(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as JSON values without the fields that came later and are left as runs of before
    were trained, so that digests stay the same."""
    result = {k: dict(v) if isinstance(v, dict) else v for k, v in config.items()}
    for name, value in LATER_FIELDS.items():
        *sections, field = name.split(".")
        holder = result[sections[0]] if sections else result
        if holder.get(field) == value:
            del holder[field]
    return result


def is_free(field: str) -> bool:
    """Whether a resumed run may change a field, by dotted name."""
    return field in FREE_FIELDS or field.split(".")[0] in FREE_FIELDS


def segments(directory: Path) -> list[dict[str, Any]]:
    """How a run was trained from which step on: versions, Python and devices, oldest first."""
    path = directory / "run.json"
    run = json.loads(path.read_text()) if path.exists() else {}
    if "segments" not in run and "devices" in run:  # of before there were any: its newest start
        return [{"step": 0, **{name: run[name] for name in _circumstances() if name in run}}]
    return run.get("segments", [])


def begin_segment(directory: Path, step: int) -> None:
    """Notes in run.json what trains from a step on, where it is not what trained before."""
    if not parallel.is_writer():
        return
    # Segments that began later are done again, as the steps that they made.
    kept = [one for one in segments(directory) if one["step"] < step]
    new = {"step": step, **_circumstances()}
    if not kept or kept[-1] | {"step": step} != new:
        kept.append(new)
    run = json.loads((directory / "run.json").read_text())
    if run["segments"] != kept:
        write_json(directory / "run.json", run | {"segments": kept})


def _circumstances() -> dict[str, Any]:
    """Of this process: versions, devices, and 'deterministic' where --deterministic took effect,
    which has none on CPUs."""
    return {
        "versions": versions(),
        "python": platform.python_version(),
        "devices": {
            "kind": parallel.local_devices()[0].device_kind,
            "count": parallel.device_count(),
            "processes": parallel.process_count(),
        },
        **({"deterministic": True} if determinism.is_required() else {}),
    }


def record(
    config: ConfigDict, train: Split, plateau: dict[str, Any], logged: dict[str, float]
) -> dict[str, Any]:
    """What a checkpoint holds beside its arrays: all that a user of the net needs to know."""
    return {
        "config": as_json(config),
        "class_names": list(train.class_names),
        "data": train.fingerprint,
        "plateau": plateau,
        "logged": logged,
    }


def fingerprints(train: Split, validation: Split) -> dict[str, str]:
    """Of the data of a run."""
    return {"train": train.fingerprint, "validation": validation.fingerprint}


def without_data(config: ConfigDict) -> dict[str, Any]:
    """A config without its data, which may lie elsewhere on each host: see `fingerprints`."""
    return {name: value for name, value in as_json(config).items() if name != "data"}


def _read_titles(config: ConfigDict, train: Split) -> dict[str, str]:
    """The titles of classes, by name, that the config's file gives; empty where another process
    writes. All processes raise what is wrong with it."""
    given = config.data.get("class_titles", "")  # runs from before there was this field have none
    found, refusal = {}, ""
    if given and parallel.is_writer():
        try:
            found = titles.read(given, train.class_names)
        except (OSError, ValueError) as error:
            refusal = f"config.data.class_titles: {error}"
    if refusal := parallel.from_writer(refusal):
        raise ValueError(refusal)
    return found


def as_json(config: ConfigDict) -> dict[str, Any]:
    """A config as plain JSON values: tuples become lists."""
    return json.loads(json.dumps(config.to_dict()))


def versions() -> dict[str, str]:
    """Versions of the packages that results may depend on."""
    return {name: metadata.version(name) for name in _PACKAGES}


def _differences(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Fields, by dotted name, whose values differ."""
    result = {}
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            result |= _differences(was, now, f"{prefix}{name}.")
        elif was != now:
            result[f"{prefix}{name}"] = (was, now)
    return result
