"""Runs, alone and together, summed up: their scores, tables of them, and what lies beside."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zfnet_jax.data.folders import few
from zfnet_jax.files import whole_folder, write_json
from zfnet_jax.report import figures
from zfnet_jax.report.figures import Style
from zfnet_jax.report.table import Table
from zfnet_jax.runs import titles
from zfnet_jax.runs.steps import Which
from zfnet_jax.studies import saved
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.errors import predictions, score_table, study
from zfnet_jax.studies.errors.confusion import confusion
from zfnet_jax.studies.errors.options import Intervals, Options, ScoreOptions
from zfnet_jax.studies.errors.predictions import Predictions
from zfnet_jax.studies.errors.scores import confusion_matrix, scores
from zfnet_jax.studies.intervals import difference
from zfnet_jax.studies.options import identity
from zfnet_jax.studies.saved import Result
from zfnet_jax.training.metrics import top_ks

ENSEMBLE = "ensemble"  # what a kept one says it is: predictions, but of no run


@dataclasses.dataclass(frozen=True)
class Scored:
    """A run, or an ensemble, by its name.

    Attributes:
      class_titles: what to show of the classes; see `data.titles`.
      scores: see `scores.scores`.
      folder: where the predictions lie; None of an ensemble that is not kept.
      note: which checkpoint, if not the run's newest.
    """

    name: str
    predictions: Predictions
    class_titles: tuple[str, ...]
    scores: dict[str, Any]
    folder: Path | None
    note: str = ""


def predicted(
    workdirs: Sequence[Path],
    options: Options,
    *,
    together: bool,
    step: Which | None = None,
    prepared_dir: str = "",
    batch_size: int | None = None,
) -> list[Result]:
    """The predictions of runs: see `study.predicted`.

    Args:
      workdirs: the runs' folders.
      options: see there.
      together: whether they become an ensemble: all must match before the first pass over the
        images, and their probabilities are kept.
      step, prepared_dir: see `Context`.
      batch_size: as each run evaluates if None.

    Raises:
      ValueError: see `study.predicted`, `predictions.check_ensemble`.
    """
    split = options.split
    contexts: Iterable[Context] = (Context(path, step, prepared_dir) for path in workdirs)
    if together:
        contexts = list(contexts)
        predictions.check_ensemble(
            [study.describe(one.run, one.split(split), options) for one in contexts]
        )
        options = dataclasses.replace(options, probabilities=True)
    return [
        study.predicted(
            one.run,
            one.split(split),
            options,
            batch_size=batch_size,
            prepared_dir=prepared_dir,
            progress=True,
        )
        for one in contexts  # one net in memory at a time, unless they are together
    ]


def scored(
    workdirs: Sequence[Path], results: Sequence[Result], options: ScoreOptions
) -> list[Scored]:
    """The predictions of each run and its scores, by its name, or its folder where two share it."""
    found = [predictions.of_result(result) for result in results]
    names = [str(one.info["run"]) for one in found]
    if len(set(names)) < len(names):
        names = [str(path) for path in workdirs]
    return [
        Scored(
            name,
            one,
            titles.of_classes(workdir, one.info["class_names"]),
            scores(one, options),
            result.folder,
            result.note,
        )
        for name, one, workdir, result in zip(names, found, workdirs, results, strict=True)
    ]


def ensemble(members: Sequence[Scored], options: ScoreOptions, out: Path | None) -> Scored:
    """The average of the members' probabilities, kept in a folder of its own in `out`, if any.

    ValueError: see `predictions.ensemble`.
    """
    name = f"ensemble of {len(members)}"
    found, folder = predictions.ensemble([one.predictions for one in members], name), None
    if out is not None:
        words = f"{name} {found.info['split']} {predictions.crops_text(found.info['crops'])}"
        folder = out / f"{words.replace(' ', '_')}-{saved.digest_of(found.identity)}"
        with whole_folder(folder) as unfinished:
            predictions.write(unfinished, found.arrays)
            about = {
                "study": ENSEMBLE,
                "step": None,  # the members have one each
                "finished": time.strftime("%Y-%m-%dT%H:%M:%S"),
            }
            write_json(unfinished / "about.json", about | found.info)
    return Scored(name, found, members[0].class_titles, scores(found, options), folder)


def classes_without_images(one: Scored) -> str:
    """A line on the net's classes that no image is of; empty where there is none."""
    names = [name for name, share in one.scores["per_class"].items() if share is None]
    if not names:
        return ""
    of = len(one.predictions.info["class_names"])
    return f"no image is of {len(names)} of the net's {of} classes: {few(names)}"


def tables(rows: Sequence[Scored], options: Intervals) -> list[Table]:
    """The scores, and of several rows how each differs from the first, image by image."""
    first, *others = rows
    result = [score_table.of_runs([one.name for one in rows], [one.scores for one in rows])]
    if others:
        less_first = {
            f"top{k}": [
                difference(
                    one.predictions.errors(k),
                    first.predictions.errors(k),
                    options.level,
                    comparisons=len(others),
                )
                for one in others
            ]
            for k in top_ks(len(first.predictions.info["class_names"]))
        }
        names = [one.name for one in others]
        result.append(score_table.differences(names, first.name, less_first, options.level))
    return result


def write_scores(one: Scored, options: ScoreOptions) -> list[Path]:
    """Writes the scores beside the predictions, if those are kept."""
    if one.folder is None:
        return []
    path = one.folder / f"scores-{saved.digest_of(identity(options))}.json"
    write_json(path, one.scores)
    return [path]


def draw_confusion(one: Scored, style: Style) -> list[Path]:
    """Draws the confusion of classes beside the predictions, if those are kept."""
    if one.folder is None:
        return []
    matrix = confusion_matrix(one.predictions)
    path = one.folder / "confusion"
    return figures.draw(lambda: confusion(matrix, one.class_titles), path, style, one.note)
