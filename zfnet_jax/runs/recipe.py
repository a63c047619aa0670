"""The config of a run, to train more nets with."""

from __future__ import annotations

import json
from pathlib import Path

from ml_collections import ConfigDict


def of_run(directory: Path, defaults: ConfigDict) -> ConfigDict:
    """A run's config as it was trained; fields that came later as in `defaults`.

    FileNotFoundError: the folder holds no run.
    """
    path = directory / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"no {path}: is {directory} the folder of a run?")
    saved = json.loads(path.read_text(encoding="utf-8"))
    recipe = defaults.copy_and_resolve_references()
    recipe.model = ConfigDict(saved.pop("model"))
    with recipe.ignore_type():
        recipe.update(saved)
    return recipe
