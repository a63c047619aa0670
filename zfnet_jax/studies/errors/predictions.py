"""What a net answered for every image of a split, and as it is saved.

WORKDIR/studies/errors/SPLIT-CROPScrops-DIGEST/ holds, for N images and C classes, in arrays.npz

    labels         [N] int32    the true class
    predicted      [N] int32    the most probable class; in a tie with the true one, another
    rank           [N] int32    classes other than the true one that are at least as probable
    confidence     [N] float32  probability of the most probable class
    loss           [N] float32  negative logarithm of the true class's probability

and in probabilities.npy, which may be left out, [N, C] float32 in the order of the classes: a file
of its own, as they are large and only ensembles read them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zfnet_jax.files import damage_told, whole_file, write_arrays
from zfnet_jax.runs import provenance
from zfnet_jax.studies import saved
from zfnet_jax.studies.saved import Result

NAME = "errors"  # of the study
_PROBABILITIES = "probabilities.npy"
_OUTCOMES = ("labels", "predicted", "rank", "confidence", "loss")
# Two sets of predictions compare, or average, where these fields of `info` are equal.
_COMPARED = ("class_names", "split", "data", "preprocessing", "crops")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Answers of a net, or of several averaged; arrays as named at the top of the module.

    Attributes:
      info: 'run', 'step', 'split', 'crops', 'class_names', 'data', 'preprocessing', 'weights' and
        more provenance: see `study.describe`. Of an ensemble 'run' names it, 'members' are theirs
        and 'weights' a list.
      probabilities: None where they were not kept.
      folder: that they were read from, if any.
      others: names of the folders beside it that `find` left: of the same checkpoint, split and
        crops, but other images or weights.
    """

    info: dict[str, Any]
    labels: np.ndarray
    predicted: np.ndarray
    rank: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray
    probabilities: np.ndarray | None
    folder: Path | None = None
    others: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All of them by name."""
        arrays = {name: getattr(self, name) for name in _OUTCOMES}
        if self.probabilities is not None:
            arrays["probabilities"] = self.probabilities
        return arrays

    @property
    def identity(self) -> dict[str, Any]:
        """What tells them from those of other nets or images, as JSON values."""
        return _identity(self.info)

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
    info["weights"] = [member.info["weights"] for member in members]
    return Predictions(
        info=info,
        probabilities=probabilities,
        folder=None,
        others=(),
        **outcomes(probabilities, members[0].labels),
    )


def _kept_probabilities(member: Predictions) -> np.ndarray:
    if member.probabilities is None:
        if member.folder is not None and member.info["options"]["probabilities"]:
            raise ValueError(
                f"{member.folder / _PROBABILITIES} is gone: remove {member.folder}, and evaluate"
                f" {member.info['run']} again"
            )
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


def crops_text(crops: int) -> str:
    """'1 crop' or '10 crops'."""
    return f"{crops} crop{'s' * (crops > 1)}"


def write(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays into a folder that is being filled."""
    write_arrays(folder / "arrays.npz", {name: arrays[name] for name in _OUTCOMES})
    if "probabilities" in arrays:
        with probabilities_file(folder) as file:
            np.save(file, arrays["probabilities"])


def probabilities_file(folder: Path) -> AbstractContextManager[BinaryIO]:
    """The .npy file of the probabilities in a folder that is being filled."""
    return whole_file(folder / _PROBABILITIES)


def of_result(result: Result) -> Predictions:
    """Reads saved predictions; their probabilities stay on the disk until they are used.

    ValueError: a file is damaged.
    """
    path, probabilities = result.folder / _PROBABILITIES, None
    if path.exists():
        with damage_told(path, "remove its folder, and evaluate again"):
            probabilities = np.load(path, mmap_mode="r")
    return Predictions(
        info=result.about,
        probabilities=probabilities,
        folder=result.folder,
        others=(),
        **result.arrays,
    )


def files(result: Result) -> list[Path]:
    """All files of saved predictions."""
    kept = result.folder / _PROBABILITIES
    return [*result.files, *([kept] if kept.exists() else [])]


def find(
    workdir: str | Path, split: str, crops: int, data: str | None = None, step: int | None = None
) -> Predictions | None:
    """The saved predictions of a run's checkpoint, with probabilities if they were kept; None if
    there are none.

    Of several images or weights those of the images that the run was trained with come first, then
    the newest; `others` names what was left.

    Args:
      data: fingerprint of the images that they must be of; if None, of any.
      step: of the checkpoint; the newest that was evaluated if None.

    Raises:
      ValueError: a file is damaged.
    """
    wanted: dict[str, Any] = {"split": split, "crops": crops}
    if data is not None:
        wanted["data"] = {"fingerprint": data}
    there = [one for one in saved.find(workdir, NAME, step) if wanted.items() <= one.about.items()]
    if not there:
        return None
    step = max(one.about["step"] for one in there)
    there = [one for one in there if one.about["step"] == step]
    own = {"fingerprint": data or provenance.trained_with(Path(workdir), split)}
    taken = max(enumerate(there), key=lambda one: (one[1].about["data"] == own, one[0]))[1]
    same = [one for one in there if _identity(one.about) == _identity(taken.about)]
    found = max(map(of_result, same), key=lambda one: one.probabilities is not None)
    others = tuple(one.folder.name for one in there if one not in same)
    return dataclasses.replace(found, others=others)


def _identity(info: Mapping[str, Any]) -> dict[str, Any]:
    return {field: info[field] for field in (*_COMPARED, "weights")}
