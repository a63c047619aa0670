"""Training: the same on any number of devices, stopped anywhere and resumed, and it learns."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict
from PIL import Image

from tests.conftest import SHALLOW, finish, start_training
from tests.photo_folders import save_photos
from zfnet_jax import model, parallel
from zfnet_jax.data.batches import read, train_rows
from zfnet_jax.data.pictures import draw
from zfnet_jax.data.prepare import prepare
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.splits import SAME_PHOTOS, open_split
from zfnet_jax.runs.checkpoint import open_checkpoints
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies.errors.options import Options, ScoreOptions
from zfnet_jax.studies.errors.study import predicted
from zfnet_jax.studies.errors.summary import scored, tables
from zfnet_jax.training import optimizer, train
from zfnet_jax.training.metrics import read_metrics
from zfnet_jax.training.step import initial_state, make_train_step

TIME_FIELDS = ("images_per_second", "waiting", "epoch_seconds")


def final_state(workdir: Path) -> tuple[int, dict]:
    with open_checkpoints(workdir / "checkpoints") as checkpoints:
        step = checkpoints.latest_step()
        return step, checkpoints.restore(step)[0]["state"]


def metrics_without_times(workdir: Path) -> list[dict]:
    return [
        {name: value for name, value in record.items() if name not in TIME_FIELDS}
        for record in read_metrics(workdir)
    ]


def largest_difference(a: dict, b: dict) -> float:
    differences = jax.tree.map(lambda x, y: np.max(np.abs(x - y)), a, b)
    return max(jax.tree.leaves(differences))


@pytest.mark.slow
def test_ten_steps_are_the_same_on_1_device_8_devices_and_2_processes_of_2(
    shallow_config: ConfigDict, prepared_pictures: Path, tmp_path: Path
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    (layers,) = (f"--config.{field}={value}" for field, value in SHALLOW.items())
    flags = (layers, "--stop_after_steps=10")
    eight = start_training(tmp_path / "eight", prepared_pictures, *flags, devices=8)
    train.train_and_evaluate(shallow_config, tmp_path / "one", stop_after_steps=10)
    finish(eight)
    pair = [
        start_training(
            tmp_path / "pair",
            prepared_pictures,
            *flags,
            f"--coordinator={coordinator}",
            "--processes=2",
            f"--process={process}",
            devices=2,
        )
        for process in range(2)
    ]
    for process in pair:
        finish(process)

    step, reference = final_state(tmp_path / "one")
    start = json.loads((tmp_path / "one" / "run.json").read_text())
    assert step == 10
    assert start["devices"]["count"] == 1
    for name, count in (("eight", 8), ("pair", 4)):
        run = json.loads((tmp_path / name / "run.json").read_text())
        assert run["devices"]["count"] == count
        step, state = final_state(tmp_path / name)
        assert step == 10
        assert largest_difference(reference["params"], state["params"]) < 1e-4, name
        for record, expected in zip(
            metrics_without_times(tmp_path / name),
            metrics_without_times(tmp_path / "one"),
            strict=True,
        ):
            assert record == pytest.approx(expected, rel=1e-3)


def test_golden_losses_of_a_tiny_run(tiny_run):
    """Guards the recipe as a whole: pictures, initial weights, order, crops, dropout, updates.

    Change the numbers only with a change that is meant to alter training, and say so.
    """
    losses = [record["train/loss"] for record in read_metrics(tiny_run)]
    assert all(0 <= record["waiting"] <= 1 for record in read_metrics(tiny_run))
    assert losses == pytest.approx([2.298205, 2.329038, 2.317002], rel=1e-4)


@pytest.mark.parametrize("stop", [4, 9])
def test_stopped_and_resumed_ends_bit_identical(shallow_config, shallow_run, tmp_path, stop):
    for _ in range(2):  # the same command again has nothing to do
        train.train_and_evaluate(shallow_config, tmp_path, stop_after_steps=stop)
        assert final_state(tmp_path)[0] == stop
    train.train_and_evaluate(shallow_config, tmp_path)

    step, unbroken = final_state(shallow_run)
    resumed_step, resumed = final_state(tmp_path)
    assert resumed_step == step == 12
    assert largest_difference(unbroken, resumed) == 0
    assert metrics_without_times(tmp_path) == metrics_without_times(shallow_run)


def test_killed_between_saves_resumes_from_the_last_one(shallow_config, shallow_run, tmp_path):
    """Records after the restored step go, for their steps are done again."""
    shallow_config.checkpoint.every_steps = 3
    train.train_and_evaluate(shallow_config, tmp_path, stop_after_steps=8)
    # What a kill after step 8's record and before its checkpoint leaves behind:
    with open_checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.all_steps()[-2:] == [6, 8]
    (tmp_path / "checkpoints" / "8").rename(tmp_path / "gone")
    train.train_and_evaluate(shallow_config, tmp_path)

    assert largest_difference(final_state(shallow_run)[1], final_state(tmp_path)[1]) == 0
    assert metrics_without_times(tmp_path) == metrics_without_times(shallow_run)


def test_the_plateau_sets_the_learning_rate_also_of_a_resumed_run(shallow_config, tmp_path):
    shallow_config.optimizer.schedule = "plateau"
    # The first epoch always improves on nothing, no later one by a whole error rate; a factor of
    # zero makes the drop visible: from then on nothing moves.
    shallow_config.optimizer.plateau.update(factor=0.0, patience=1, min_improvement=1.0)
    train.train_and_evaluate(shallow_config, tmp_path, stop_after_steps=8)
    train.train_and_evaluate(shallow_config, tmp_path)
    assert [r["learning_rate"] for r in read_metrics(tmp_path)] == pytest.approx([0.02, 0.02, 0])
    with open_checkpoints(tmp_path / "checkpoints") as checkpoints:
        params = [checkpoints.restore(step)[0]["state"]["params"] for step in (4, 8, 12)]
    assert largest_difference(params[0], params[1]) > 0
    assert largest_difference(params[1], params[2]) == 0


def test_accumulated_gradients_are_those_of_the_whole_batch(shallow_config, tmp_path):
    train.train_and_evaluate(shallow_config, tmp_path / "whole", stop_after_steps=3)
    shallow_config.optimizer.accumulation = 4
    train.train_and_evaluate(shallow_config, tmp_path / "parts", stop_after_steps=3)
    whole, parts = final_state(tmp_path / "whole")[1], final_state(tmp_path / "parts")[1]
    assert largest_difference(whole["params"], parts["params"]) < 1e-5
    assert whole["sums"]["loss"] == pytest.approx(parts["sums"]["loss"], rel=1e-5)


def test_every_step_ends_with_the_filters_limited(shallow_config, tmp_path):
    limit = shallow_config.optimizer.rms_limit = 0.02
    train.train_and_evaluate(shallow_config, tmp_path, stop_after_steps=2)
    state = final_state(tmp_path)[1]
    rms = np.concatenate(
        [
            np.sqrt(np.mean(layer["kernel"] ** 2, axis=(0, 1, 2)))
            for layer in state["params"].values()
            if layer["kernel"].ndim == 4
        ]
    )
    assert rms.max() == pytest.approx(limit, rel=1e-5)
    assert state["sums"]["clipped"] > 0


def test_epoch_of_a_finished_run_trains_no_further(shallow_config, shallow_run):
    before = metrics_without_times(shallow_run)
    assert train.train_and_evaluate(shallow_config, shallow_run) == {}
    assert metrics_without_times(shallow_run) == before


SCORING = ScoreOptions(bins=5)


def test_of_few_classes_no_top5_is_told(shallow_config, tmp_path, capsys):
    for name in ("face", "fish", "house"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for seed in range(10):
            path = tmp_path / "photos" / name / f"{seed}.png"
            Image.fromarray(draw(name, seed, 64).image).save(path)
    data = shallow_config.data
    shallow_config.epochs = 1
    data.source, data.prepared_dir = "folder", str(tmp_path / "prepared")
    data.folder.train, data.folder.held_out = str(tmp_path / "photos"), 0.2
    prepare(data, workers=1, store_images=True, overwrite=False)
    train.train_and_evaluate(shallow_config, tmp_path / "run")
    (record,) = read_metrics(tmp_path / "run")
    assert {"train/top1", "val/top1"} <= record.keys()
    assert not {"train/top5", "val/top5"} & record.keys()
    line = next(line for line in capsys.readouterr().out.splitlines() if "val loss" in line)
    assert "top-1" in line
    assert "top-5" not in line
    opened = open_run(tmp_path / "run")
    split = open_split(data, "validation")
    found = predicted(opened, split, Options(crops=1), batch_size=6, progress=False)
    (table,) = tables(scored([opened.directory], [found], SCORING), SCORING)
    titles = [column.title for column in table.columns]
    assert "top-1 error % [95% interval]" in titles
    assert not [title for title in titles if "top-5" in title]


def test_one_batch_is_learnt_by_heart(shallow_config, prepared_pictures):
    shallow_config.model.dropout = 0.0
    shallow_config.augment.crop = 64  # no room for crops, only flips
    split = open_prepared(prepared_pictures, "train")
    net = model.from_config(shallow_config.model, classes=10)
    transform = optimizer.momentum(shallow_config.optimizer)
    state = initial_state(model.initial_params(net, 0, 64, 3), transform)
    step = parallel.map_over_devices(
        make_train_step(net, shallow_config, transform, optax.constant_schedule(0.01), 1),
        in_axes=(None, None, 0),
        donate=(0,),
    )
    rows = train_rows(
        len(split), seed=0, epoch=0, start=0, batch_size=8, process_index=0, process_count=1
    )
    batch = read(split, next(rows))
    state, mean = parallel.replicate((state, split.mean))
    # With a label smoothing of 0.1 over ten classes no loss is below 0.500.
    smoothed = np.full(10, 0.01) + 0.9 * np.eye(10)[0]
    floor = -np.sum(smoothed * np.log(smoothed))
    losses: list[float] = []
    while max(losses[-5:], default=np.inf) >= floor + 0.1:
        state, loss = step(state, mean, parallel.split_rows(batch))
        losses.append(float(loss))
        assert len(losses) <= 300
    assert losses[0] > 1.5
    assert floor <= min(losses)


def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(shallow_config, tmp_path):
    shallow_config.optimizer.learning_rate = 1e6
    with pytest.raises(FloatingPointError, match=r"is not finite at step \d+, whose images"):
        train.train_and_evaluate(shallow_config, tmp_path)
    with open_checkpoints(tmp_path / "checkpoints") as checkpoints:
        for step in checkpoints.all_steps():
            arrays, _ = checkpoints.restore(step)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(arrays))


def test_another_config_in_the_same_folder_is_refused_by_field(shallow_config, shallow_run):
    shallow_config.model.conv5.maps = 13
    with pytest.raises(ValueError, match=r"model.conv5.maps is 12 there and 13 here"):
        train.train_and_evaluate(shallow_config, shallow_run)


def test_more_epochs_and_drops_give_the_run_that_had_them_from_the_start(
    shallow_config, shallow_run, tmp_path
):
    shallow_config.epochs = 4
    with pytest.raises(ValueError, match=r"epochs is 3 there and 4 here, and the cosine"):
        train.train_and_evaluate(shallow_config, shallow_run)
    shallow_config.optimizer.schedule = "plateau"
    shallow_config.optimizer.plateau.patience = 1
    shallow_config.optimizer.plateau.min_improvement = 1.0  # a drop of its own after epoch 2
    shallow_config.epochs, shallow_config.optimizer.drops = 3, ((1, 0.5), (2, 0.25))
    train.train_and_evaluate(shallow_config, tmp_path / "unbroken")
    rates = [record["learning_rate"] for record in read_metrics(tmp_path / "unbroken")]
    assert rates == pytest.approx([0.02, 0.01, 0.02 * 0.5 * 0.25 * 0.1])

    shallow_config.epochs, shallow_config.optimizer.drops = 1, ()
    train.train_and_evaluate(shallow_config, tmp_path / "more")
    shallow_config.epochs, shallow_config.optimizer.drops = 2, ((1, 0.5),)
    train.train_and_evaluate(shallow_config, tmp_path / "more", stop_after_steps=5)
    for late in (((1, 0.25),), ((0, 0.5), (1, 0.5)), ()):
        shallow_config.optimizer.drops = late
        with pytest.raises(ValueError, match=r"epoch \d has begun with .* \(2, FACTOR\) being the"):
            train.train_and_evaluate(shallow_config, tmp_path / "more")
    shallow_config.epochs, shallow_config.optimizer.drops = 3, ((1, 0.5), (2, 0.25))
    train.train_and_evaluate(shallow_config, tmp_path / "more")
    unbroken, more = (final_state(tmp_path / name) for name in ("unbroken", "more"))
    assert unbroken[0] == more[0] == 12
    assert largest_difference(unbroken[1], more[1]) == 0
    assert metrics_without_times(tmp_path / "more") == metrics_without_times(tmp_path / "unbroken")


def test_a_batch_that_does_not_divide_is_refused(shallow_config, tmp_path):
    shallow_config.optimizer.accumulation = 3
    with pytest.raises(ValueError, match="choose a multiple of 3"):
        train.train_and_evaluate(shallow_config, tmp_path)


def test_images_to_validate_on_need_not_divide(shallow_config, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel.jax, "device_count", lambda: 3)
    shallow_config.batch_size, shallow_config.eval_batch_size = 15, 16
    shallow_config.data.prepared_dir = str(tmp_path)  # what comes after the batches is refused
    with pytest.raises(FileNotFoundError):
        train.train_and_evaluate(shallow_config, tmp_path)


def test_a_checkpoint_holds_all_that_a_user_of_the_net_needs(shallow_run):
    with open_checkpoints(shallow_run / "checkpoints") as checkpoints:
        assert checkpoints.all_steps() == [4, 8, 12]  # epochs 1 and 2 of Fig. 4, and the latest
        arrays, record = checkpoints.restore(12)
    assert arrays["mean"].shape == (64, 64, 3)
    assert record["class_names"][0]
    assert record["config"]["augment"] == {
        "crop": 56,
        "crops": "random",
        "scale": 16.0,
        "colour": 0.0,
    }
    run = json.loads((shallow_run / "run.json").read_text())
    assert run["images"] == {"train": 70, "validation": 30}
    assert {"jax", "flax", "optax"} < run["versions"].keys()
    assert record["data"] == run["data"]["train"]


def test_data_that_no_net_can_learn_from_are_refused_or_told(shallow_config, tmp_path, monkeypatch):
    save_photos(tmp_path / "photos", {"only": 8})
    only = str(tmp_path / "photos")
    shallow_config.data.source, shallow_config.data.folder.train = "folder", only
    shallow_config.data.folder.validation = only
    shallow_config.data.prepared_dir = str(tmp_path / "one")
    prepare(shallow_config.data, workers=1, store_images=True, overwrite=False, progress=False)
    with pytest.raises(ValueError, match=r"one class only.*one folder for each of two classes"):
        train.train_and_evaluate(shallow_config, tmp_path / "run")

    save_photos(tmp_path, {"photos/more": 8})
    shallow_config.data.prepared_dir = str(tmp_path / "two")
    prepare(shallow_config.data, workers=1, store_images=True, overwrite=False, progress=False)
    said: list[str] = []
    monkeypatch.setattr("zfnet_jax.training.train.logging.warning", said.append)
    shallow_config.batch_size = 17
    with pytest.raises(ValueError, match=r"16 training .* of 17: set config.batch_size to 16 or"):
        train.train_and_evaluate(shallow_config, tmp_path / "run")
    assert said == [SAME_PHOTOS]
