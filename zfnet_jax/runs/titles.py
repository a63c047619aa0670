"""The titles of a run's classes, which its run.json keeps; see `data.titles`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zfnet_jax.data import titles

_FIELD = "class_titles"


def record(given: Mapping[str, str]) -> dict[str, Any]:
    """What run.json says of titles, by the classes' names; nothing where there are none."""
    return {_FIELD: dict(given)} if given else {}


def recorded(said: Mapping[str, Any]) -> dict[str, str]:
    """The titles, by name, of `record`."""
    return said.get(_FIELD, {})


def given(directory: Path) -> dict[str, str]:
    """The titles that a run was given, by name."""
    path = directory / "run.json"
    return recorded(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def of_classes(directory: Path, class_names: Sequence[str]) -> tuple[str, ...]:
    """What to show of classes of a run or of its data: see `data.titles.of_classes`."""
    return titles.of_classes(class_names, given(directory))
