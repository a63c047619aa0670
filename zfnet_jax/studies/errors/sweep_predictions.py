"""The saved predictions that Tables 2 and 3 are made of, from the folders of sweeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zfnet_jax.runs import checkpoint
from zfnet_jax.runs.steps import Which
from zfnet_jax.studies.errors import predictions
from zfnet_jax.studies.errors.options import Options, TableOptions
from zfnet_jax.studies.errors.paper_rows import COLUMNS, ROWS
from zfnet_jax.studies.errors.predictions import Predictions
from zfnet_jax.studies.trainings import trainings
from zfnet_jax.sweep.status import unfinished

# Fingerprint of a run's images of a split, from its folder; None where any will do.
Images = Callable[[Path, str], str | None]
# Of a run's end on a split, or why there are none, by (run, split).
Found = dict[tuple[str, str], Predictions | str]


def read(
    number: int,
    sweeps: Sequence[Path],
    options: TableOptions,
    images: Images | None = None,
    step: Which | None = None,
) -> Found:
    """Predictions of all runs of Table 2 or 3, of all seeds that there are.

    Args:
      number: of the table.
      sweeps: folders that hold the runs' folders, named as in `paper_rows`.
      options: see there; of intervals nothing is used.
      images: those that predictions must be of; if None see `predictions.find`.
      step: of each run's checkpoint, its last if None.

    Raises:
      ValueError: see `predictions.find`; or runs do not match, naming fields; or two sweeps hold
        a run of one name.
    """
    there = {folder.name for sweep in sweeps for folder in sweep.glob("*/")}
    nets = dict.fromkeys(net for row in ROWS[number] for net in row.runs)
    runs = [run for net in nets for run in trainings(net, there) or [net]]
    found: Found = {}
    splits = {column.split for column in COLUMNS[number]}
    for wanted in options.evaluations:
        if wanted.split not in splits:
            continue
        for run in runs:
            found[run, wanted.split] = _read(sweeps, run, wanted, images, step)
        infos = infos_of(found, wanted.split)
        if infos:
            predictions.check_match(infos)
    return found


def infos_of(found: Found, split: str) -> list[dict[str, Any]]:
    """What the predictions of a split say of themselves."""
    there = (one for (_, of_split), one in found.items() if of_split == split)
    return [one.info for one in there if isinstance(one, Predictions)]


def _read(
    sweeps: Sequence[Path], run: str, wanted: Options, images: Images | None, step: Which | None
) -> Predictions | str:
    folders = [sweep / run for sweep in sweeps if (sweep / run).is_dir()]
    if len(folders) > 1:
        raise ValueError(f"{' and '.join(map(str, folders))}: two runs of one name")
    if not folders:
        return "not trained"
    reason = unfinished(folders[0])
    if reason:
        return reason
    of = images(folders[0], wanted.split) if images else None
    chosen = checkpoint.step_of(folders[0], step)
    found = predictions.find(folders[0], wanted.split, wanted.crops, of, chosen)
    if found is None:
        what = {"train": "training", "validation": "validation"}[wanted.split]
        crops = predictions.crops_text(wanted.crops)
        at = "" if chosen is None else f" at step {chosen}"
        return f"not evaluated{at} on {what} images with {crops}"
    if step is not None:
        return found
    epoch, epochs = found.info["epoch"], found.info["epochs"]
    if epoch is not None and epoch < epochs:
        return f"evaluated only after {epoch:g} of {epochs} epochs"
    return found
