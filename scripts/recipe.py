"""The config of a run, to train more nets with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def of_run(directory: Path) -> ConfigDict:
    """A run's config as it was trained; fields that came later as in configs/zfnet.py.

    FileNotFoundError: the folder holds no run.
    """
    from ml_collections import ConfigDict  # after the flags

    from configs import zfnet

    path = directory / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"no {path}: is {directory} the folder of a run?")
    saved = json.loads(path.read_text(encoding="utf-8"))
    recipe = zfnet.get_config()
    recipe.model = ConfigDict(saved.pop("model"))
    with recipe.ignore_type():
        recipe.update(saved)
    return recipe
