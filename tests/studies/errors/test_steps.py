"""The steps of errors: what a reproduction makes of a run and of the nets of Tables 2 and 3."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from zfnet_jax.data import prepared
from zfnet_jax.report.table import from_json
from zfnet_jax.studies import photos
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.errors import predictions, steps
from zfnet_jax.studies.errors.options import ScoreOptions, TableOptions

NOT_RESULTS = shutil.ignore_patterns("analysis", "studies", "report")


@pytest.fixture
def workdir(tiny_run, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run", ignore=NOT_RESULTS))


@pytest.fixture
def sweep(tiny_run, tmp_path) -> Path:
    """Two rows of Table 3, one of them not finished, and a run of no table."""
    for name in ("alexnet", "zfnet", "other"):
        shutil.copytree(tiny_run, tmp_path / "sweep" / name, ignore=NOT_RESULTS)
    (tmp_path / "sweep" / "zfnet" / "checkpoints" / "12").rename(tmp_path / "gone")
    return tmp_path / "sweep"


def test_the_error_of_a_run_and_the_photos_that_it_answers_right(workdir):
    context = Context(workdir)
    step = steps.evaluate(context, ScoreOptions())
    (command,) = step.commands
    assert shlex.split(command)[2:] == ["scripts.evaluate", f"--workdir={workdir}"]
    assert step.images == 10 * 30
    files = step.make().files
    assert all(path.exists() for path in files)
    names = {path.name for path in files}
    assert {"evaluation.md", "confusion.png", "arrays.npz", "probabilities.npy"} <= names
    (scores,) = (path for path in files if path.name.startswith("scores-"))
    found = predictions.find(workdir, "validation", 10)
    assert found is not None
    score = json.loads(scores.read_text())
    assert score["top1"][0] == pytest.approx(np.mean(found.predicted != found.labels))
    assert score["options"] == {"level": 0.95, "bins": 15}
    # The photos of Figs. 1, 5 and 7 come from these answers: nothing is evaluated again.
    photos.step(context, photos.Named(), step).make()
    assert len(list((workdir / "studies" / "errors").iterdir())) == 1
    chosen = photos.chosen(context).photos
    split = context.split("validation")
    assert len(chosen) == photos.COUNT
    for one in chosen:
        row = split.keys.index(one.key)
        of_class = np.flatnonzero(split.labels == split.labels[row])
        right = of_class[found.rank[of_class] == 0]
        assert row == (right[0] if len(right) else of_class[0])


def test_the_nets_of_table_3_are_evaluated_and_make_its_rows(workdir, sweep):
    options = TableOptions(crops=1)
    sweeps = [str(sweep)]
    evaluation = steps.evaluate_sweeps(sweeps, options)
    assert [shlex.split(one)[3:] for one in evaluation.commands] == [
        [f"--sweep={sweep}", "--crops=1"],
        [f"--sweep={sweep}", "--split=train", "--crops=1", "--noprobabilities"],
    ]
    made = evaluation.make()
    assert made.notes == ["Left out: zfnet has not saved its last checkpoint."]
    assert all(path.exists() for path in made.files)
    assert not (sweep / "other" / "studies").exists()
    run = Context(sweep / "alexnet")
    train = predictions.find(run.workdir, "train", 1)
    validation = predictions.find(run.workdir, "validation", 1)
    assert train is not None
    assert validation is not None
    assert train.probabilities is None
    assert validation.probabilities is not None
    assert evaluation.images == len(train) + len(validation)

    table = steps.table(Context(workdir), 3, sweeps, options)
    (command,) = table.commands
    assert "--train_crops" not in command
    assert "--crops=1" in command
    files = {path.name: path for path in table.make().files}
    main, _ = map(from_json, json.loads(files["table3.json"].read_text()))
    places = {column.title: place for place, column in enumerate(main.columns)}
    row = next(row for row in main.rows if row[places["runs"]] == "alexnet")
    for title, found in (("Train Top-1", train), ("Val Top-1", validation)):
        here = row[places[title]].here
        assert here.value == pytest.approx(100 * np.mean(found.predicted != found.labels))
    row = next(row for row in main.rows if row[places["runs"]] == "zfnet")
    assert row[places["Val Top-1"]].reason == "has not saved its last checkpoint"


def test_images_prepared_anew_make_the_tables_anew(workdir, sweep, prepared_pictures, tmp_path):
    """Their evaluation is due again, and the tables take no other."""
    images = tmp_path / "images"
    shutil.copytree(prepared_pictures, images)
    config = json.loads((sweep / "alexnet" / "config.json").read_text())
    config["data"]["prepared_dir"] = str(images)
    (sweep / "alexnet" / "config.json").write_text(json.dumps(config))
    options = TableOptions(crops=1)
    before = steps.evaluate_sweeps([str(sweep)], options)
    before.make()  # of images with the same fingerprint, where the checkpoint says

    def reason() -> str | None:
        files = {one.name: one for one in made().files}
        main, _ = map(from_json, json.loads(files["table3.json"].read_text()))
        places = {column.title: place for place, column in enumerate(main.columns)}
        row = next(row for row in main.rows if row[places["runs"]] == "alexnet")
        return row[places["Val Top-1"]].reason

    made = steps.table(Context(workdir), 3, [str(sweep)], options).make
    assert reason() is None
    path = images / "validation" / "manifest.json"
    manifest = json.loads(path.read_text()) | {"rows_sha256": "others"}
    manifest["fingerprint"] = prepared.fingerprint(manifest)
    path.write_text(json.dumps(manifest))
    assert steps.evaluate_sweeps([str(sweep)], options).options != before.options
    assert reason() == "not evaluated on validation images with 1 crop"


def test_without_sweeps_the_tables_say_what_they_need():
    step = steps.evaluate_sweeps([], TableOptions())
    assert "configs/ensemble.py" in str(step.missing)
    assert "configs/ablations.py" in str(step.missing)
    assert steps.evaluate_sweeps(["nowhere"], TableOptions()).missing == (
        "--sweep: nowhere holds no folder of a run"
    )


def test_a_run_that_does_not_see_the_images_is_not_evaluated(workdir):
    context = Context(workdir)
    context.run.config.data.image_size = 60
    step = steps.evaluate(context, ScoreOptions())
    assert "config.data asks for image_size 60" in str(step.missing)
    assert step.images == 0
