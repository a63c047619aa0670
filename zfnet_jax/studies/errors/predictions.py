"""What a net answered for every image of a split, on disk: no model, no accelerator.

WORKDIR/analysis/evaluation/SPLIT-STEP-CROPS.npz holds, for N images and C classes,

    labels         [N] int32    the true class
    predicted      [N] int32    the most probable class; in a tie with the true one, another
    rank           [N] int32    classes other than the true one that are at least as probable
    confidence     [N] float32  probability of the most probable class
    loss           [N] float32  negative logarithm of the true class's probability
    probabilities  [N, C] float32, in the order of the classes; may be left out
    info           what they were made from, as JSON text; a .json of the same name repeats it
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.files import whole_file

_OUTCOMES = ("labels", "predicted", "rank", "confidence", "loss")
# Two sets of predictions compare, or average, where these fields of `info` are equal.
_COMPARED = ("class_names", "split", "data", "preprocessing", "crops")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Answers of a net, or of several averaged; arrays as named at the top of the module.

    Attributes:
      info: 'run', 'step', 'split', 'crops', 'class_names', 'data' (fingerprint), 'preprocessing',
        and more provenance. Of an ensemble 'run' names it and 'members' are theirs.
      probabilities: None where they were not kept or not read.
    """

    info: dict[str, Any]
    labels: np.ndarray
    predicted: np.ndarray
    rank: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray
    probabilities: np.ndarray | None

    def __len__(self) -> int:
        return len(self.labels)

    def errors(self, k: int) -> np.ndarray:
        """[N] float64: 1 where the true class is not among the k most probable, else 0.

        A class that is exactly as probable as the true one counts against it.
        """
        return (self.rank >= k).astype(np.float64)


def outcomes(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of `Predictions` that follow from probabilities [N, C] and labels [N]."""
    true = np.take_along_axis(probabilities, labels[:, None], axis=1)
    others = probabilities.copy()
    np.put_along_axis(others, labels[:, None], -1, axis=1)
    rank = np.sum(others >= true, axis=1)
    # An underflow to zero would make the loss infinite; float32 knows no smaller probability.
    floor = np.finfo(np.float32).tiny
    return {
        "labels": labels.astype(np.int32),
        "predicted": np.where(rank == 0, labels, others.argmax(axis=1)).astype(np.int32),
        "rank": rank.astype(np.int32),
        "confidence": probabilities.max(axis=1).astype(np.float32),
        "loss": -np.log(np.maximum(true[:, 0], floor), dtype=np.float32),
    }


def ensemble(members: Sequence[Predictions], name: str) -> Predictions:
    """The average of the members' probabilities.

    Raises:
      ValueError: see `check_ensemble`; or a member has no probabilities.
    """
    check_ensemble([member.info for member in members])
    kept = [_kept_probabilities(member) for member in members]
    total = np.zeros(kept[0].shape)
    for probabilities in kept:
        total += probabilities
    probabilities = (total / len(members)).astype(np.float32)
    first = members[0].info
    info = {field: first[field] for field in (*_COMPARED, "images")}
    info |= {"run": name, "members": [member.info for member in members]}
    return Predictions(
        info=info,
        probabilities=probabilities,
        **outcomes(probabilities, members[0].labels),
    )


def _kept_probabilities(member: Predictions) -> np.ndarray:
    if member.probabilities is None:
        raise ValueError(
            f"the probabilities of {member.info['run']} were not kept: evaluate it again "
            "with --probabilities"
        )
    return member.probabilities


def check_ensemble(infos: Sequence[dict[str, Any]]) -> None:
    """ValueError, naming the runs, if two do not match (see `check_match`) or are the same net."""
    check_match(infos)
    names: dict[str, str] = {}
    for info in infos:
        if info["weights"] in names:
            raise ValueError(f"{info['run']} and {names[info['weights']]} are the same net")
        names[info["weights"]] = info["run"]


def check_match(infos: Sequence[dict[str, Any]]) -> None:
    """ValueError, naming runs and fields, unless all are of the same images, seen the same way."""
    first = infos[0]
    for info in infos[1:]:
        differing = []
        for field in _COMPARED:
            differing += _differing(field, info[field], first[field])
        if differing:
            raise ValueError(f"{info['run']} does not match {first['run']}: {'; '.join(differing)}")


def _differing(field: str, here: Any, there: Any) -> list[str]:
    if here == there:
        return []
    if isinstance(here, dict):
        return [
            text for key in here for text in _differing(f"{field}.{key}", here[key], there[key])
        ]
    if isinstance(here, list) and isinstance(there, list):
        if len(here) != len(there):
            return [f"{field} are {len(here)}, not {len(there)}"]
        place = next(i for i, pair in enumerate(zip(here, there)) if pair[0] != pair[1])
        return [f"{field}[{place}] is {here[place]!r}, not {there[place]!r}"]
    return [f"{field} is {here!r}, not {there!r}"]


def path_of(workdir: str | Path, split: str, step: int, crops: int) -> Path:
    """Where the predictions of a run's checkpoint lie."""
    return Path(workdir) / "analysis" / "evaluation" / f"{split}-{step}-{crops}.npz"


def evaluated_steps(workdir: str | Path, split: str, crops: int) -> dict[int, Path]:
    """The saved predictions of a run, by step, ascending."""
    found = {}
    for path in path_of(workdir, split, 0, crops).parent.glob(f"{split}-*-{crops}.npz"):
        step = path.stem.removeprefix(f"{split}-").removesuffix(f"-{crops}")
        if step.isdigit():
            found[int(step)] = path
    return dict(sorted(found.items()))


def save(path: Path, predictions: Predictions) -> None:
    """Writes the .npz, atomically; its folder is made if missing."""
    arrays = {name: getattr(predictions, name) for name in _OUTCOMES}
    if predictions.probabilities is not None:
        arrays["probabilities"] = predictions.probabilities
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        np.savez(file, info=json.dumps(predictions.info), **arrays)


def load(path: Path, *, probabilities: bool) -> Predictions:
    """Reads saved predictions.

    Args:
      path: see `path_of`.
      probabilities: whether to read them too, if they were kept; outcomes are far smaller.

    Raises:
      FileNotFoundError: there are none.
      ValueError: the file is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(f"no predictions in {path}: run python -m scripts.evaluate")
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            wanted = probabilities and "probabilities" in arrays.files
            return Predictions(
                info=json.loads(str(arrays["info"])),
                probabilities=arrays["probabilities"] if wanted else None,
                **{name: arrays[name] for name in _OUTCOMES},
            )
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is damaged: remove it and evaluate again") from error
