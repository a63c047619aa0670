"""The record that a step leaves, which makes a rerun skip it.

REPORT/steps/NAME.json says with which fingerprint the step was made, which files it left
and from what; the report is written from these records alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zfnet_jax.files import write_json
from zfnet_jax.runs import provenance
from zfnet_jax.studies.step import Made, Step

FOLDER = "steps"  # of the records, in the report's folder, which lies in the run's
_ENDS = 1 << 16  # bytes at either end of a file that tell it from another of its size


def fingerprints(steps: Sequence[Step], net: str) -> dict[str, str]:
    """Of each step, by name: a digest of all that its result depends on.

    Args:
      steps: in order, each after those that it needs.
      net: digest of the checkpoint.
    """
    found: dict[str, str] = {}
    for step in steps:
        content = {
            "step": step.name,
            "version": step.version,
            "code": provenance.code_digest(),  # drawn anew; what studies have saved stays
            "net": net,
            "options": dict(step.options),
            "needs": {name: found[name] for name in step.needs},
        }
        text = json.dumps(content, sort_keys=True)
        found[step.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found


def read_record(report: Path, name: str) -> dict[str, Any] | None:
    """What a step left when it was last made; None if it never was."""
    try:
        return json.loads((report / FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_record(report: Path, name: str, made: Made, rest: Mapping[str, Any]) -> None:
    """Keeps what a step has left; `rest` are fields such as 'fingerprint' and 'seconds'."""
    # Of links resolved: '..' after a link leads elsewhere.
    root = report.parent.resolve()
    files = {os.path.relpath(path.resolve(), root): file_digest(path) for path in made.files}
    maps = {layer: [int(number) for number in numbers] for layer, numbers in made.maps.items()}
    record = {"name": name, "files": files, "notes": list(made.notes), "maps": maps, **rest}
    (report / FOLDER).mkdir(parents=True, exist_ok=True)
    write_json(report / FOLDER / f"{name}.json", record)


def is_done(report: Path, name: str, fingerprint: str) -> bool:
    """Whether a step was made like this and its files are those that it left."""
    record = read_record(report, name)
    if record is None or record["fingerprint"] != fingerprint:
        return False
    root = report.parent.resolve()
    return all(file_digest(root / path) == was for path, was in record["files"].items())


def file_digest(path: Path) -> str | None:
    """Tells a file from others without reading all of it; None if there is no such file.

    The end of an .npz holds the checksums of all its arrays.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            digest = hashlib.sha256(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read() + str(size).encode())
    except FileNotFoundError:
        return None
    return digest.hexdigest()[:16]
