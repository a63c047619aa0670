"""Tables 4 to 7 and Fig. 9 from made-up scores: numbers, dashes with reasons, curves."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import start_script
from zfnet_jax.files import write_json
from zfnet_jax.report.table import Cell, Number, Table, csv_text, latex, markdown
from zfnet_jax.studies import paper
from zfnet_jax.studies.transfer import scores
from zfnet_jax.studies.transfer.accuracies import curves
from zfnet_jax.studies.transfer.figure import figure9
from zfnet_jax.studies.transfer.table import COLUMNS, ROWS, stand_in_table, transfer_table

OUTPUTS = {"1": "norm1", "2": "norm2", "5": "pool5", "7": "fc7"}
CLUTTER = "BACKGROUND_Google"
ABOUT = {
    "run": "a_run",
    "step": 70,
    "recipe_of": "a_run",
    "epochs": 7,
    "layers": OUTPUTS,
    "weights": "w",
    "class_names": ["ant", "bass"],
    "images": [31, 80],
    "test_images": 50,
    "regularisation": 1.0,
    "data": {"fingerprint": "f"},
}
OPTIONS = {
    "left_out": [CLUTTER],
    "test_per_class": 50,
    "seed": 0,
    "cv_folds": 3,
    "tolerance": 1e-4,
}
GRIDS = {"svm": [0.01, 0.1, 1.0, 10.0], "softmax": [1.0, 10.0, 100.0, 1e3, 1e4]}


def accuracy(layer: str | None, per_class: int, fold: int) -> float:
    return 0.1 * int(layer[-1] if layer else 1) + per_class / 1000 + fold / 10_000


def save(
    workdir: Path,
    layer: str | None,
    head: str | None,
    per_class: int,
    fold: int,
    value: float,
    *,
    data: str = "caltech101",
    finished: str = "2026-01-01",
    options: dict | None = None,
    recipe: str = "r",
    **about: object,
) -> None:
    """Leaves a score as `study` (or `scratch`, without layer and head) does."""
    of = OPTIONS | {"data": data, "per_class": per_class, "fold": fold}
    if head:
        of |= {"layer": layer, "head": head, "grid": GRIDS[head]}
    content = ABOUT | {
        "study": "transfer",
        "method": "pretrained" if head else "scratch",
        "options": of | (options or {}),
        "accuracy": value,
        "finished": finished,
        "data": {"fingerprint": "f", "recipe": recipe},
    }
    root = workdir / "studies" / "transfer"
    folder = root / f"{data}-{len(list(root.glob('*')))}"
    folder.mkdir(parents=True)
    write_json(folder / "about.json", content | about)


@pytest.fixture
def workdir(tmp_path) -> Path:
    """Scores of Caltech-101: of the paper's, an extra layer and one more activation of layer 5."""
    kinds = [
        *((layer, "svm") for layer in ("norm1", "pool5", "conv5", "fc7")),
        *((layer, "softmax") for layer in ("norm1", "pool5", "fc7")),
        (None, None),
    ]
    for layer, head in kinds:
        for per_class in (15, 30):
            for fold in range(3 if layer == "pool5" else 5 if layer else 1):
                save(tmp_path, layer, head, per_class, fold, accuracy(layer, per_class, fold))
    return tmp_path


def cells(table: Table, label: str) -> list[Cell]:
    (found,) = (row[1:] for row in table.rows if row[0] == label)
    return [cell for cell in found if isinstance(cell, Cell)]


@pytest.mark.parametrize("number", [4, 5, 7])
def test_rows_and_columns_are_the_papers(number):
    published = paper.table(number)
    for (label, _), source in zip(published.rows, ROWS[number], strict=True):
        if number == 7:
            heads = {"svm": "SVM", "softmax": "Softmax"}
            assert label == f"{heads[source.head]} ({source.layer})"
        else:
            words = {"Non-pretr": "scratch", "ImageNet-pretr": "pretrained"}
            expected = [method for start, method in words.items() if label.startswith(start)]
            assert expected == ([source.method] if source else [])
    for title, column in zip(published.columns[1:], COLUMNS[number], strict=True):
        assert str(column.per_class) in title


def test_numbers_are_means_and_deviations_over_folds(workdir):
    table = transfer_table(4, workdir)
    pretrained = cells(table, "ImageNet-pretrained convnet")
    for cell, per_class, theirs in zip(pretrained, (15, 30), (83.8, 86.5)):
        values = [100 * accuracy("fc7", per_class, fold) for fold in range(5)]
        here = Number(pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
        assert cell == Cell(here, Number(theirs, 0.5))
    scratch = cells(table, "Non-pretrained convnet")[0]
    assert scratch == Cell(Number(pytest.approx(11.5)), Number(22.8, 1.5), note="1 fold")
    text = markdown([table])
    assert "| ImageNet-pretrained convnet | 83.8 ± 0.5 | 71.5 ± 0.0 | 86.5 ± 0.5 |" in text
    assert (
        "2 classes of 31 to 80 images, at most 50 test images a class, fewer for 1 of them at 30 "
        "training images, folds of seed 0; left out: BACKGROUND_Google; pretrained" in text
    )
    assert "not pretrained: 7 epochs by the recipe of a_run" in text
    assert "pretrained: run a_run, step 70, features of fc7" in text


def test_table_7_has_the_papers_rows_then_the_extra_ones(workdir):
    table = transfer_table(7, workdir)
    labels = [row[0] for row in table.rows]
    published = [label for label, _ in paper.table(7).rows]
    assert labels == [*published, "SVM (conv5), extra", "Softmax (1), extra"]
    assert cells(table, "SVM (5)")[0].note == "3 folds"  # of pool5, what layer 5 ends with
    first, second = cells(table, "Softmax (1), extra")
    values = [100 * accuracy("norm1", 30, fold) for fold in range(5)]
    assert first == Cell(Number(pytest.approx(13.02), pytest.approx(np.std(values, ddof=1))))
    assert second == Cell(reason="python -m scripts.transfer has not been run on caltech256")
    assert "| Softmax (1), extra | - | 13.0 ± 0.0 | - | - (" in markdown([table])
    assert cells(table, "SVM (2)")[0].reason.startswith("this layer and head have not been run")


def test_a_net_of_other_layers_has_rows_of_its_own(tmp_path):
    """A net of three conv layers had its fc4 beside the paper's conv4."""
    outputs = {"1": "pool1", "2": "conv2", "3": "pool3", "4": "fc4", "10": "fc10"}
    for layer in ("pool1", "pool3", "fc4", "fc10"):
        save(tmp_path, layer, "svm", 30, 0, accuracy(layer, 30, 0), layers=outputs)
    table = transfer_table(7, tmp_path)
    names = ["SVM (pool1)", "SVM (pool3)", "SVM (fc4)", "SVM (fc10)"]
    assert [row[0] for row in table.rows] == names
    assert not [cell for row in table.rows for cell in row[1:] if cell.paper is not None]
    assert cells(table, "SVM (fc4)")[0].here == Number(pytest.approx(43.0))
    assert "the net has other layers than the paper's" in table.setting
    assert "| SVM (fc4) | 43.0 (1) | - (2) |" in markdown([table])
    alone = stand_in_table(7, scores.of_run(tmp_path)["caltech101"], (30,))
    assert [row[0] for row in alone.rows] == names


@pytest.mark.parametrize(
    ("outputs", "alike"),
    [
        ({1: "norm1", 2: "norm2", 3: "conv3", 4: "conv4", 5: "pool5", 6: "fc6", 7: "fc7"}, True),
        ({1: "norm1", 2: "norm2", 5: "pool5", 6: "fc6"}, True),  # rows of Table 3
        ({1: "pool1", 2: "pool2", 3: "pool3", 4: "fc4", 5: "fc5"}, False),
        ({**{n: f"conv{n}" for n in range(1, 13)}, 13: "pool13", 14: "fc14"}, False),
        ({}, False),
    ],
)
def test_only_nets_of_the_papers_layers_are_set_beside_it(outputs, alike):
    assert paper.is_like(outputs) == alike


def test_another_data_set_stands_beside_the_papers_rows_of_its_own_nets(workdir):
    found = scores.of_run(workdir)["caltech101"]
    text = markdown([stand_in_table(4, found, (30, 60))])
    assert text.splitlines() == [
        "| # Train | Acc % 15/class, paper | Acc % 30/class, paper | caltech101, 30/class "
        "| caltech101, 60/class |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| Non-pretrained convnet | 22.8 ± 1.5 | 46.5 ± 1.7 | 13.0 | - |",
        "| ImageNet-pretrained convnet | 83.8 ± 0.5 | 86.5 ± 0.5 | 73.0 ± 0.0 | - |",
    ]


@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_nothing_is_made_up_where_nothing_was_run(number, tmp_path):
    table = transfer_table(number, tmp_path)
    for row in table.rows:
        for cell in cells(table, str(row[0])):
            assert cell.here is None
            assert cell.reason
    text = markdown([table])
    assert "nothing was measured" in text
    last = [line.split("|")[-2] for line in text.splitlines() if line.startswith("| ")][1:]
    assert all(re.fullmatch(r" (---:|- \(\d+\)) ", cell) for cell in last)


def save_voc(workdir: Path, *, finished: str = "2026-01-01", **about: object) -> None:
    """Leaves a result as `voc` does, of the default options unless others are given."""
    options = {"layer": "fc7", "grid": [0.1, 1, 10, 100, 1000], "cv_folds": 3}
    options |= {"tolerance": 1e-3, "seed": 0}
    folder = workdir / "studies" / "voc" / f"voc-{finished}"
    folder.mkdir(parents=True)
    content = ABOUT | {"study": "voc", "options": options, "finished": finished}
    content |= {"setting": ["run a_run, step 70"]}
    write_json(folder / "about.json", content | {"average_precision": [0.5] * 20} | about)


def test_table_6_is_of_validation_images(tmp_path):
    values = [place / 100 for place in range(20)]
    values[3] = None
    save_voc(tmp_path, average_precision=values, mean=0.5)
    table = transfer_table(6, tmp_path)
    text = markdown([table])
    header = next(line for line in text.splitlines() if line.startswith("| Average"))
    assert header.endswith("| Oquab (ECCV only) | Ours, paper | here, validation |")
    assert "| Bicycle | 74.2 | 84.2 | 82.9 | 77.1 | 1.0 |" in text
    assert "| Boat | 77.5 | 85.3 | 60.3 | 85.5 | - (1) |" in text
    assert "| Mean | 74.3 | 82.2 | 82.8 | 79.0 | 50.0 |" in text
    assert "(1) no image of the class" in text
    assert "ours of the validation images" in text
    # Those of other options, even if newer, are told of; those of a newer checkpoint count.
    other = {"layer": "norm2", "grid": [1.0], "cv_folds": 3, "tolerance": 1e-3, "seed": 0}
    save_voc(tmp_path, finished="2026-01-02", mean=0.9, options=other)
    again = markdown([transfer_table(6, tmp_path)])
    assert "| Mean | 74.3 | 82.2 | 82.8 | 79.0 | 50.0 |" in again
    assert "not shown: average precisions of grid 1, layer norm2" in again
    save_voc(tmp_path, finished="2026-01-03", mean=0.7, step=90)
    newest = markdown([transfer_table(6, tmp_path)])
    assert "79.0 | 70.0 |" in newest
    assert "not shown: average precisions of step 70" in newest
    assert "79.0 | 50.0 |" in markdown([transfer_table(6, tmp_path, 70)])


def test_csv_and_latex_hold_the_same(workdir):
    table = transfer_table(4, workdir)
    rows = {row["Accuracy %"]: row for row in csv.DictReader(io.StringIO(csv_text(table)))}
    row = rows["ImageNet-pretrained convnet"]
    here = cells(table, "ImageNet-pretrained convnet")[0].here
    value, spread, theirs = (
        float(row[f"Acc % 15/class {field}"]) for field in ("here", "spread", "paper")
    )
    assert (Number(value, spread), theirs) == (here, 83.8)
    assert rows["Bo et al. 2013"]["Acc % 15/class paper"] == ""
    text = latex([table])
    assert r"ImageNet-pretrained convnet & 83.8 $\pm$ 0.5 & 71.5 $\pm$ 0.0 &" in text
    assert not re.search(r"(?<!\\)[%#_]|±", text.split("\n", 1)[1])


def test_figure_9_draws_what_was_run_beside_the_published(workdir):
    found = curves(scores.of_run(workdir))
    assert found == curves(scores.of_run(workdir, ["caltech101", "caltech256"]))
    axis = figure9(found).axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    expected = [[n, np.mean([100 * accuracy("fc7", n, f) for f in range(5)])] for n in (15, 30)]
    np.testing.assert_allclose(lines["caltech101, pretrained"], expected)
    assert list(lines["caltech101, from scratch"][:, 0]) == [15, 30]
    assert [60, 74.2] in lines["Caltech-256, paper, pretrained"].tolist()
    assert [15, 40.5] in lines["Caltech-256, Bo et al. 2013"].tolist()
    assert [30, 86.5] in lines["Caltech-101, paper, pretrained"].tolist()
    assert scores.of_run(workdir / "other") == {}
    save(workdir, "conv5", "svm", 15, 0, 0.5, data="mine")
    with pytest.raises(ValueError, match="mine has no scores of the last layer with a softmax"):
        curves(scores.of_run(workdir))


def here(workdir: Path, row: str, step: int | None = None) -> list[float | None]:
    """Our accuracies in a row of Table 4."""
    found = (cell.here for cell in cells(transfer_table(4, workdir, step), row))
    return [None if value is None else round(value.value, 3) for value in found]


PRETRAINED, SCRATCH = "ImageNet-pretrained convnet", "Non-pretrained convnet"


def test_the_newest_checkpoint_that_has_scores_counts_or_the_one_asked_for(workdir):
    save(workdir, "fc7", "softmax", 15, 0, 0.9, step=90, finished="2025-01-01", weights="v")
    assert here(workdir, PRETRAINED) == [90, None]
    assert here(workdir, SCRATCH) == [11.5, 13]  # of no checkpoint
    assert here(workdir, PRETRAINED, 70) == [71.52, 73.02]
    assert here(workdir, PRETRAINED, 80) == [None, None]
    assert "step 90" in markdown([transfer_table(4, workdir)])


def test_each_data_set_has_the_newest_checkpoint_that_was_tried_on_it(workdir):
    for step in (70, 90):
        save(workdir, "fc7", "softmax", 60, 0, step / 100, data="caltech256", step=step)
    found = scores.of_run(workdir)
    steps = {name: {one.about["step"] for one in its.pretrained} for name, its in found.items()}
    assert steps == {"caltech101": {70}, "caltech256": {90}}
    assert found["caltech101"].notes == (
        "caltech101: the scores are of step 70, others' of step 90",
    )
    assert found["caltech256"].notes == ("not shown: caltech256, scores of step 70",)
    assert set(curves(found)) == {"caltech101", "caltech256"}
    first, second = cells(transfer_table(7, workdir), "Softmax (7)")
    assert (round(first.here.value, 2), second.here.value) == (73.02, 90)
    asked = scores.of_run(workdir, step=70)  # nothing is left out of what was asked for
    assert [one.notes for one in asked.values()] == [(), ()]


def test_results_of_earlier_versions_are_told_of_where_nothing_was_run(tmp_path):
    words = "not been run{}; results of earlier versions, in analysis/transfer, are not read"
    assert "earlier" not in markdown([transfer_table(4, tmp_path)])
    (tmp_path / "analysis" / "transfer" / "caltech101").mkdir(parents=True)
    for number, of in ((4, " on caltech101"), (7, " on caltech256"), (6, "")):
        assert words.format(of) in markdown([transfer_table(number, tmp_path)])
    out = tmp_path / "out"
    process = start_script("figures", "--figure=9", f"--workdir={tmp_path}", f"--out={out}")
    assert "run python -m scripts.transfer; results of earlier versions" in process.communicate()[1]
    save(tmp_path, "fc7", "softmax", 30, 0, 0.5)
    assert "earlier" not in markdown([transfer_table(4, tmp_path)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1}, "not shown: caltech101, scores of seed 1"),
        ({"left_out": [CLUTTER, "ant"]}, "not shown: caltech101, scores of leave_out ant"),
        ({"cv_folds": 5}, "not shown: caltech101, softmax scores of cv_folds 5"),
        ({"grid": [1.0, 2.5]}, "not shown: caltech101, softmax scores of softmax_grid 1 2.5"),
    ],
)
def test_scores_of_the_defaults_count_and_others_are_told_of(workdir, options, words):
    before = here(workdir, PRETRAINED)
    save(workdir, "fc7", "softmax", 15, 0, 0.9, options=options, finished="2026-02-01")
    assert here(workdir, PRETRAINED) == before
    assert words in markdown([transfer_table(4, workdir)])
    assert words in scores.of_run(workdir)["caltech101"].notes[0]


def test_where_no_scores_are_of_the_defaults_the_newest_set_counts(tmp_path):
    for seed, value, finished in ((1, 0.3, "2026-01-02"), (2, 0.4, "2026-01-03"), (1, 0.5, "2026")):
        options = {"seed": seed}
        fold = int(value == 0.5)
        save(tmp_path, "fc7", "softmax", 15, fold, value, options=options, finished=finished)
        save(tmp_path, None, None, 15, 0, value / 2, options=options, finished=finished)
    assert here(tmp_path, PRETRAINED) == [40, None]
    assert here(tmp_path, SCRATCH) == [20, None]  # of the same folds
    text = markdown([transfer_table(4, tmp_path)])
    assert "folds of seed 2" in text
    assert "not shown: caltech101, scores of seed 1" in text


def test_nets_from_scratch_of_the_newest_recipe_count(workdir):
    save(workdir, None, None, 15, 0, 0.2, finished="2027", epochs=9, recipe="another")
    assert here(workdir, SCRATCH) == [20, None]
    text = markdown([transfer_table(4, workdir)])
    assert "not pretrained: 9 epochs by the recipe of a_run" in text
    assert "not shown: caltech101, scores from scratch of epochs 7, recipe r" in text
