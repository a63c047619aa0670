"""Tables 4 to 7 from what scripts.transfer, scripts.scratch and scripts.voc have left of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zfnet_jax.studies import paper
from zfnet_jax.studies.transfer import scores as transfer_scores
from zfnet_jax.studies.transfer.scores import Score, TransferScores

Curve = dict[int, list[float]]

PAPER_FOLDS = 5
VOC = "voc2012"
VOC_FILE = "average_precision.json"

_OTHERS = "published by others, no net of this code"


class Source(NamedTuple):
    """What a row is of: the method, and of pretrained nets the layer (None: the last) and head."""

    method: str
    layer: int | None = None
    head: str | None = None


class Column(NamedTuple):
    """What a column is of."""

    data: str
    per_class: int


_HEADS = {"SVM": "svm", "Softmax": "softmax"}
_PRETRAINED = Source("pretrained", None, "softmax")
_SCRATCH = Source("scratch")

# In the order of the paper's rows; None where the paper quotes others.
ROWS: dict[int, tuple[Source | None, ...]] = {
    4: (None, None, _SCRATCH, _PRETRAINED),
    5: (None, None, _SCRATCH, _PRETRAINED),
    7: (
        *(Source("pretrained", layer, "svm") for layer in (1, 2, 3, 4, 5, 7)),
        *(Source("pretrained", layer, "softmax") for layer in (5, 7)),
    ),
}
COLUMNS: dict[int, tuple[Column, ...]] = {
    4: tuple(Column("caltech101", per_class) for per_class in (15, 30)),
    5: tuple(Column("caltech256", per_class) for per_class in (15, 30, 45, 60)),
    7: (Column("caltech101", 30), Column("caltech256", 60)),
}


def transfer_table(number: int, workdir: Path) -> dict[str, Any]:
    """A table of the paper with what a run's features gave beside it, as JSON values.

    Args:
      number: 4, 5, 6 or 7.
      workdir: folder of the run.

    Returns:
      'number'; 'columns', each 'title' and whether it is 'measured' here at all;
      'rows', each 'label', 'extra' (no row of the paper's), and 'cells', for each column 'paper'
      ([value, spread or None] per cent, or None), 'here' ([mean, standard deviation over folds or
      None] per cent, or None), 'reason' for None, and 'note';
      'setting': lines on what was measured.
    """
    return _voc_table(workdir) if number == 6 else _caltech_table(number, workdir)


def accuracies(found: TransferScores, source: Source, per_class: int) -> list[float]:
    """Per cent, of each fold that was run."""
    layer = None
    if source.method == "pretrained":
        outputs = _outputs(found)
        layer = outputs.get(max(outputs, default=0) if source.layer is None else source.layer, "")
    return _accuracies(found.scores, source.method, layer, source.head, per_class)


def _outputs(found: TransferScores) -> dict[int, str]:
    """The layers of the pretrained net by the paper's numbers, and what each ends with."""
    layers = found.provenance.get("pretrained", {"layers": {}})["layers"]
    return {int(number): name for number, name in layers.items()}


def curves(workdir: Path, data: Sequence[str] = ()) -> dict[str, dict[str, Curve]]:
    """Fig. 9: how the accuracies of Tables 4 and 5 rise with the number of training images.

    Args:
      workdir: folder of the run.
      data: names of data sets; all that there are scores of if empty.

    Returns:
      of each data set, of each method ('pretrained', 'scratch') that was run, the accuracies of
      the folds, per cent, by training images per class.

    Raises:
      FileNotFoundError: there are no scores.
      ValueError: there are none of the last layer with a softmax, nor from scratch.
    """
    root = transfer_scores.folder_of(workdir, "")
    names = data or sorted(path.parent.name for path in root.glob("*/scores.json"))
    if not names:
        raise FileNotFoundError(f"no transfer scores in {root}: run python -m scripts.transfer")
    return {name: _curves(transfer_scores.load(root / name)) for name in names}


def _curves(found: TransferScores) -> dict[str, Curve]:
    counts = sorted({score.per_class for score in found.scores})
    result = {}
    for source in (_PRETRAINED, _SCRATCH):
        curve = {count: accuracies(found, source, count) for count in counts}
        if curve := {count: values for count, values in curve.items() if values}:
            result[source.method] = curve
    if not result:
        raise ValueError(
            f"{found.study.data} has no scores of the last layer with a softmax, nor from scratch"
        )
    return result


def _accuracies(
    scores: Sequence[Score], method: str, layer: str | None, head: str | None, per_class: int
) -> list[float]:
    wanted = (method, layer, head, per_class)
    return [100 * one.accuracy for one in sorted(scores, key=_fold) if one.key[:4] == wanted]


def _fold(score: Score) -> int:
    return score.fold


def _caltech_table(number: int, workdir: Path) -> dict[str, Any]:
    published, columns, sources = paper.table(number), COLUMNS[number], ROWS[number]
    found = {column.data: _load(workdir, column.data) for column in columns}
    rows = []
    for (label, theirs), source in zip(published.rows, sources, strict=True):
        ours = [_cell(found[column.data], source, column) for column in columns]
        rows.append(_row(label, theirs, ours))
    if number == 7:
        rows += _extra_rows(found, columns)
    most = {column.data: column.per_class for column in columns}  # the last of each is the largest
    setting = [
        line for data, one in found.items() if one for line in _setting(one, number, most[data])
    ]
    return {
        "number": number,
        "columns": [{"title": title, "measured": True} for title in published.columns[1:]],
        "rows": rows,
        "setting": list(dict.fromkeys(setting)),
    }


def _voc_table(workdir: Path) -> dict[str, Any]:
    published = paper.table(6)
    path = transfer_scores.folder_of(workdir, VOC) / VOC_FILE
    ours: list[float | None] = [None] * len(published.rows)
    reason, setting = "python -m scripts.voc has not been run", []
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        ours = [*found["average_precision"], found["mean"]]
        if len(ours) != len(published.rows):
            raise ValueError(
                f"Table 6 has the {len(published.rows) - 1} classes of VOC 2012, but {path} "
                f"{len(ours) - 1}: it is of another data set"
            )
        reason = "no image of the class"
        setting = found["setting"]
    measured = published.columns.index("Ours") - 1
    rows = []
    for (label, theirs), value in zip(published.rows, ours, strict=True):
        cells = [_nothing(_OTHERS) for _ in theirs]
        cells[measured] = (
            _nothing(reason)
            if value is None
            else {"here": [100 * value, None], "reason": None, "note": None}
        )
        rows.append(_row(label, theirs, cells))
    return {
        "number": 6,
        "columns": [
            {"title": title, "measured": place == measured}
            for place, title in enumerate(published.columns[1:])
        ],
        "rows": rows,
        "setting": setting,
    }


def _row(
    label: str, theirs: Sequence[paper.Cell | None], ours: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    cells = [
        {"paper": None if one is None else list(one), **here}
        for one, here in zip(theirs, ours, strict=True)
    ]
    return {"label": label, "extra": False, "cells": cells}


def _extra_rows(
    found: dict[str, TransferScores | None], columns: Sequence[Column]
) -> list[dict[str, Any]]:
    """What was measured for the columns beyond the paper's rows of Table 7."""
    kinds = {
        (score.head, score.layer)
        for column in columns
        if (scores := found[column.data])
        for score in scores.scores
        if score.method == "pretrained" and score.per_class == column.per_class
        if score.layer is not None
    }
    number_of = {name: n for one in found.values() if one for n, name in _outputs(one).items()}
    rows = []
    for title, head in _HEADS.items():
        layers = {layer for other, layer in kinds if other == head}
        for layer in sorted(layers, key=lambda name: (number_of.get(name, 99), name)):
            if Source("pretrained", number_of.get(layer), head) in ROWS[7]:
                continue
            cells = []
            for column in columns:
                scores = found[column.data]
                values = (
                    _accuracies(scores.scores, "pretrained", layer, head, column.per_class)
                    if scores
                    else []
                )
                cells.append({"paper": None, **_measured(values, _not_run(scores, column))})
            name = f"{title} ({number_of.get(layer, layer)})"
            rows.append({"label": name, "extra": True, "cells": cells})
    return rows


def _cell(found: TransferScores | None, source: Source | None, column: Column) -> dict[str, Any]:
    if source is None:
        return _nothing(_OTHERS)
    reason = _not_run(found, column)
    if found is None:
        return _nothing(reason)
    if source.method == "scratch":
        reason = f"python -m scripts.scratch has not been run with {column.per_class} per class"
    return _measured(accuracies(found, source, column.per_class), reason)


def _not_run(found: TransferScores | None, column: Column) -> str:
    if found is None:
        return f"python -m scripts.transfer has not been run on {column.data}"
    return f"this layer and head have not been run with {column.per_class} per class"


def _measured(values: Sequence[float], reason: str) -> dict[str, Any]:
    if not values:
        return _nothing(reason)
    count = len(values)
    note = None if count == PAPER_FOLDS else f"{count} fold{'s' * (count > 1)}"
    spread = float(np.std(values, ddof=1)) if count > 1 else None
    return {"here": [float(np.mean(values)), spread], "reason": None, "note": note}


def _nothing(reason: str) -> dict[str, Any]:
    return {"here": None, "reason": reason, "note": None}


def _load(workdir: Path, data: str) -> TransferScores | None:
    try:
        return transfer_scores.load(transfer_scores.folder_of(workdir, data))
    except FileNotFoundError:
        return None


def _setting(found: TransferScores, number: int, per_class: int) -> list[str]:
    """Lines on the data, and on the nets whose scores the table shows."""
    study = found.study
    left_out = f"; left out: {', '.join(study.left_out)}" if study.left_out else ""
    fewer = sum(count < per_class + study.test_per_class for count in study.images)
    at_most = f"at most {study.test_per_class} test images a class"
    if fewer:
        at_most += f", fewer for {fewer} of them at {per_class} training images"
    lines = [
        f"{study.data}: {len(study.class_names)} classes of {min(study.images)} to "
        f"{max(study.images)} images, {at_most}, folds of seed {study.seed}{left_out}"
    ]
    made = found.provenance
    if "pretrained" in made:
        net = made["pretrained"]
        outputs = _outputs(found)
        of_layer = "" if number == 7 else f", features of {outputs[max(outputs)]}"
        lines.append(f"pretrained: run {net['run']}, step {net['step']}{of_layer}")
    if "scratch" in made and number != 7:
        scratch = made["scratch"]
        lines.append(
            f"not pretrained: {scratch['epochs']} epochs by the recipe of {scratch['run']}"
        )
    return lines
