"""Tables 2 and 3 from made-up predictions: numbers, intervals, dashes with reasons, orderings."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import ablations, ensemble
from tests import forked
from zfnet_jax.report.table import Cell, Number, Table, csv_text, from_json, latex, markdown
from zfnet_jax.studies import paper
from zfnet_jax.studies.errors import predictions
from zfnet_jax.studies.errors.options import TableOptions
from zfnet_jax.studies.errors.paper_rows import COLUMNS, ROWS
from zfnet_jax.studies.errors.predictions import Predictions, outcomes
from zfnet_jax.studies.errors.table import error_tables, verdict
from zfnet_jax.studies.intervals import Interval, difference

OPTIONS = TableOptions()
EPOCHS, STEP, CLASSES = 5, 50, 8
IMAGES = {"validation": 400, "train": 600}


def write_run(sweep: Path, name: str, epoch: int = EPOCHS) -> Path:
    """The files of a run that a table looks at, without a net."""
    folder = sweep / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"epochs": EPOCHS}))
    (folder / "checkpoints" / str(10 * epoch)).mkdir(parents=True)
    for done in range(1, epoch + 1):
        record = {"step": 10 * done, "epoch": done, "val/top1": 0.5, "epoch_seconds": 2.0}
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
    return folder


def write_answers(
    folder: Path, split: str, error: float, seed: int, crops: int | None = None, **changes: Any
) -> Predictions:
    """Saves answers that are wrong for about a share `error` of the images."""
    count = IMAGES[split]
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(CLASSES), count).astype(np.float32)
    right = rng.random(count) > error
    probabilities[right, labels[right]] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    crops = crops or {"validation": 10, "train": 1}[split]
    info = {
        "study": "errors",
        "run": folder.name,
        "step": STEP,
        "epoch": float(EPOCHS),
        "epochs": EPOCHS,
        "split": split,
        "images": count,
        "data": {"fingerprint": "one"},
        "class_names": [f"class {number}" for number in range(CLASSES)],
        "crops": crops,
        "preprocessing": {"image_size": 64, "crop": 56, "scale": 1.0, "mean": "m"},
        "weights": folder.name,
        "finished": "2026-01-01",
    }
    found = Predictions(
        info=info | changes, probabilities=probabilities, **outcomes(probabilities, labels)
    )
    kept = folder / "studies" / "errors" / f"{split}-{crops}-{seed}-{len(changes)}"
    kept.mkdir(parents=True)
    predictions.write(kept, found.arrays)
    (kept / "about.json").write_text(json.dumps(found.info))
    return found


@pytest.fixture
def table3(tmp_path) -> Path:
    """Some rows of Table 3: two whole, and each other thing that can happen to a run."""
    sweep = tmp_path / "table3"
    for seed, (name, error) in enumerate({"alexnet": 0.2, "zfnet": 0.5}.items()):
        folder = write_run(sweep, name)
        write_answers(folder, "validation", error, seed)
        write_answers(folder, "train", error / 2, seed)
    near = write_run(sweep, "alexnet_dense_2048")
    write_answers(near, "validation", 0.22, seed=7)  # and not on training images
    write_run(sweep, "alexnet_dense_8192", epoch=2)
    write_run(sweep, "zfnet_dense_2048")
    early = write_run(sweep, "zfnet_dense_8192")
    write_answers(early, "validation", 0.3, seed=3, step=30, epoch=3.0)
    one_crop = write_run(sweep, "zfnet_512_1024_512")
    write_answers(one_crop, "validation", 0.3, seed=3, crops=1)
    return sweep


@pytest.fixture
def table2(tmp_path) -> Path:
    """Three of the five nets of (a), and (b)."""
    sweep = tmp_path / "table2"
    for seed, error in enumerate((0.3, 0.35, 0.4)):
        write_answers(write_run(sweep, f"a_seed_{seed}"), "validation", error, seed)
    write_run(sweep, "a_seed_3", epoch=1)
    write_answers(write_run(sweep, "b_512_1024_512"), "validation", 0.25, seed=9)
    return sweep


def loaded(sweep: Path, name: str, split: str = "validation", crops: int = 10) -> Predictions:
    found = predictions.find(sweep / name, split, crops)
    assert found is not None
    return found


def at(table: Table, row: int, column: str) -> Any:
    """The cell of a row, by its place, and a column."""
    return table.rows[row][[one.title for one in table.columns].index(column)]


def cell(table: Table, run: str, column: str) -> Cell:
    """The cell of a run's own row."""
    (place,) = (place for place, row in enumerate(table.rows) if row[1] == run)
    return at(table, place, column)


# Rows and names.


def test_the_rows_of_table_3_are_the_runs_of_the_sweep_in_the_papers_order():
    labels = [label for label, _ in paper.table(3).rows]
    assert list(ablations.ROWS.values()) == labels
    assert [row.runs for row in ROWS[3]] == [(name,) for name in ablations.ROWS]


def test_the_rows_of_table_2_are_the_runs_of_the_sweep():
    added: dict[str, str] = {}
    ensemble.sweep(lambda name, _, *, label: added.update({name: label}))
    labels = [label for label, _ in paper.table(2).rows]
    rows = dict(zip(labels, ROWS[2], strict=True))
    nets = [name for name in added if name.startswith("a_")]
    assert rows["1 convnet as per Fig. 3"].runs == tuple(nets)
    assert rows["5 convnets as per Fig. 3 - (a)"].runs == tuple(nets)
    assert rows["6 convnets, (a) & (b) combined"].runs == tuple(added)
    alone = [label for label in labels if label.endswith(" - (b)")]
    assert [rows[alone[0]].runs] == [tuple(set(added) - set(nets))]
    assert rows["Our replication of Krizhevsky, 1 convnet"].runs == ("alexnet",)
    together = [label for label, row in rows.items() if row.averaged == "probabilities"]
    assert together == ["5 convnets as per Fig. 3 - (a)", "6 convnets, (a) & (b) combined"]


@pytest.mark.parametrize("number", [2, 3])
def test_columns_are_the_papers_and_rows_are_compared_with_rows(number):
    assert tuple(column.title for column in COLUMNS[number]) == paper.table(number).columns[1:]
    for place, row in enumerate(ROWS[number]):
        assert row.against is None or (row.runs and row.against < place)


# Numbers.


def test_errors_stand_beside_the_papers(table3):
    table, _ = error_tables(3, [table3], OPTIONS)
    for name, top1, top5 in (("alexnet", 40.5, 18.1), ("zfnet", 38.4, 16.5)):
        found = loaded(table3, name)
        for column, k, theirs in (("Val Top-1", 1, top1), ("Val Top-5", 5, top5)):
            here = cell(table, name, column)
            ranks = [
                sum(other >= row[label] for other in np.delete(row, label))
                for row, label in zip(found.probabilities, found.labels)
            ]
            wrong = 100 * np.mean([rank >= k for rank in ranks])
            assert here.here.value == pytest.approx(wrong)
            assert here.here.low < wrong < here.here.high
            assert here.paper == Number(theirs)
            assert here.reason is None
    trained = cell(table, "zfnet", "Train Top-1")
    train = loaded(table3, "zfnet", "train", 1)
    assert trained.here.value == pytest.approx(100 * np.mean(train.predicted != train.labels))


def test_what_was_not_run_is_a_dash_with_its_reason(table3):
    tables = error_tables(3, [table3], OPTIONS)
    table, text = tables[0], markdown(tables)
    reasons = {
        "alexnet_without_7": "not trained",
        "alexnet_dense_8192": "trained for 2 of 5 epochs",
        "zfnet_dense_2048": "not evaluated on validation images with 10 crops",
        "zfnet_dense_8192": "evaluated only after 3 of 5 epochs",
        "zfnet_512_1024_512": "not evaluated on validation images with 10 crops",
    }
    for name, reason in reasons.items():
        here = cell(table, name, "Val Top-1")
        assert here.here is None
        assert reason in here.reason
        row = next(line for line in text.splitlines() if f"| {name} |" in line)
        mark = re.search(r"\| - (\(\d+\)) \|", row.split("|", 5)[5] + "|")
        note = next(line for line in text.splitlines() if line.startswith(f"{mark[1]} "))
        assert reason in note
    train = cell(table, "alexnet_dense_2048", "Train Top-1")
    assert "not evaluated on training images with 1 crop" in train.reason
    assert not re.search(r"1 crops|10 crop\b", text)


@pytest.mark.parametrize("number", [2, 3])
def test_nothing_is_made_up_where_nothing_was_run(number, tmp_path):
    table, differences = error_tables(number, [tmp_path], OPTIONS)
    for row in table.rows:
        for here in row[2:]:
            assert here.here is None
            assert here.reason
    assert differences.rows == ()
    text = markdown([table, differences])
    assert text == markdown([table])
    assert "nothing was measured" in text
    header = text.splitlines()[4]
    ours = [place for place, title in enumerate(header.split("|")) if title.strip() == "here [95%]"]
    assert len(ours) == 3
    for line in text.splitlines()[6 : 6 + len(table.rows)]:
        for place in ours:
            assert re.fullmatch(r" - \(\d+\) ", line.split("|")[place])
    assert latex([table, differences]) == latex([table])


def test_table_2_averages_probabilities_of_nets_and_errors_of_single_ones(table2):
    table, _ = error_tables(2, [table2], OPTIONS)
    nets = [loaded(table2, f"a_seed_{seed}") for seed in range(3)]
    single, together, alone, all_of_them = (
        at(table, place, "Val Top-1") for place in (7, 8, 9, 10)
    )
    errors = [100 * np.mean(net.predicted != net.labels) for net in nets]
    assert single.here.value == pytest.approx(np.mean(errors))
    assert single.note == (
        f"mean of 3 nets, {min(errors):.1f} to {max(errors):.1f}; 3 of 5 nets: "
        "a_seed_3 trained for 1 of 5 epochs; a_seed_4 not trained"
    )
    average = np.mean([net.probabilities for net in nets], axis=0)
    wrong = average.argmax(axis=1) != nets[0].labels
    assert together.here.value == pytest.approx(100 * wrong.mean())
    assert together.note.startswith("3 of 5 nets: ")
    other = loaded(table2, "b_512_1024_512")
    assert alone.here.value == pytest.approx(100 * np.mean(other.predicted != other.labels))
    assert alone.note is None
    average = np.mean([net.probabilities for net in (*nets, other)], axis=0)
    wrong = average.argmax(axis=1) != nets[0].labels
    assert all_of_them.here.value == pytest.approx(100 * wrong.mean())
    test = at(table, 8, "Test Top-5")
    assert test == Cell(None, Number(15.3), "the labels of the test images are not public")
    others = at(table, 0, "Test Top-5")
    assert others == Cell(None, Number(26.2), "published by others, no net of this code")


def test_one_net_alone_is_no_ensemble(tmp_path):
    write_answers(write_run(tmp_path, "a_seed_2"), "validation", 0.3, seed=0)
    table, _ = error_tables(2, [tmp_path], OPTIONS)
    assert at(table, 7, "Val Top-1").here
    assert at(table, 8, "Val Top-1").here is None
    reason = at(table, 8, "Val Top-1").reason
    assert reason == "a_seed_0, a_seed_1, a_seed_3, a_seed_4 not trained"


def test_seeds_of_one_net_are_one_row_and_count_in_its_interval(tmp_path):
    errors = (0.2, 0.3, 0.4)
    for seed, error in enumerate(errors):
        write_answers(write_run(tmp_path, f"zfnet_seed_{seed}"), "validation", error, seed)
    write_answers(write_run(tmp_path, "alexnet"), "validation", 0.35, seed=10)
    write_run(tmp_path, "zfnet_seed_10", epoch=1)
    write_run(tmp_path, "zfnet_seed_a")  # of no row
    tables = error_tables(3, [tmp_path], OPTIONS)
    here = cell(tables[0], "zfnet", "Val Top-1")
    found = [100 * loaded(tmp_path, f"zfnet_seed_{seed}").errors(1).mean() for seed in range(3)]
    assert here.here.value == pytest.approx(np.mean(found))
    assert here.note == (
        f"mean of 3 nets, {min(found):.1f} to {max(found):.1f}; 3 of 4 nets: zfnet_seed_10 trained"
        " for 1 of 5 epochs"
    )
    assert here.here.low < min(found)
    assert here.here.high > max(found)
    alone = cell(tables[0], "alexnet", "Val Top-1").here
    assert alone.high - alone.low < (here.here.high - here.here.low) / 2
    assert at(tables[1], 0, "Val Top-1, ordering") == "undecided"
    assert "Of a row of one training" in markdown(tables)


def test_one_seed_that_is_not_ready_says_why(tmp_path):
    write_run(tmp_path, "zfnet_seed_0", epoch=2)
    write_answers(write_run(tmp_path, "alexnet_seed_1"), "validation", 0.3, seed=1)
    table, _ = error_tables(3, [tmp_path], OPTIONS)
    assert cell(table, "zfnet", "Val Top-1").reason == "trained for 2 of 5 epochs"
    train = cell(table, "alexnet", "Train Top-1")
    assert train.reason == "not evaluated on training images with 1 crop"


def test_differences_of_a_column_hold_at_once(table3):
    """Two that the paper compares, three pairs in all: the third's interval is of three."""
    _, table = error_tables(3, [table3], OPTIONS)
    answers = {name: loaded(table3, name).errors(1) for name in ("alexnet", "zfnet")}
    near = loaded(table3, "alexnet_dense_2048").errors(1)
    for row, (here, there), count in (
        (0, (near, answers["alexnet"]), 2),
        (1, (answers["zfnet"], answers["alexnet"]), 2),
        (2, (answers["zfnet"], near), 3),
    ):
        found = at(table, row, "Val Top-1").here
        expected = difference(here, there, OPTIONS.level, count)
        assert (found.value, found.low, found.high) == pytest.approx(
            tuple(100 * number for number in expected)
        )


def test_several_sweeps_make_one_table(table2, table3):
    table, _ = error_tables(2, [table2, table3], OPTIONS)
    other, _ = error_tables(3, [table3], OPTIONS)
    assert at(table, 6, "Val Top-1") == cell(other, "alexnet", "Val Top-1")


# Orderings.


def test_orderings_inside_the_interval_are_undecided(table3):
    tables = error_tables(3, [table3], OPTIONS)
    table = tables[1]
    pairs = [row[2:4] for row in table.rows]
    compared = [("alexnet_dense_2048", "alexnet"), ("zfnet", "alexnet")]
    assert pairs == [*compared, ("zfnet", "alexnet_dense_2048")]
    assert table.rows_to_read == 2
    near, far = (at(table, place, "Val Top-1") for place in (0, 1))
    assert near.here.low < 0 < near.here.high
    assert at(table, 0, "Val Top-1, ordering") == "undecided"
    assert near.paper == Number(pytest.approx(1.2))
    assert far.here.low > 0
    assert at(table, 1, "Val Top-1, ordering") == "against the paper"
    first, other = loaded(table3, "alexnet"), loaded(table3, "zfnet")
    difference = np.mean(other.predicted != other.labels) - np.mean(first.predicted != first.labels)
    assert far.here.value == pytest.approx(100 * difference)
    assert at(table, 0, "Train Top-1") is None
    text = markdown(tables)
    assert "- Val Top-1, all pairs of rows: 2 against the paper, 1 undecided." in text
    assert "Against the paper: zfnet above alexnet" in text
    line = next(x for x in text.splitlines() if x.startswith("| Adjust") and "| undecided |" in x)
    assert "| +1.2 | " in line


@pytest.mark.parametrize(
    ("here", "theirs", "expected"),
    [
        ((1, 0.5, 2), 0.3, "as in the paper"),
        ((-1, -2, -0.5), -0.3, "as in the paper"),
        ((-1, -2, -0.5), 0.3, "against the paper"),
        ((1, -0.1, 2), 0.3, "undecided"),
        ((0, 0, 0), 0.3, "undecided"),
        ((1, 0, 2), 0.3, "undecided"),
        ((1, 0.5, 2), 0.0, "decided here alone"),
        ((1, 0.5, 2), None, "decided here alone"),
    ],
)
def test_verdicts(here, theirs, expected):
    assert verdict(Interval(*here), theirs) == expected


# Refusals.


def test_runs_on_other_images_are_refused(table3):
    write_answers(
        table3 / "zfnet_dense_2048", "validation", 0.3, seed=1, data={"fingerprint": "others"}
    )
    with pytest.raises(
        ValueError, match=r"zfnet_dense_2048 does not match .*: data.fingerprint is 'others'"
    ):
        error_tables(3, [table3], OPTIONS)


def test_a_second_set_of_images_does_not_block_a_table(table3):
    before, _ = error_tables(3, [table3], OPTIONS)
    others = {"data": {"fingerprint": "others"}, "finished": "2026-01-02"}
    for name in ("alexnet", "zfnet", "alexnet_dense_2048"):
        own = {"data": {"validation": "one", "train": "one"}}
        (table3 / name / "run.json").write_text(json.dumps(own))
        write_answers(table3 / name, "validation", 0.9, seed=1, **others)
    tables = error_tables(3, [table3], OPTIONS)
    assert tables[0].rows == before.rows
    told = "zfnet: validation-10-1-0 is taken, not validation-10-1-2, of other images"
    assert f"- {told} or another net." in markdown(tables).splitlines()
    table, _ = error_tables(3, [table3], OPTIONS, lambda *_: "others")
    assert cell(table, "zfnet", "Val Top-1").here.value > 70
    assert cell(table, "zfnet", "Train Top-1").here is None


def test_a_run_in_two_sweeps_is_refused(table3, tmp_path):
    write_run(tmp_path / "again", "zfnet")
    with pytest.raises(ValueError, match="two runs of one name"):
        error_tables(3, [table3, tmp_path / "again"], OPTIONS)


def test_unequal_training_is_told(table3):
    write_answers(table3 / "zfnet_dense_2048", "validation", 0.3, seed=1, epochs=9, epoch=9.0)
    text = markdown(error_tables(3, [table3], OPTIONS))
    assert "not trained equally long" in text
    assert "zfnet_dense_2048 9" in text


# Text.


def test_csv_holds_the_numbers_and_the_reasons(table3):
    table, differences = error_tables(3, [table3], OPTIONS)
    rows = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert [row["Error %"] for row in rows] == [label for label, _ in paper.table(3).rows]
    first = rows[0]
    assert float(first["Val Top-1 paper"]) == 40.5
    expected = cell(table, "alexnet", "Val Top-1").here
    value, low, high = (float(first[f"Val Top-1 {field}"]) for field in ("here", "low", "high"))
    assert Number(value, low=low, high=high) == expected
    assert (rows[1]["Val Top-1 here"], rows[1]["runs"]) == ("", "alexnet_without_3_4")
    assert "not trained" in rows[1]["Val Top-1 reason"]
    pairs = list(csv.DictReader(io.StringIO(csv_text(differences))))
    orderings = [
        pair[f"{title}, ordering"] for pair in pairs for title in paper.table(3).columns[1:]
    ]
    assert len(pairs) == 3
    assert len([one for one in orderings if one]) == 1 + 3 + 3
    assert {*orderings} <= {
        "",
        "undecided",
        "as in the paper",
        "against the paper",
        "decided here alone",
    }


def test_latex_is_whole_and_escaped(table2):
    text = latex(error_tables(2, [table2], OPTIONS))
    assert r"6 convnets, (a) \& (b) combined & 36.0 &" in text
    assert re.search(r"& -- \(\d+\) \\\\", text)
    assert not re.search(r"(?<!\\)[%#_]", text.split("\n", 1)[1])
    for body in re.findall(r"\\begin\{tabular\}\{(lr+)\}(.*?)\\end", text, re.DOTALL):
        columns = len(body[0])
        for line in body[1].splitlines():
            if line.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == columns - 1
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 2


def test_the_script_writes_all_and_says_what_is_wrong(table3, tmp_path):
    def run_script(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "scripts.tables", "--table=3", *arguments]
        return forked.run(command)

    out = tmp_path / "new" / "tables"
    result = run_script(f"--sweep={table3}", f"--out={out}")
    assert result.returncode == 0, result.stderr
    names = ("table3.md", "table3.tex", "table3.csv", "table3-differences.csv", "table3.json")
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert (out / "table3.md").read_text() in result.stdout
    saved = json.loads((out / "table3.json").read_text())
    table, differences = map(from_json, saved)
    assert csv_text(table) == (out / "table3.csv").read_text()
    assert csv_text(differences) == (out / "table3-differences.csv").read_text()
    wrong = run_script(f"--sweep={tmp_path / 'none'}", f"--out={out}")
    assert wrong.stderr == f"error: there is no sweep in {tmp_path / 'none'}\n"
