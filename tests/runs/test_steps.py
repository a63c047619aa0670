"""Which checkpoint is opened: the best, the latest or a number, by one flag in every script."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags
from matplotlib.figure import Figure
from PIL import Image

from configs import finetune
from tests.conftest import ROOT, copied
from zfnet_jax.report import figures
from zfnet_jax.runs import checkpoint, steps
from zfnet_jax.runs.checkpoint import Checkpoints, open_checkpoints
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.features.options import Options
from zfnet_jax.studies.saved import Subject
from zfnet_jax.training.start import from_net

BEST, LATEST = 16, 20
SCRIPTS = (
    *("evaluate", "mine", "atlas", "visualize", "figures", "occlusion", "occlusion_check"),
    *("invariance", "transfer", "correspondence", "diagnose", "export_weights", "compare"),
    *("tables", "reproduce", "voc"),
)


@pytest.fixture(scope="module")
def workdir(shallow_run, tmp_path_factory) -> Path:
    """A run whose newest checkpoint is not its best: each has weights of its own."""
    folder = copied(shallow_run, tmp_path_factory.mktemp("steps") / "run")
    with Checkpoints(
        folder / "checkpoints", keep_latest=9, keep_best=1, keep_steps=()
    ) as checkpoints:
        arrays, record = checkpoints.restore(12)
        for step, error in ((BEST, 0.0), (LATEST, 1.0)):
            changed = jax.tree.map(lambda leaf, by=step: leaf + by, arrays["state"]["params"])
            state = arrays["state"] | {"params": changed}
            checkpoints.save(step, arrays | {"state": state}, record, error)
    return folder


def test_a_word_opens_the_checkpoint_that_it_means(workdir):
    for which, step in ((None, LATEST), ("latest", LATEST), ("best", BEST), (12, 12)):
        run = open_run(workdir, which)
        assert run.step == step
        moved = 0 if step == 12 else step
        bias = open_run(workdir, 12).params["conv1"]["bias"]
        np.testing.assert_array_equal(run.params["conv1"]["bias"], bias + moved)
    assert open_run(workdir).checkpoint == "step 20"
    assert open_run(workdir).note == ""
    best = open_run(workdir, "best")
    said = "step 16 (the lowest validation error; the newest is step 20)"
    assert best.checkpoint == best.note == checkpoint.note(workdir, BEST) == said
    assert open_run(workdir, 12).note == "step 12 (the newest is step 20)"
    assert checkpoint.note(workdir, LATEST) == ""


def test_what_is_not_there_is_told_in_one_line_with_what_is(workdir, tmp_path):
    kept = open_checkpoints(workdir / "checkpoints").all_steps()
    for which, message in (
        (17, f"{workdir}/checkpoints has no step 17, only {kept}"),
        ("newest", f"there is no step 'newest': give {steps.MEANING}"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            open_run(workdir, which)
    with Checkpoints(
        tmp_path / "checkpoints", keep_latest=2, keep_best=1, keep_steps=()
    ) as checkpoints:
        with pytest.raises(FileNotFoundError, match="holds no checkpoint yet: train first"):
            checkpoints.step_of("best")
        for step in (3, 7):  # an import, or saves in mid-epoch
            checkpoints.save(step, {"x": np.ones(2)}, {}, None)
        checkpoints.wait()
        assert checkpoint.step_of(tmp_path, "latest") == 7
        with pytest.raises(ValueError, match=r"so none is the best: there are steps 3, 7$"):
            checkpoint.step_of(tmp_path, "best")
        for step in (8, 9):  # of equals the newest
            checkpoints.save(step, {"x": np.ones(2)}, {}, 0.5)
        assert checkpoints.step_of("best") == 9


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_that_opens_a_run_takes_the_same_flag(script, monkeypatch):
    monkeypatch.setitem(vars(flags.FLAGS), "__flags", {})  # those of other scripts are in the way
    runpy.run_module(f"scripts.{script}", run_name=f"flags_of_{script}")
    flag = flags.FLAGS["step"]
    assert flag.value is None
    for text, step in (("best", "best"), ("latest", "latest"), ("780", 780)):
        flag.parse(text)
        assert flag.value == step
        assert flag.serialize() == f"--step={text}"
    for wrong in ("newest", "-1", "1.5", ""):
        with pytest.raises(flags.IllegalFlagValueError, match="give a number, 'latest' or 'best'"):
            flag.parse(wrong)


def test_no_script_has_a_flag_of_its_own_for_it():
    for path in (ROOT / "scripts").glob("*.py"):
        assert "_STEP = flags.DEFINE" not in path.read_text(encoding="utf-8"), path


def test_results_are_kept_apart_and_their_commands_name_the_number(workdir):
    subject = Subject("one", Options(), ("words",))
    best, latest = (open_run(workdir, which) for which in ("best", "latest"))
    assert saved.folder_of(best, subject) != saved.folder_of(latest, subject)
    assert saved.command_of(best, "mine", subject.options).endswith(f" --step={BEST}")
    for which, ending in (("best", f" --step={BEST}"), (None, ""), ("latest", f" --step={LATEST}")):
        command = Context(workdir, which).command("mine")
        assert command == f"python -m scripts.mine --workdir={workdir}{ending}"
    made = saved.measured_once(best, subject, lambda: {"x": np.ones(1)}, command="x")
    assert made.note == best.note
    assert saved.find(workdir, "one", checkpoint.step_of(workdir, "latest")) == []
    assert len(saved.find(workdir, "one", checkpoint.step_of(workdir, "best"))) == 1


def test_a_figure_of_another_checkpoint_has_a_strip_that_says_so(tmp_path):
    figure = Figure(figsize=(2, 1))
    figure.add_axes((0, 0, 1, 1))
    sizes, pixels = {}, {}
    for name, note in (("plain", ""), ("noted", "step 8 (the newest is step 12)"), ("again", "")):
        figures.save(figure, tmp_path / f"{name}.png", note=note)
        with Image.open(tmp_path / f"{name}.png") as image:
            sizes[name], pixels[name] = image.size, np.asarray(image.convert("L"))
    assert sizes["plain"] == sizes["again"] == (320, 160)
    assert sizes["noted"][0] == 320
    assert 160 < sizes["noted"][1] < 240
    np.testing.assert_array_equal(pixels["noted"][:159], pixels["plain"][:159])
    assert pixels["noted"][165:].min() < 200  # letters
    np.testing.assert_array_equal(pixels["again"], pixels["plain"])


def test_a_run_starts_from_the_best_checkpoint(workdir, shallow_config):
    best = open_run(workdir, "best")

    def step_of(word: str) -> int:
        shallow_config.init_from = f"{workdir}:{word}"
        mean = np.zeros((64, 64, 3), np.float32)
        net = best.net.architecture
        return from_net(shallow_config, net, best.params, best.class_names, mean).record["step"]

    assert [step_of(word) for word in ("best", "latest", "12")] == [BEST, LATEST, 12]
    with pytest.raises(ValueError, match=r"^config.init_from: .* has no step 17, only \["):
        step_of("17")
    with pytest.raises(ValueError, match=r"^config.init_from: no checkpoints: there is no dir.*:b"):
        step_of("bset")
    assert finetune.get_config(f"{workdir}:best").init_from == f"{workdir}:best"


def test_a_folder_that_ends_like_a_step_is_a_folder():
    assert steps.split("runs/a:best") == ("runs/a", "best")
    assert steps.split("runs/a:12") == ("runs/a", 12)
    for text in ("runs/a", "runs/a:b", "runs/a:-3", "best"):
        assert steps.split(text) == (text, None)
