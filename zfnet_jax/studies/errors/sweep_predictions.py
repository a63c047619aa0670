"""The saved predictions that Tables 2 and 3 are made of, from the folders of sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zfnet_jax.studies.errors import predictions
from zfnet_jax.studies.errors.paper_rows import COLUMNS, ROWS
from zfnet_jax.studies.errors.predictions import Predictions
from zfnet_jax.sweep.status import unfinished

# Of a run's end on a split, or why there are none, by (run, split).
Found = dict[tuple[str, str], Predictions | str]


def read(number: int, sweeps: Sequence[Path], crops: int, train_crops: int) -> Found:
    """Predictions of all runs of Table 2 or 3, with probabilities where the table averages them.

    Args:
      number: of the table.
      sweeps: folders that hold the runs' folders, named as in `paper_rows`.
      crops, train_crops: of the evaluations on validation and on training images.

    Raises:
      ValueError: runs that do not match, naming fields; or two sweeps hold a run of one name.
    """
    together = {run for row in ROWS[number] if row.averaged == "probabilities" for run in row.runs}
    runs = dict.fromkeys(run for row in ROWS[number] for run in row.runs)
    found: Found = {}
    for split in dict.fromkeys(column.split for column in COLUMNS[number] if column.split):
        of_split = train_crops if split == "train" else crops
        for run in runs:
            found[run, split] = _read(sweeps, run, split, of_split, run in together)
        infos = infos_of(found, split)
        if infos:
            predictions.check_match(infos)
    return found


def infos_of(found: Found, split: str) -> list[dict[str, Any]]:
    """What the predictions of a split say of themselves."""
    there = (one for (_, of_split), one in found.items() if of_split == split)
    return [one.info for one in there if isinstance(one, Predictions)]


def _read(
    sweeps: Sequence[Path], run: str, split: str, crops: int, probabilities: bool
) -> Predictions | str:
    folders = [sweep / run for sweep in sweeps if (sweep / run).is_dir()]
    if len(folders) > 1:
        raise ValueError(f"{' and '.join(map(str, folders))}: two runs of one name")
    if not folders:
        return "not trained"
    reason = unfinished(folders[0])
    if reason:
        return reason
    steps = predictions.evaluated_steps(folders[0], split, crops)
    if not steps:
        images = {"train": "training", "validation": "validation"}[split]
        return f"not evaluated on {images} images with {crops} crop{'s' * (crops > 1)}"
    found = predictions.load(steps[max(steps)], probabilities=probabilities)
    epoch, epochs = found.info["epoch"], found.info["epochs"]
    if epoch is not None and epoch < epochs:
        return f"evaluated only after {epoch:g} of {epochs} epochs"
    return found
