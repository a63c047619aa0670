"""The plan of the paper, made once and no more."""

from __future__ import annotations

import dataclasses
import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from PIL import Image

import zfnet_jax
from tests.conftest import ROOT, copied, run_script, start_script
from zfnet_jax.data.pictures import draw
from zfnet_jax.reproduce import display, execute, plan
from zfnet_jax.reproduce.contents import CHAPTERS
from zfnet_jax.reproduce.record import FOLDER, fingerprints, is_done, read_record, write_record
from zfnet_jax.reproduce.reproduction import Effort, Reproduction
from zfnet_jax.runs import provenance
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.features import study as features
from zfnet_jax.studies.features.options import Options as MiningOptions
from zfnet_jax.studies.step import Made, Step
from zfnet_jax.training.preemption import PreemptedError

ONLY = "training,evaluate,photos,fig1,fig3"


class Quiet:
    """Shows nothing."""

    def show(self, rows):
        pass


class FakeReproduction:
    """What `execute` knows of a reproduction, without a net behind it."""

    def __init__(self, run, workdir: Path) -> None:
        self.run, self.workdir, self.net, self.effort = run, workdir, "net", Effort()
        self.report = workdir / "report"


@pytest.fixture
def reproduction(shallow_run, tmp_path) -> FakeReproduction:
    return FakeReproduction(open_run(shallow_run), tmp_path)


def fake(reproduction: FakeReproduction, name: str, *needs: str, made: list[str], **fields) -> Step:
    """A step that writes a file and notes that it was made."""

    def make() -> Made:
        path = reproduction.workdir / f"{name}.txt"
        path.write_text(name)
        made.append(name)
        return Made([path])

    return Step(name, name, make, needs=needs, **fields)


def perform(reproduction: FakeReproduction, steps: list[Step]) -> dict[str, execute.Row]:
    rows = execute.make_rows(reproduction, steps)
    execute.execute(reproduction, rows, Quiet())
    return {row.step.name: row for row in rows}


def test_what_a_step_depends_on_is_in_its_fingerprint_and_nothing_else(monkeypatch):
    steps = [Step("a", "A", Made), Step("b", "B", Made, needs=("a",)), Step("c", "C", Made)]
    first = fingerprints(steps, "net")
    renamed = [dataclasses.replace(steps[0], title="other words", seconds=9), *steps[1:]]
    assert fingerprints(renamed, "net") == first
    changed = [dataclasses.replace(steps[0], options={"k": 9}), *steps[1:]]
    differing = {name for name, one in fingerprints(changed, "net").items() if one != first[name]}
    assert differing == {"a", "b"}
    assert not set(fingerprints(steps, "another net").values()) & set(first.values())
    newer = [*steps[:2], dataclasses.replace(steps[2], version=2)]
    assert fingerprints(newer, "net")["c"] != first["c"]
    monkeypatch.setattr(provenance, "code_digest", lambda: "later code")
    assert not set(fingerprints(steps, "net").values()) & set(first.values())


def test_a_step_is_done_while_its_files_are_those_that_it_left(tmp_path):
    large, report = tmp_path / "large.npz", tmp_path / "report"
    large.write_bytes(bytes(200_000) + b"end")
    write_record(report, "a", Made([large]), {"fingerprint": "x"})
    assert is_done(report, "a", "x")
    assert not is_done(report, "a", "y")
    assert not is_done(report, "b", "x")
    large.write_bytes(bytes(200_000) + b"END")
    assert not is_done(report, "a", "x")
    large.write_bytes(bytes(200_000) + b"end")
    os.utime(large)  # a copied folder has other times
    assert is_done(report, "a", "x")
    large.unlink()
    assert not is_done(report, "a", "x")


def test_a_step_is_done_also_where_its_run_is_reached_through_a_link(tmp_path):
    (tmp_path / "disk" / "runs" / "a").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "runs").symlink_to(tmp_path / "disk" / "runs")
    images = tmp_path / "work" / "images.npy"  # beside the link, not beside what it leads to
    images.write_text("images")
    for workdir in (tmp_path / "work" / "runs" / "a", tmp_path / "disk" / "runs" / "a"):
        write_record(workdir / "report", "data", Made([images]), {"fingerprint": "x"})
        assert is_done(workdir / "report", "data", "x")


def test_steps_are_made_once_and_again_only_where_something_changed(reproduction):
    made: list[str] = []
    steps = [
        fake(reproduction, "a", made=made),
        fake(reproduction, "b", "a", made=made),
        fake(reproduction, "c", made=made),
    ]
    perform(reproduction, steps)
    assert made == ["a", "b", "c"]
    assert {row.state for row in perform(reproduction, steps).values()} == {"done"}
    assert made == ["a", "b", "c"]
    steps[0] = dataclasses.replace(steps[0], options={"k": 9})
    perform(reproduction, steps)
    assert made == ["a", "b", "c", "a", "b"]
    (reproduction.workdir / "a.txt").write_text(
        "changed by hand"
    )  # so what came from it is in doubt too
    perform(reproduction, steps)
    assert made[5:] == ["a", "b"]


def test_an_error_stops_only_what_needs_the_step(reproduction):
    made: list[str] = []

    def fail() -> Made:
        print("on the way")
        raise ValueError("the photo is damaged")

    steps = [
        Step("a", "A", fail),
        fake(reproduction, "b", "a", made=made),
        fake(reproduction, "c", made=made),
        fake(reproduction, "d", made=made, missing="it needs faces"),
    ]
    rows = perform(reproduction, steps)
    assert made == ["c"]
    assert [row.state for row in rows.values()] == ["failed", "failed", "made", "missing"]
    assert rows["b"].reason == "the photo is damaged"
    assert (reproduction.report / FOLDER / "a.log").read_text() == "on the way\n"
    assert not (reproduction.report / FOLDER / "c.log").exists()
    assert read_record(reproduction.report, "a") is None
    assert kept_reasons(reproduction, rows) == {
        "a": "the photo is damaged",
        "b": "the photo is damaged",
        "c": "",
        "d": "it needs faces",
    }
    # Another time only c is asked for: what is known of the others stays.
    again = {row.step.name: row for row in execute.make_rows(reproduction, steps)}
    execute.execute(reproduction, [again["c"]], Quiet())
    assert kept_reasons(reproduction, again) == kept_reasons(reproduction, rows)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nat"),
            r"no memory is left: --batch_size=N .*RESOURCE_EXHAUSTED: Out of memory allocating 9 b",
        ),
        (MemoryError(), r"no memory is left: --batch_size=N .*\(MemoryError\)"),
        (KeyError("fc7"), "KeyError: 'fc7'; report/steps/a.log says more"),
    ],
)
def test_an_unexpected_error_stops_no_more_and_is_tried_again(reproduction, error, reason):
    made: list[str] = []
    steps = [Step("a", "A", Mock(side_effect=error)), fake(reproduction, "b", made=made)]
    rows = perform(reproduction, steps)
    assert made == ["b"]
    assert rows["a"].state == "failed"
    assert re.match(reason, rows["a"].reason)
    assert "\n" not in rows["a"].reason
    assert "Traceback" in (reproduction.report / FOLDER / "a.log").read_text()
    steps[0] = fake(reproduction, "a", made=made)
    assert perform(reproduction, steps)["a"].state == "made"
    assert made == ["b", "a"]


def test_where_the_speed_cannot_be_measured_the_steps_are_made_all_the_same(
    reproduction, monkeypatch
):
    full = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    monkeypatch.setattr(execute.speed, "images_per_second", Mock(side_effect=full))
    rows = execute.make_rows(reproduction, [fake(reproduction, "a", made=[], seconds=8, images=9)])
    execute.estimate(reproduction, rows)
    assert rows[0].seconds == 8


def kept_reasons(reproduction: FakeReproduction, rows: dict[str, execute.Row]) -> dict[str, str]:
    execute.keep_plan(reproduction, list(rows.values()))
    kept = json.loads((reproduction.report / FOLDER / "plan.json").read_text())
    return {name: one["reason"] for name, one in kept.items()}


@pytest.mark.parametrize("told", [KeyboardInterrupt(), PreemptedError("SIGTERM", 15)])
def test_what_a_stop_left_unmade_says_so(reproduction, told):
    steps = [
        fake(reproduction, "a", made=[]),
        Step("b", "B", Mock(side_effect=told)),
        fake(reproduction, "c", made=[]),
    ]
    rows = {row.step.name: row for row in execute.make_rows(reproduction, steps)}
    with pytest.raises(type(told)):
        execute.execute(reproduction, list(rows.values()), Quiet())
    stopped = "it was stopped before this was made"
    assert kept_reasons(reproduction, rows) == {"a": "", "b": stopped, "c": stopped}


def test_only_takes_steps_with_what_they_need():
    steps = [
        Step("mine", "", Made),
        Step("atlas", "", Made, needs=("mine",)),
        Step("photos", "", Made),
        Step("fig7", "", Made, needs=("photos", "mine")),
    ]
    assert plan.select(steps, ["fig7"]) == {"mine", "photos", "fig7"}
    assert plan.select(steps, []) == {"mine", "atlas", "photos", "fig7"}
    with pytest.raises(ValueError, match="--only=fig10: there is no such step, only mine, atlas"):
        plan.select(steps, ["fig10"])


def test_the_report_has_every_figure_and_table_in_the_papers_order(shallow_run):
    steps = plan.make_plan(Reproduction(shallow_run))
    entries = [step.entry for step in steps if step.entry]
    shown = [
        one.heading for chapter in CHAPTERS for one in entries if one.section in chapter.sections
    ]
    assert len(shown) == len(entries)
    numbers = [head.partition(":")[0] for head in shown if head.startswith(("Figure", "Table"))]
    figures = [f"Figure {n}" for n in (1, 3, 2, 4, 5, 6, 7, 8)]
    tables = ["Table 2", "Table 3", "Table 4", "Table 5", "Figure 9", "Table 6", "Table 7"]
    assert numbers == [*figures, "Table 1", *tables]


def test_tables_4_and_5_can_do_without_nets_trained_from_scratch(shallow_run):
    def needs(**effort) -> dict[str, tuple[str, ...]]:
        reproduction = Reproduction(shallow_run, effort=Effort(**effort))
        return {step.name: step.needs for step in plan.make_plan(reproduction)}

    assert needs()["table4"] == ("transfer_pictures", "scratch_pictures")
    without = needs(scratch_folds=0)
    assert without["table4"] == without["table5"] == ("transfer_pictures",)
    assert "scratch_pictures" not in without


def test_tables_2_and_3_each_say_which_nets_they_need(shallow_run):
    missing = {step.name: step.missing for step in plan.make_plan(Reproduction(shallow_run))}
    for name, config, other in (
        ("table2", "ensemble", "ablations"),
        ("table3", "ablations", "ensemble"),
    ):
        assert f"--config=configs/{config}.py --workdir=DIR, then" in missing[name]
        assert other not in missing[name]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (45.4, "45 s"), (150, "2 min"), (7500, "2 h 5 min")]
)
def test_durations_are_short(seconds, text):
    assert display.duration(seconds) == text


@pytest.mark.slow
def test_a_killed_reproduction_goes_on_and_redoes_nothing(shallow_run, tmp_path):
    workdir = copied(shallow_run, tmp_path / "run")
    steps = workdir / "report" / FOLDER
    arguments = (f"--workdir={workdir}", f"--only={ONLY}", "--draft")
    process = start_script("reproduce", *arguments, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while not (steps / "evaluate.json").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in steps.glob("*.json")}
    assert {"training.json", "evaluate.json"} <= before.keys()
    (output,) = run_script("reproduce", *arguments)
    after = {path.name: path.stat().st_mtime_ns for path in steps.glob("*.json")}
    assert all(after[name] == time for name, time in before.items())
    report = workdir / "report"
    for name in ONLY.split(","):
        assert is_done(report, name, read_record(report, name)["fingerprint"])
    assert "Evaluating" not in output  # it says what it makes
    page = (workdir / "report" / "index.html").read_text()
    assert 'src="figures/figure1.png"' in page
    assert "it was not asked for yet" in page
    (output,) = run_script("reproduce", *arguments, "--dry_run")
    assert "0 of 5 steps to make" in output


@pytest.mark.slow
def test_what_was_mined_is_drawn_in_every_figure_of_it(shallow_run, tmp_path):
    """Figs. 2, 4 and 6 and the atlas, as the paper has them whatever else was mined before."""
    reproduction = Reproduction(copied(shallow_run, tmp_path / "run"))
    other = MiningOptions(rectify="guided")
    features.measured(reproduction.run, reproduction.split("validation"), other, progress=False)
    steps = plan.make_plan(reproduction)
    wanted = plan.select(steps, ["fig2", "atlas", "fig4", "fig6"])
    rows = execute.make_rows(reproduction, [step for step in steps if step.name in wanted])
    execute.execute(reproduction, rows, Quiet())
    assert {row.step.name: row.reason for row in rows if row.state != "made"} == {}
    kept = {
        one.folder.name.rpartition("-")[0] for one in saved.find(reproduction.workdir, "features")
    }
    assert kept == {"validation-12", "train-4", "train-8", "train-12"}
    files = read_record(reproduction.report, "mine")["files"]
    (paper,) = {str(Path(path).parent) for path in files}
    assert saved.load(reproduction.workdir / paper).about["options"]["rectify"] == "deconvnet"
    assert (
        '"rectify":"deconvnet"' in (reproduction.report / "atlas" / "data" / "atlas.js").read_text()
    )
    with np.load(reproduction.figures / "figure4.npz") as arrays:
        assert list(arrays["step"]) == [4, 8, 12]
    numbers = [Path(path).name for path in read_record(reproduction.report, "fig6")["files"]]
    assert {"figure6.png", "figure6.md", "arrays.npz", "numbers.json"} <= set(numbers)
    commands = read_record(reproduction.report, "mine_epochs")["commands"]
    assert commands[0].endswith(" --step=4 --split=train --k=1")
    # The figures' commands name what they have drawn.
    for name in ("fig2", "atlas"):
        (command,) = read_record(reproduction.report, name)["commands"]
        assert f" --arrays={reproduction.workdir / paper} " in f"{command} "
    draw_it, diagnose = read_record(reproduction.report, "fig6")["commands"]
    assert "--step=12" in shlex.split(draw_it)
    assert diagnose == saved.find(reproduction.workdir, "first_layers")[0].about["command"]
    # The same commands measure nothing anew.
    train = saved.find(reproduction.workdir, "features", 4)
    run_script("mine", *shlex.split(commands[0])[3:])
    assert saved.find(reproduction.workdir, "features", 4) == train


def test_the_package_works_in_a_few_lines(shallow_run, tmp_path):
    photo = tmp_path / "face.png"
    Image.fromarray(draw("face", 21, 64).image).save(photo)
    names = {"WORKDIR": copied(shallow_run, tmp_path / "run"), "PHOTO": photo}
    failures, tried = doctest.testmod(zfnet_jax, extraglobs=names)
    assert (failures, tried) == (0, 9)
    assert set(zfnet_jax.__all__) <= set(dir(zfnet_jax))


def test_the_package_alone_imports_no_jax():
    code = (
        "import sys, zfnet_jax; sys.exit(bool({'jax', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
