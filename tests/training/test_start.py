"""Runs that start from a net: what they take over, what stays frozen, and what that saves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from configs import finetune, quickstart
from tests.conftest import SHALLOW, copied, finish, start_training, tiny
from tests.training.test_train import final_state, largest_difference, metrics_without_times
from zfnet_jax import model, parallel
from zfnet_jax.data import batches
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.subset import write_subset
from zfnet_jax.importers.net import Net
from zfnet_jax.importers.preprocessing import Preprocessing
from zfnet_jax.importers.write import Imported, write_workdir
from zfnet_jax.runs import array_tree, workdir
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies.transfer import scratch
from zfnet_jax.training import layers, optimizer, train
from zfnet_jax.training.optimizer import Params
from zfnet_jax.training.start import from_net
from zfnet_jax.training.step import initial_state, make_train_step

CLASSES = 5
FROZEN = ("conv1", "fc6")
TUNED = SHALLOW | {
    "data.source": "prepared",
    "frozen": FROZEN,
    "epochs": 2,
    "optimizer.rms_limit": 0.02,
}


@pytest.fixture(scope="module")
def run(shallow_run: Path) -> Run:
    """`shallow_run`, opened."""
    return open_run(shallow_run)


@pytest.fixture(scope="module")
def few(prepared_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of five classes alone: two steps an epoch."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("train", "validation"):
        split = open_prepared(prepared_pictures, name)
        rows = np.flatnonzero(split.labels < CLASSES)
        how = {"labels": split.labels[rows], "class_names": split.class_names[:CLASSES]}
        write_subset(split, rows, folder / name, **how, with_mean=name == "train")
    return folder


@pytest.fixture
def tuning(shallow_run: Path, few: Path) -> ConfigDict:
    return tuned_config(shallow_run, few)


def tuned_config(source: Path, few: Path) -> ConfigDict:
    """Starts from `shallow_run`, of ten classes, with much that would change what is frozen."""
    config = tiny(quickstart.get_config(), few)
    config.update_from_flattened_dict(TUNED | {"init_from": str(source)})
    return config


@pytest.fixture(scope="module")
def tuned(shallow_run: Path, few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that starts from `shallow_run`, trained to its end."""
    folder = tmp_path_factory.mktemp("tuned")
    train.train_and_evaluate(tuned_config(shallow_run, few), folder)
    return folder


def test_what_is_frozen_stays_to_the_last_bit_and_the_run_says_where_it_came_from(
    tuned, shallow_run
):
    step, before = final_state(shallow_run)
    state = final_state(tuned)[1]
    for name in FROZEN:
        assert largest_difference(before["params"][name], state["params"][name]) == 0
    for name in ("conv5", "fc7"):
        assert largest_difference(before["params"][name], state["params"][name]) > 1e-4
    assert state["params"]["logits"]["kernel"].shape == (24, CLASSES)
    kept = {name.split("/")[-2] for name in array_tree.named_leaves(state["momentum"])}
    assert kept == {"conv5", "fc7", "logits"}
    source, run = open_run(shallow_run), open_run(tuned)
    np.testing.assert_array_equal(run.mean, source.mean)
    taken = ["conv1", "conv5", "fc6", "fc7"]
    said = json.loads((tuned / "run.json").read_text())["init_from"]
    digest = source.weights_digest
    wanted = {"run": str(shallow_run), "step": step, "weights": digest, "layers": taken}
    assert said == wanted | {"new": ["logits"]}


def test_a_stopped_and_a_killed_run_resume_bit_identical_without_the_net_they_started_from(
    tuning, tuned, shallow_run, tmp_path, capsys
):
    source = copied(shallow_run, tmp_path / "source")
    tuning.init_from, resumed = str(source), tmp_path / "resumed"
    train.train_and_evaluate(tuning, resumed, stop_after_steps=1)
    assert f"starts from {source}, step 12: conv1, conv5," in (said := capsys.readouterr().out)
    assert "fc7 and the mean of its images; made anew: logits (other classes)\n" in said
    source.rename(tmp_path / "gone")
    train.train_and_evaluate(tuning, resumed, stop_after_steps=3)
    # What a kill leaves that comes before the checkpoint of the third step.
    (resumed / "checkpoints" / "3").rename(tmp_path / "lost")
    train.train_and_evaluate(tuning, resumed)
    assert largest_difference(final_state(tuned)[1], final_state(resumed)[1]) == 0
    assert metrics_without_times(tuned) == metrics_without_times(resumed)
    runs = [json.loads((one / "run.json").read_text())["init_from"] for one in (tuned, resumed)]
    assert runs[0] == runs[1] | {"run": str(shallow_run)}

    tuning.frozen = ("conv1",)
    with pytest.raises(ValueError, match=r"frozen is \['conv1', 'fc6'\] there and \["):
        train.train_and_evaluate(tuning, resumed)
    tuning.frozen, tuning.init_from = FROZEN, ""
    with pytest.raises(ValueError, match=r"init_from is '.*source' there and '' here"):
        train.train_and_evaluate(tuning, resumed)


@pytest.mark.slow
def test_eight_devices_tune_as_one(tuned, shallow_run, few, tmp_path):
    fields = TUNED | {"init_from": shallow_run}
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    finish(start_training(tmp_path, few, *flags, devices=8))
    (step, one), (last, eight) = final_state(tuned), final_state(tmp_path)
    assert step == last == 4
    assert largest_difference(one["params"], eight["params"]) < 1e-4
    assert all(largest_difference(one["params"][n], eight["params"][n]) == 0 for n in FROZEN)


def convolutions(config: ConfigDict, frozen: tuple[str, ...]) -> int:
    """How many a step has whose layers `frozen` are not trained."""
    config.frozen = frozen
    net = model.from_config(config.model, classes=10)
    transform = optimizer.momentum(config.optimizer)
    step = make_train_step(net, config, transform, optax.constant_schedule(0.1), 4)
    crop, size = config.augment.crop, config.data.image_size
    names = layers.params_of(net.architecture, frozen)
    shapes = model.parameter_shapes(net, crop, 3)
    state = jax.eval_shape(lambda params: initial_state(params, transform, names), shapes)
    mean, rows = np.zeros((size, size, 3), np.float32), np.zeros(2, np.int32)
    batch = batches.Batch(
        np.zeros((2, size, size, 3), np.uint8), rows, rows, np.ones(2, np.float32)
    )
    mapped = parallel.map_over_devices(step, in_axes=(None, None, 0))
    traced = jax.jit(mapped).trace(state, mean, parallel.split_rows(batch))
    return traced.lower(lowering_platforms=("cuda",)).as_text().count("stablehlo.convolution")


def test_what_is_frozen_has_no_gradient_and_below_it_is_no_way_back(tiny_config):
    # Of five layers; of the trained ones the gradient, and of what lies above one its input's.
    assert convolutions(tiny_config, ("conv3",)) == 5 + 4 + 4
    assert convolutions(tiny_config, ("conv1", "conv2", "conv3")) == 5 + 2 + 1


def test_a_frozen_layer_has_no_dropout(run):
    images = jax.random.normal(jax.random.key(0), (2, 56, 56, 3))
    keys = jax.random.split(jax.random.key(1), 2)

    @jax.jit
    def logits(params: Params) -> list[jax.Array]:
        """In evaluation, and in training with all and with one of two hidden layers frozen."""
        how = ((None, ()), (keys, ("fc6", "fc7")), (keys, ("fc6",)))
        return [run.net.apply({"params": params}, images, *one)[0] for one in how]

    evaluated, still, moved = logits(run.params)
    np.testing.assert_array_equal(still, evaluated)
    assert np.abs(moved - evaluated).max() > 0


def taken(config: ConfigDict, run: Run, **changed):
    """What is taken over from `run` for its own classes."""
    config.init_from = f"{run.directory}:{run.step}"
    about = {"class_names": run.class_names, "mean": np.zeros((64, 64, 3), np.float32)} | changed
    return from_net(config, run.net.architecture, run.params, **about)


def test_which_layers_are_taken_over(shallow_config, run):
    every = list(run.params)
    assert sorted(taken(shallow_config, run).params) == sorted(every)
    renamed = tuple(name.upper() for name in run.class_names)
    assert taken(shallow_config, run, class_names=renamed).record["new"] == ["logits"]
    shallow_config.init_layers = ("logits", "conv5")
    some = taken(shallow_config, run, class_names=renamed)
    assert some.params.keys() == {"logits", "conv5"}
    assert not some.mean.any()  # of the new data: the first layer is made anew
    shallow_config.init_layers = ("conv1",)
    other = taken(shallow_config, run, mean=np.zeros((72, 72, 3), np.float32))
    np.testing.assert_allclose(other.mean[3, 4], run.mean.mean((0, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen": ("conv1,conv2",)}, r"config.frozen names 'conv1,conv2', but the layers are co"),
        ({"init_layers": ("conv9",)}, r"config.init_layers names 'conv9', but the layers are conv"),
        ({"frozen": (*FROZEN, "conv5", "fc7", "logits")}, "left to train"),
        ({"augment.scale": 1.0}, r"scale is 1.0, but .* was trained with 16.0, .*finetune.py:"),
        ({"init_layers": ("logits",)}, r"names logits, but its bias is \[10\] in .*, \[5\] h"),
        ({"init_from": "nowhere"}, "config.init_from: no checkpoints: there is no directory"),
    ],
)
def test_what_cannot_be_started_from_is_refused_in_one_line(tuning, tmp_path, changes, message):
    tuning.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message) as refused:
        train.train_and_evaluate(tuning, tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_an_imported_net_is_trained_on_with_its_preprocessing(shallow_config, run, few, tmp_path):
    shallow_config.model.init = "normal"
    net = Net(shallow_config.model.to_dict(), run.params, len(run.class_names))
    looks = Preprocessing(64, 56, np.array([120.0, 110, 100], np.float32), (58.0, 57.0, 56.0))
    imported = Imported(net, looks, run.class_names, {"format": "pytorch"})
    write_workdir(tmp_path / "imported", imported, shallow_config)
    config = finetune.get_config(f"{tmp_path / 'imported'}:0")
    config.data.source, config.data.prepared_dir = "prepared", str(few)
    with pytest.raises(ValueError, match=re.escape(f"--config.init_from={tmp_path}/imported")):
        train.train_and_evaluate(config, tmp_path / "imported")
    train.train_and_evaluate(config, tmp_path / "run", stop_after_steps=1)
    tuned = open_run(tmp_path / "run")
    assert tuned.step == 1
    np.testing.assert_array_equal(tuned.mean, looks.mean_image)
    assert tuned.config.augment.scale == [58.0, 57.0, 56.0]
    assert "imported" not in json.loads((tmp_path / "run" / "run.json").read_text())


def test_a_recipe_to_train_anew_with_starts_from_nothing(tuning):
    """Its digest is that of before there was a net to start from, or anything that came later; all
    its epochs are trained."""
    tuning.early_stopping = 3
    anew = scratch._recipe(tuning, scratch.ScratchOptions(data="other"))
    assert (anew.init_from, anew.init_layers, anew.frozen) == ("", (), ())
    fields = workdir.as_json(anew)
    for name in ("init_from", "init_layers", "frozen", "early_stopping", "rules"):
        del fields[name]
    for name in ("drops", "clip_norm", "class_weights"):
        del fields["optimizer"][name]
    del fields["augment"]["colour"]
    assert workdir.without_later(workdir.as_json(anew)) == fields
    with pytest.raises(ValueError, match=r"finetune.py:nowhere: name the folder of the run"):
        finetune.get_config("nowhere")
