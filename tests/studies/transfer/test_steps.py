"""The steps of a reproduction: each draws what its needs have measured and no more."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from zfnet_jax.data.voc import SPLITS
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import saved
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.transfer import data_sets, features, scratch, steps, study, voc
from zfnet_jax.studies.transfer.options import Options, VocOptions
from zfnet_jax.studies.transfer.trial import Trial, heads_of_table7, trial_of

STAND_IN = data_sets.STAND_IN


@dataclasses.dataclass
class FakeContext:
    """What the steps know of a reproduction, with a folder of its own."""

    run: Run

    @property
    def workdir(self):
        return self.run.directory

    @property
    def report(self):
        return self.workdir / "report"

    @property
    def figures(self):
        return self.report / "figures"

    command = Context.command
    _step, prepared_dir = None, ""


@pytest.fixture
def context(run: Run, tmp_path):
    return FakeContext(dataclasses.replace(run, directory=tmp_path))


@pytest.fixture(scope="module")
def drawn(run: Run, tmp_path_factory) -> Path:
    """The images of the stand-in, prepared."""
    context = FakeContext(dataclasses.replace(run, directory=tmp_path_factory.mktemp("drawn")))
    sets, _ = data_sets.data_sets(context, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)  # in this process
        steps.prepare(context, sets[STAND_IN]).make()
    return sets[STAND_IN].prepared


@pytest.fixture
def trial(context, drawn: Path) -> Trial:
    sets, _ = data_sets.data_sets(context, {})
    sets[STAND_IN].prepared.parent.mkdir(parents=True)
    sets[STAND_IN].prepared.symlink_to(drawn)
    recipe = context.run.config.copy_and_resolve_references()
    return trial_of(context.run, sets[STAND_IN], recipe, folds=1, scratch_folds=1, curve=False)


def leave(run: Run, subject: saved.Subject, **about) -> None:
    """A result without its arrays, newer than those that are there."""
    finished = f"{2030 + len(saved.find(run.directory, subject.study))}"
    said = about | {"finished": finished}
    saved.made_once(run, subject, lambda _: said, command="a command")


def leave_heads(context, trial: Trial, accuracy: float) -> None:
    split, classes = trial.data.open()
    for one in study._wanted(classes, trial.heads):
        about = study._about(context.run, one) | {"accuracy": accuracy}
        leave(context.run, study._subject(one, split), **about)


def leave_nets(context, trial: Trial, accuracy: float, epochs: int | None = None) -> None:
    split, classes = trial.data.open()
    options = dataclasses.replace(trial.nets, epochs=epochs)
    recipe = scratch._recipe(trial.recipe, options)
    for one in scratch._wanted(classes, options):
        about = {"method": "scratch", "epochs": recipe.epochs, "recipe_of": "a_run"}
        leave(context.run, scratch._subject(one, split, recipe), **about | {"accuracy": accuracy})


def table4(context, trial: Trial) -> dict[str, list[str]]:
    """Our accuracies in the rows of Table 4, as the reproduction writes them."""
    steps.table(context, 4, {STAND_IN: trial}, {}).make()
    text = (context.report / "tables" / "table4.md").read_text()
    lines = (line.strip("| ").split(" | ") for line in text.splitlines() if "convnet" in line)
    return {label.strip(): [cell.strip() for cell in cells[-2:]] for label, *cells in lines}


def test_a_table_shows_what_its_needs_have_measured_whatever_is_measured_after(context, trial):
    leave_heads(context, trial, 0.5)
    leave_nets(context, trial, 0.25)
    own = {
        "Non-pretrained convnet": ["25.0", "25.0"],
        "ImageNet-pretrained convnet": ["50.0", "50.0"],
    }
    assert table4(context, trial) == own
    # By hand: nets of another recipe; heads with the defaults' grids, which the stand-in has not.
    leave_nets(context, trial, 0.9, epochs=1)
    grids = {"softmax_grid": (1.0, 10.0, 100.0, 1e3, 1e4), "svm_grid": (0.01, 0.1, 1.0, 10.0)}
    by_hand = tuple(dataclasses.replace(one, **grids) for one in trial.heads)
    leave_heads(context, dataclasses.replace(trial, heads=by_hand), 0.8)
    assert table4(context, trial) == own
    found = trial.results(context.run)
    assert {one.about["accuracy"] for one in found.pretrained} == {0.5}
    assert {one.about["accuracy"] for one in found.scratch} == {0.25}


def test_fig_9_draws_what_its_needs_have_measured(context, trial, monkeypatch):
    leave_heads(context, trial, 0.5)
    leave_nets(context, trial, 0.25)
    leave_nets(context, trial, 0.9, epochs=1)
    drawn = []
    monkeypatch.setattr(steps, "draw", lambda *_: [])
    curves = steps.curves
    monkeypatch.setattr(steps, "curves", lambda found: drawn.append(curves(found)))
    step = steps.fig9(context, {STAND_IN: trial}, {})
    step.make()
    expected = {"pretrained": {5: [50], 15: [50]}, "scratch": {5: [25], 15: [25]}}
    assert drawn == [{STAND_IN: expected}]
    assert step.needs == ("transfer_pictures", "scratch_pictures")
    without = dataclasses.replace(trial, nets=None)
    steps.fig9(context, {STAND_IN: without}, {}).make()
    assert drawn[1] == {STAND_IN: {"pretrained": expected["pretrained"]}}


def test_table_6_shows_what_its_needs_have_measured(context, prepared_pictures, monkeypatch):
    split = data_sets.open_prepared(prepared_pictures, "validation")
    presence = np.ones((len(split), len(split.class_names)), np.int8)
    images = dict.fromkeys(SPLITS, (split, presence))
    monkeypatch.setattr(steps.voc_data, "open_split", lambda _, name: images[name])

    def leave_voc(mean: float, shown: np.ndarray) -> None:
        options = voc._settled(VocOptions(), "fc7")
        subject = voc._subject((split, shown), (split, shown), options, "fc7")
        said = {"average_precision": [mean] * 20, "mean": mean, "setting": []}
        leave(context.run, subject, **said, layers={"7": "fc7"}, weights="w")

    leave_voc(0.5, presence)
    leave_voc(0.9, -presence)  # as scripts.voc finds in other annotations
    steps.table6(context).make()
    text = (context.report / "tables" / "table6.md").read_text()
    assert "79.0 | 50.0 |" in text


def test_what_was_not_measured_is_an_error(context, trial):
    leave_heads(context, trial, 0.5)
    with pytest.raises(FileNotFoundError, match="holds no result of a study"):
        steps.table(context, 4, {STAND_IN: trial}, {}).make()
    without = dataclasses.replace(trial, nets=None)
    steps.table(context, 4, {STAND_IN: without}, {}).make()


def test_table_7_has_the_heads_that_the_paper_has(run: Run):
    there = run.architecture.outputs
    layers = list(there.values())
    heads = heads_of_table7(run, layers, Options(data="caltech101", folds=2, per_class=(30,)))
    asked = [(layer, head) for one in heads for layer in one.layers for head in one.heads]
    softmax = [there[number] for number in (5, 7) if number in there]
    assert softmax
    assert asked == [(one, "svm") for one in layers] + [(one, "softmax") for one in softmax]
    assert {(one.folds, one.per_class) for one in heads} == {(2, (30,))}
    (alone,) = heads_of_table7(run, layers[:1], Options(data="caltech101"))
    assert (alone.layers, alone.heads) == ((layers[0],), ("svm",))


def test_layers_of_large_features_are_left_out_of_table_7_and_told(context, trial, monkeypatch):
    monkeypatch.setattr(features, "LARGEST", 300)
    small = trial_of(context.run, trial.data, trial.recipe, folds=1, scratch_folds=1, curve=False)
    before, after = trial.heads[1].layers, small.heads[1].layers
    assert set(after) < set(before)
    _, line = features.of_table7(context.run)
    assert all(f"--layer={layer}" in line for layer in set(before) - set(after))
    assert not any(f"--layer={layer} " in line for layer in after)
