"""Transfer results on disk: accuracies of heads on other data, one by one, and what gave them.

WORKDIR/analysis/transfer/DATA/ holds

    scores.json      the study (see `Study`), the scores (see `Score`), and the provenance of each
                     method; written after every score
    answers/*.npz    of each score what the head said of each of the T test images: 'rows' [T]
                     int32 in the split, 'labels' [T] int32 and 'predicted' [T] int32

Both 'pretrained' (features of a trained net) and 'scratch' (a net trained on the fold alone) go in
the same file, since they are of the same folds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import lock
from zfnet_jax.files import write_arrays, write_json

METHODS = ("pretrained", "scratch")


@dataclasses.dataclass(frozen=True)
class Study:
    """What all scores of a folder have in common.

    Attributes:
      data: name of the data set, such as 'caltech101'.
      fingerprint: of the prepared images.
      class_names: of the classes that count, K of them, in the order of their labels.
      images: of each class, how many there are.
      left_out: classes of the data set that do not count.
      test_per_class: test images of a class, or fewer where it has no more beside the training
        ones.
      seed: of the folds.
    """

    data: str
    fingerprint: str
    class_names: tuple[str, ...]
    images: tuple[int, ...]
    left_out: tuple[str, ...]
    test_per_class: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Score:
    """One accuracy.

    Attributes:
      method: 'pretrained' or 'scratch'.
      layer: the features' activation, such as 'norm1' or 'fc7'; None from scratch.
      head: 'softmax' or 'svm'; None from scratch.
      per_class: training images of each class.
      fold: its number, from 0.
      accuracy: mean of the accuracies of the classes, as a share of 1.
      regularisation: the C that cross-validation chose; None from scratch.
      test_images: how many there were.
    """

    method: str
    layer: str | None
    head: str | None
    per_class: int
    fold: int
    accuracy: float
    regularisation: float | None
    test_images: int

    @property
    def key(self) -> tuple[str, str | None, str | None, int, int]:
        """What the score is of: one folder has one score of each key."""
        return (self.method, self.layer, self.head, self.per_class, self.fold)


@dataclasses.dataclass(frozen=True)
class TransferScores:
    """The content of a folder; `provenance` by method."""

    study: Study
    provenance: dict[str, dict[str, Any]]
    scores: tuple[Score, ...]

    def keys(self) -> set[tuple[str, str | None, str | None, int, int]]:
        return {score.key for score in self.scores}


def folder_of(workdir: str | Path, data: str) -> Path:
    """Where the scores of a run on a data set lie."""
    return Path(workdir) / "analysis" / "transfer" / data


def class_mean_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes of the share of their images [T] that are answered rightly."""
    right = np.bincount(labels, weights=labels == predicted)
    count = np.bincount(labels)
    present = count > 0
    return float(np.mean(right[present] / count[present]))


def load(folder: Path) -> TransferScores:
    """Reads the scores of a folder.

    Raises:
      FileNotFoundError: there are none.
    """
    path = Path(folder) / "scores.json"
    if not path.exists():
        raise FileNotFoundError(f"no transfer scores in {path}: run python -m scripts.transfer")
    content = json.loads(path.read_text(encoding="utf-8"))
    study: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content["study"].items()
    }
    return TransferScores(
        Study(**study),
        content["provenance"],
        tuple(Score(**score) for score in content["scores"]),
    )


def begin(
    folder: Path,
    study: Study,
    method: str,
    provenance: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    replace: bool = False,
) -> TransferScores:
    """The scores that are there of this study, after a check that they may stand side by side.

    Args:
      folder: see `folder_of`.
      study: the data and folds.
      method: which of `METHODS` is to be added to.
      provenance: what is told of that method in scores.json.
      options: what decides its scores (checkpoint, grid, ...), kept with the provenance as
        'options'; scores of other options do not mix with new ones.
      replace: drop the method's scores of other options, such as those of an earlier checkpoint,
        in place of an error; those of other methods stay.

    Raises:
      ValueError: the folder holds scores of another study, or of the method with other options;
        names what differs.
    """
    if not replace:
        return _begun(folder, study, method, provenance, options, replace=False)
    with _alone(folder):  # written at once, so that a stop does not bring the old ones back
        scores = _begun(folder, study, method, provenance, options, replace=True)
        save(folder, scores)
    return scores


def _begun(
    folder: Path,
    study: Study,
    method: str,
    provenance: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    replace: bool,
) -> TransferScores:
    try:
        found = load(folder)
    except FileNotFoundError:
        found = TransferScores(study, {}, ())
    if differing := _differing(dataclasses.asdict(found.study), dataclasses.asdict(study)):
        raise ValueError(
            f"{folder} holds scores of another study: {'; '.join(differing)}. Remove that folder, "
            "or give the data another name"
        )
    kept = found.scores
    if method in found.provenance:
        there = found.provenance[method]["options"]
        differing = _differing(there, json.loads(json.dumps(dict(options))))
        if differing and not replace:
            raise ValueError(
                f"{folder} holds {method} scores made otherwise: {'; '.join(differing)}. "
                "--replace drops them"
            )
        if differing:
            kept = tuple(score for score in kept if score.method != method)
    merged = found.provenance | {method: {**provenance, "options": dict(options)}}
    return TransferScores(study, merged, kept)


def add(
    folder: Path,
    scores: TransferScores,
    score: Score,
    rows: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
) -> TransferScores:
    """Writes one more score and its answers; what the folder then holds.

    That includes what other processes have added meanwhile, such as nets from scratch.

    Args:
      folder: see `folder_of`.
      scores: of `begin`, or what the last `add` returned.
      score: one of the same key is replaced.
      rows, labels, predicted: [T], see the top of the module.
    """
    if score.method not in METHODS:
        raise ValueError(f"a score's method is one of {METHODS}, not {score.method!r}")
    answers = {"rows": rows, "labels": labels, "predicted": predicted}
    write_arrays(
        answers_path(folder, score),
        {name: np.asarray(array, np.int32) for name, array in answers.items()},
    )
    with _alone(folder):
        there = load(folder) if (folder / "scores.json").exists() else scores
        own = {score.method: scores.provenance[score.method]}
        others = tuple(one for one in there.scores if one.key != score.key)
        merged = TransferScores(scores.study, there.provenance | own, (*others, score))
        save(folder, merged)
    return merged


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process changes the scores of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with lock.waited_for(folder / "scores.lock"):
        yield


def save(folder: Path, scores: TransferScores) -> None:
    """Writes scores.json."""
    study = scores.study
    most = max((score.per_class for score in scores.scores), default=0)
    content = {
        "study": dataclasses.asdict(study),
        "classes": len(study.class_names),
        # Fewer test images than the others, at the largest number of training images.
        "small_classes": {
            name: count
            for name, count in zip(study.class_names, study.images)
            if count < most + study.test_per_class
        },
        "provenance": scores.provenance,
        "scores": [dataclasses.asdict(score) for score in scores.scores],
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_json(Path(folder) / "scores.json", content)


def answers_path(folder: Path, score: Score) -> Path:
    """Where the answers behind a score lie."""
    name = "-".join(str(part) for part in score.key if part is not None)
    return Path(folder) / "answers" / f"{name}.npz"


def _differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} is {_few(there.get(name))} there and {_few(here.get(name))} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]


def _few(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
