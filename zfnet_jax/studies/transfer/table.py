"""Tables 4 to 7 from what scripts.transfer, scripts.scratch and scripts.voc have left of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zfnet_jax import entry
from zfnet_jax.names import fit
from zfnet_jax.report.table import Cell, Column, Number, Table
from zfnet_jax.studies import paper
from zfnet_jax.studies.saved import Result
from zfnet_jax.studies.transfer import scores
from zfnet_jax.studies.transfer.accuracies import (
    PRETRAINED,
    SCRATCH,
    Source,
    accuracies,
    accuracies_of_layer,
)
from zfnet_jax.studies.transfer.scores import Scores

PAPER_FOLDS = 5

_CAPTIONS = {
    4: "Caltech-101: accuracy by training images per class (Table 4)",
    5: "Caltech-256: accuracy by training images per class (Table 5)",
    6: "PASCAL VOC 2012: average precision of each class (Table 6)",
    7: "Accuracy of classifiers on the features of each layer (Table 7)",
}
_ACCURACY = (
    "Accuracies are means over classes, then over folds; ± is here the deviation over the folds"
)
_ABOUT = {
    4: _ACCURACY,
    5: _ACCURACY,
    6: "The paper's numbers are of the test images, ours of the validation images",
    7: f"{_ACCURACY}; rows marked as extra are not in the paper",
}
_ITS_OWN = "the net has other layers than the paper's, whose numbers do not stand beside"
_OTHERS = "published by others, no net of this code"
_FORMAT = ".1f"
_HEADS = {"SVM": "svm", "Softmax": "softmax"}


class Measured(NamedTuple):
    """What a column is of."""

    data: str
    per_class: int


# In the order of the paper's rows; None where the paper quotes others.
ROWS: dict[int, tuple[Source | None, ...]] = {
    4: (None, None, SCRATCH, PRETRAINED),
    5: (None, None, SCRATCH, PRETRAINED),
    7: (
        *(Source("pretrained", layer, "svm") for layer in (1, 2, 3, 4, 5, 7)),
        *(Source("pretrained", layer, "softmax") for layer in (5, 7)),
    ),
}
COLUMNS: dict[int, tuple[Measured, ...]] = {
    4: tuple(Measured("caltech101", per_class) for per_class in (15, 30)),
    5: tuple(Measured("caltech256", per_class) for per_class in (15, 30, 45, 60)),
    7: (Measured("caltech101", 30), Measured("caltech256", 60)),
}


def transfer_table(number: int, workdir: Path, step: int | None = None) -> Table:
    """Table 4, 5, 6 or 7 of what lies in a run's folder.

    Args:
      step: of the checkpoint; the newest that was tried on these data if None.

    ValueError if what there is of VOC 2012 has other classes.
    """
    unread = scores.unread(workdir)
    if number == 6:
        return voc_table(*scores.of_voc(workdir, step), unread)
    data = tuple(dict.fromkeys(column.data for column in COLUMNS[number]))
    return caltech_table(number, scores.of_run(workdir, data, step), unread)


def caltech_table(number: int, found: Mapping[str, Scores], unread: str = "") -> Table:
    """Table 4, 5 or 7, the accuracies of a run's features beside the paper's.

    Args:
      found: scores by name of the data set, of those that were tried.
      unread: what to add where a data set was not tried; see `scores.unread`.
    """
    published, columns = paper.table(number), COLUMNS[number]
    rows: list[tuple[str | Cell, ...]] = []
    its_own = number == 7 and any(_has_other_layers(one) for one in found.values())
    if its_own:
        rows = _rows_of_layers(found, columns, unread, beyond=())
    else:
        for (label, theirs), source in zip(published.rows, ROWS[number], strict=True):
            pairs = zip(columns, theirs)
            ours = (_cell(found.get(c.data), source, c, of, unread) for c, of in pairs)
            rows.append((label, *ours))
        if number == 7:
            rows += _rows_of_layers(found, columns, unread, beyond=ROWS[7])
    most = {column.data: column.per_class for column in columns}  # the last of each is the largest
    setting = [
        line
        for data, per_class in most.items()
        if data in found
        for line in _setting(found[data], number, per_class)
    ]
    return Table(
        columns=(
            Column("Accuracy %"),
            *(
                Column(title, _FORMAT, ours=None if its_own else "here")
                for title in published.columns[1:]
            ),
        ),
        rows=tuple(rows),
        caption=_CAPTIONS[number],
        setting=_about(number, list(dict.fromkeys(setting)), its_own),
    )


def stand_in_table(number: int, found: Scores, counts: Sequence[int]) -> Table:
    """The rows of Table 4, 5 or 7 with the paper's numbers, and ours of another data set.

    Args:
      counts: training images per class, a column each.
    """
    if number == 7 and _has_other_layers(found):
        columns = [Measured(found.data, count) for count in counts]
        titles = [f"{found.data}, {count}/class" for count in counts]
        return Table(
            (Column("Accuracy %"), *(Column(title, _FORMAT) for title in titles)),
            tuple(_rows_of_layers({found.data: found}, columns, "", beyond=())),
            setting=f"{_ITS_OWN.capitalize()}.",
        )
    published = paper.table(number)
    theirs = [f"{title}, paper" for title in published.columns[1:]]
    ours = [f"{found.data}, {count}/class" for count in counts]
    rows = [
        (label, *cells, *(_mean(accuracies(found, source, count)) for count in counts))
        for (label, cells), source in zip(published.rows, ROWS[number], strict=True)
        if source is not None
    ]
    columns = (Column(title, _FORMAT) for title in (*theirs, *ours))
    return Table((Column(published.columns[0]), *columns), tuple(rows))


def voc_table(found: Result | None, notes: Sequence[str] = (), unread: str = "") -> Table:
    """Table 6, a run's average precisions beside the paper's.

    Args:
      found: of `studies.transfer.voc`; None if it was not run.
      notes: on what else there is.
      unread: see `caltech_table`.

    ValueError: it has other classes than the paper's.
    """
    published = paper.table(6)
    ours: list[float | None] = [None] * len(published.rows)
    reason, setting = f"{entry.typed('voc')} has not been run{unread}", []
    if found is not None:
        about = found.about
        ours, setting = [*about["average_precision"], about["mean"]], [*about["setting"], *notes]
        reason = "no image of the class"
        if len(ours) != len(published.rows):
            raise ValueError(
                f"Table 6 has the {len(published.rows) - 1} classes of VOC 2012, but"
                f" {found.folder} {len(ours) - 1}: it is of another data set"
            )
    *others, measured = published.columns[1:]
    assert measured == "Ours"
    rows = []
    for (label, (*quoted, theirs)), value in zip(published.rows, ours, strict=True):
        cell = Cell(None, theirs, reason) if value is None else Cell(100 * value, theirs)
        rows.append((label, *quoted, cell))
    columns = [Column("Average precision %"), *(Column(title, _FORMAT) for title in others)]
    columns.append(Column(measured, _FORMAT, ours="here, validation"))
    return Table(tuple(columns), tuple(rows), "", _CAPTIONS[6], _about(6, setting))


def _has_other_layers(found: Scores) -> bool:
    return bool(found.layers) and not paper.is_like(found.layers)


def _rows_of_layers(
    found: Mapping[str, Scores],
    columns: Sequence[Measured],
    unread: str,
    beyond: Sequence[Source | None],
) -> list[tuple[str | Cell, ...]]:
    """What was measured for the columns of Table 7, by the net's own layers.

    Args:
      beyond: the paper's rows, beside which those of other layers and heads are extra; none where
        the net has other layers than the paper's.
    """
    kinds = {
        (options["head"], options["layer"])
        for column in columns
        if column.data in found
        for one in found[column.data].pretrained
        if (options := one.about["options"])["per_class"] == column.per_class
    }
    number_of = {name: n for one in found.values() for n, name in one.layers.items()}
    known = {layer: name for one in found.values() for layer, name in one.origins.items()}
    rows: list[tuple[str | Cell, ...]] = []
    for title, head in _HEADS.items():
        layers = {layer for other, layer in kinds if other == head}
        for layer in sorted(layers, key=lambda name: (number_of.get(name, 99), name)):
            source = Source("pretrained", number_of.get(layer), head)
            if source in beyond:
                continue
            cells = []
            for column in columns:
                its, values = found.get(column.data), []
                if its is not None:
                    values = accuracies_of_layer(its, layer, head, column.per_class)
                cells.append(_measured(values, _not_run(its, column, unread), None))
            words = f"{layer}, {fit(known[layer])}" if layer in known else layer
            name = f"{number_of.get(layer, layer)}), extra" if beyond else f"{words})"
            rows.append((f"{title} ({name}", *cells))
    return rows


def _cell(
    found: Scores | None,
    source: Source | None,
    column: Measured,
    theirs: Number | None,
    unread: str,
) -> Cell:
    if source is None:
        return Cell(paper=theirs, reason=_OTHERS)
    reason = _not_run(found, column, unread)
    if found is None:
        return Cell(paper=theirs, reason=reason)
    if source.method == "scratch":
        reason = f"{entry.typed('scratch')} has not been run with {column.per_class} per class"
    return _measured(accuracies(found, source, column.per_class), reason, theirs)


def _not_run(found: Scores | None, column: Measured, unread: str) -> str:
    if found is None:
        return f"{entry.typed('transfer')} has not been run on {column.data}{unread}"
    return f"this layer and head have not been run with {column.per_class} per class"


def _measured(values: Sequence[float], reason: str, theirs: Number | None) -> Cell:
    """Accuracies of folds beside the paper's; the reason why there are none."""
    if not values:
        return Cell(paper=theirs, reason=reason)
    count = len(values)
    note = None if count == PAPER_FOLDS else f"{count} fold{'s' * (count > 1)}"
    return Cell(_mean(values), theirs, note=note)


def _mean(values: Sequence[float]) -> Number | None:
    """Mean and standard deviation, of one value none; None of no values."""
    if not values:
        return None
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Number(float(np.mean(values)), spread)


def _about(number: int, setting: Sequence[str], its_own: bool = False) -> str:
    about = f"{_ACCURACY}; {_ITS_OWN}" if its_own else _ABOUT[number]
    return f"{about}. Here: {'; '.join(setting) or 'nothing was measured'}."


def _setting(found: Scores, number: int, per_class: int) -> list[str]:
    """Lines on the data, and on the nets whose scores the table shows."""
    about, options = found.about, found.about["options"]
    names, images, most = about["class_names"], about["images"], options["test_per_class"]
    left_out = f"; left out: {', '.join(options['left_out'])}" if options["left_out"] else ""
    fewer = sum(count < per_class + most for count in images)
    at_most = f"at most {most} test images a class"
    if fewer:
        at_most += f", fewer for {fewer} of them at {per_class} training images"
    lines = [
        f"{found.data}: {len(names)} classes of {min(images)} to {max(images)} images, {at_most}, "
        f"folds of seed {options['seed']}{left_out}"
    ]
    if found.pretrained:
        net = found.pretrained[0].about
        which = found.pretrained[0].note or f"step {net['step']}"
        of_layer = "" if number == 7 else f", features of {found.layers[max(found.layers)]}"
        lines.append(f"pretrained: run {net['run']}, {which}{of_layer}")
    if found.scratch and number != 7:
        net = found.scratch[0].about
        lines.append(f"not pretrained: {net['epochs']} epochs by the recipe of {net['recipe_of']}")
    return [*lines, *found.notes]
