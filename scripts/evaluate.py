"""Evaluates trained nets, alone and together: errors, calibration, classes, confusion.

    python -m scripts.evaluate --workdir=DIR [--workdir=DIR ...]
    python -m scripts.evaluate --sweep=DIR [--split=train --crops=1 --noprobabilities]

Every image of the split counts once. The predictions of each run go to WORKDIR/analysis/evaluation/
as SPLIT-STEP-CROPS.npz, where the same command again and scripts.tables find them; its numbers
(.json) and the confusion of its classes (.png, .pdf) beside them. Several --workdir also are an
ensemble, the average of their probabilities; --out keeps it. --sweep evaluates every finished run
of a sweep's folder on its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from absl import flags

from zfnet_jax.command import inputs, processes, shell

if TYPE_CHECKING:
    from zfnet_jax.data.images import Split
    from zfnet_jax.runs.run import Run
    from zfnet_jax.studies.errors.predictions import Predictions
    from zfnet_jax.training.evaluation import Crops

_WORKDIRS = flags.DEFINE_multi_string("workdir", [], "Folder of a run; may be repeated.")
_SWEEP = flags.DEFINE_string("sweep", None, "Folder of a sweep, instead of --workdir.")
_SPLIT = flags.DEFINE_enum("split", "validation", ["train", "validation"], "Images to evaluate on.")
_CROPS = flags.DEFINE_enum(
    "crops", "10", ["1", "10"], "Crops whose probabilities are averaged; the paper's are 10."
)
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
_OUT = flags.DEFINE_string("out", None, "Folder for the ensemble, its numbers and its figure.")
_PREPARED = flags.DEFINE_string("prepared_dir", None, "Prepared images, if not the run's.")
_BATCH = flags.DEFINE_integer("batch_size", None, "Images per step; as the run evaluates.")
_PROBABILITIES = flags.DEFINE_bool(
    "probabilities", True, "Keep all probabilities, which only ensembles need."
)
_BINS = flags.DEFINE_integer("bins", 15, "Of the calibration error.", lower_bound=1)
_LEVEL = flags.DEFINE_float("level", 0.95, "Of the confidence intervals.")
_RESAMPLES = flags.DEFINE_integer("resamples", 10_000, "Of the bootstrap.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the bootstrap.", lower_bound=0)
_STYLE = flags.DEFINE_enum("style", "screen", ["screen", "paper"], "How the figure looks.")


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax

    processes.join()
    workdirs = _workdirs()
    found = _evaluate(workdirs)
    if parallel.is_writer():
        _report(workdirs, found)


def _workdirs() -> list[Path]:
    from zfnet_jax import parallel
    from zfnet_jax.sweep import status

    sweep = _SWEEP.value
    if bool(_WORKDIRS.value) == bool(sweep):
        raise ValueError("give either --workdir=DIR, once or more, or --sweep=DIR")
    if _OUT.value and len(_WORKDIRS.value) < 2:
        raise ValueError("--out is for an ensemble: give --workdir at least twice")
    if not sweep:
        return [Path(path) for path in _WORKDIRS.value]
    reasons = {path: status.unfinished(path) for path in status.runs_in(sweep)}
    for path, reason in reasons.items():
        if reason and parallel.is_writer():
            print(f"left out: {path} {reason}")
    finished = [path for path, reason in reasons.items() if not reason]
    if not finished:
        raise ValueError(f"no run in {sweep} is finished")
    return finished


def _evaluate(workdirs: Sequence[Path]) -> list[Predictions]:
    """The predictions of every run, with probabilities where they become an ensemble."""
    from zfnet_jax.studies.errors import evaluation, predictions

    together = len(_WORKDIRS.value) > 1
    opened: Iterable[Any] = map(_open, workdirs)  # one net in memory at a time
    if together:
        opened = list(opened)  # all must match before the first pass over the images
        predictions.check_ensemble([info for *_, info in opened])
    found = []
    for run, split, info in opened:
        one = evaluation.evaluate(
            run,
            split,
            info,
            batch_size=_BATCH.value or run.config.eval_batch_size,
            probabilities=_PROBABILITIES.value or together,
            progress=True,
        )
        found.append(one if together else dataclasses.replace(one, probabilities=None))
    return found


def _crops() -> Crops:
    return 10 if _CROPS.value == "10" else 1


def _open(workdir: Path) -> tuple[Run, Split, dict[str, Any]]:
    """A run, the images, and what predictions of the one on the other are made from."""
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.errors import evaluation

    run = open_run(workdir, _STEP.value)
    split = inputs.open_split(run, _SPLIT.value, _PREPARED.value)
    return run, split, evaluation.describe(run, split, _SPLIT.value, _crops())


def _report(workdirs: Sequence[Path], found: list[Predictions]) -> None:
    """Writes the numbers and figures of runs and ensemble, and prints tables of them."""
    from zfnet_jax.report.table import markdown
    from zfnet_jax.studies.errors import evaluation_table, predictions
    from zfnet_jax.studies.errors.bootstrap import interval
    from zfnet_jax.studies.errors.scores import scores
    from zfnet_jax.training.metrics import top_ks

    bootstrap = {"level": _LEVEL.value, "resamples": _RESAMPLES.value, "seed": _SEED.value}
    split, crops = _SPLIT.value, _crops()
    paths: list[Path | None] = [
        predictions.path_of(path, split, one.info["step"], crops)
        for path, one in zip(workdirs, found, strict=True)
    ]
    names = [one.info["run"] for one in found]
    if len(set(names)) < len(names):  # folders of one name
        names = [str(path) for path in workdirs]
    if len(_WORKDIRS.value) > 1:
        names.append(f"ensemble of {len(found)}")
        found = [*found, predictions.ensemble(found, names[-1])]
        out = Path(_OUT.value) / f"ensemble-{split}-{crops}.npz" if _OUT.value else None
        paths.append(out)
        if out:
            predictions.save(out, found[-1])
    scored = [scores(one, bins=_BINS.value, **bootstrap) for one in found]
    for path, one, score in zip(paths, found, scored, strict=True):
        if path:
            _write(path, one, score)
    print(f"{split}, {crops} crop{'s' * (crops > 1)} per image\n")
    tables = [evaluation_table.evaluation(names, scored)]
    if len(found) > 1:
        less_first = {
            f"top{k}": [
                interval(one.errors(k) - found[0].errors(k), **bootstrap) for one in found[1:]
            ]
            for k in top_ks(len(found[0].info["class_names"]))
        }
        tables.append(evaluation_table.differences(names[1:], names[0], less_first, _LEVEL.value))
    print(markdown(tables) + "\n")
    for path in filter(None, paths):
        print(path)


def _write(path: Path, one: Predictions, score: dict[str, Any]) -> None:
    """Beside predictions their numbers and the confusion of classes."""
    from zfnet_jax.files import write_json
    from zfnet_jax.report import figures
    from zfnet_jax.studies.errors.confusion import confusion
    from zfnet_jax.studies.errors.scores import confusion_matrix

    write_json(path.with_suffix(".json"), one.info | {"scores": score})
    style = cast("figures.Style", _STYLE.value)
    with figures.use(style):
        figure = confusion(confusion_matrix(one), one.info["class_names"])
    for kind in (".png", ".pdf"):
        figures.save(figure, path.with_name(f"{path.stem}-confusion{kind}"), style)


if __name__ == "__main__":
    shell.run(main)
