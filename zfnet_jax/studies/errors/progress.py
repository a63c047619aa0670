"""How far a run was trained, from its folder alone."""

from __future__ import annotations

import json
from pathlib import Path

from zfnet_jax.training.metrics import read_metrics


def unfinished(workdir: Path) -> str | None:
    """Why a run is not one to compare yet, such as 'trained for 3 of 42 epochs'; None if it is."""
    if not (workdir / "config.json").exists():
        return "not trained"
    epochs = json.loads((workdir / "config.json").read_text(encoding="utf-8"))["epochs"]
    try:
        records = read_metrics(workdir)
    except FileNotFoundError:
        records = []
    done = int(records[-1]["epoch"]) if records else 0
    return None if done >= epochs else f"trained for {done} of {epochs} epochs"


def runs_in(sweep: str | Path) -> list[Path]:
    """The folders of a sweep's runs, those not begun left out.

    Raises:
      FileNotFoundError: there is none.
    """
    found = sorted(path.parent for path in Path(sweep).glob("*/config.json"))
    if not found:
        raise FileNotFoundError(f"{sweep} holds no folder of a run")
    return found
