"""Tables 4 to 7 and Fig. 9 from made-up scores: numbers, dashes with reasons, curves."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from zfnet_jax.files import write_json
from zfnet_jax.report.table import Cell, Number, Table, csv_text, latex, markdown
from zfnet_jax.studies import paper
from zfnet_jax.studies.transfer import scores as transfer_scores
from zfnet_jax.studies.transfer.accuracies import curves
from zfnet_jax.studies.transfer.figure import figure9
from zfnet_jax.studies.transfer.scores import Score, Study, TransferScores
from zfnet_jax.studies.transfer.table import (
    COLUMNS,
    ROWS,
    VOC,
    VOC_FILE,
    stand_in_table,
    transfer_table,
)

OUTPUTS = {"1": "norm1", "2": "norm2", "5": "pool5", "7": "fc7"}
RUN = {"run": "a_run", "step": 70, "epochs": 7, "layers": OUTPUTS}


def accuracy(layer: str | None, per_class: int, fold: int) -> float:
    return 0.1 * int(layer[-1] if layer else 1) + per_class / 1000 + fold / 10_000


@pytest.fixture
def workdir(tmp_path) -> Path:
    """Scores of Caltech-101: of the paper's, an extra layer and one more activation of layer 5."""
    kinds = [
        *(("pretrained", layer, "svm") for layer in ("norm1", "pool5", "conv5", "fc7")),
        *(("pretrained", layer, "softmax") for layer in ("norm1", "pool5", "fc7")),
        ("scratch", None, None),
    ]
    scores = []
    for method, layer, head in kinds:
        for per_class in (15, 30):
            for fold in range(3 if layer == "pool5" else 1 if method == "scratch" else 5):
                value = accuracy(layer, per_class, fold)
                scores.append(Score(method, layer, head, per_class, fold, value, 1.0, 50))
    study = Study("caltech101", "f", ("ant", "bass"), (31, 80), ("BACKGROUND_Google",), 50, 0)
    made = {method: RUN | {"options": {}} for method in transfer_scores.METHODS}
    folder = transfer_scores.folder_of(tmp_path, "caltech101")
    transfer_scores.save(folder, TransferScores(study, made, tuple(scores)))
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


def test_another_data_set_stands_beside_the_papers_rows_of_its_own_nets(workdir):
    found = transfer_scores.load(transfer_scores.folder_of(workdir, "caltech101"))
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


def test_table_6_is_of_validation_images(tmp_path):
    values = [place / 100 for place in range(20)]
    values[3] = None
    folder = transfer_scores.folder_of(tmp_path, VOC)
    folder.mkdir(parents=True)
    found = {"average_precision": values, "mean": 0.5, "setting": ["run a_run, step 70"]}
    write_json(folder / VOC_FILE, found)
    table = transfer_table(6, tmp_path)
    text = markdown([table])
    header = next(line for line in text.splitlines() if line.startswith("| Average"))
    assert header.endswith("| Oquab (ECCV only) | Ours, paper | here, validation |")
    assert "| Bicycle | 74.2 | 84.2 | 82.9 | 77.1 | 1.0 |" in text
    assert "| Boat | 77.5 | 85.3 | 60.3 | 85.5 | - (1) |" in text
    assert "| Mean | 74.3 | 82.2 | 82.8 | 79.0 | 50.0 |" in text
    assert "(1) no image of the class" in text
    assert "ours of the validation images" in text


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
    found = curves(workdir)
    assert found == curves(workdir, ["caltech101"])
    axis = figure9(found).axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    expected = [[n, np.mean([100 * accuracy("fc7", n, f) for f in range(5)])] for n in (15, 30)]
    np.testing.assert_allclose(lines["caltech101, pretrained"], expected)
    assert list(lines["caltech101, from scratch"][:, 0]) == [15, 30]
    assert [60, 74.2] in lines["Caltech-256, paper, pretrained"].tolist()
    assert [15, 40.5] in lines["Caltech-256, Bo et al. 2013"].tolist()
    assert [30, 86.5] in lines["Caltech-101, paper, pretrained"].tolist()
    with pytest.raises(FileNotFoundError, match="no transfer scores in"):
        curves(workdir / "other")
