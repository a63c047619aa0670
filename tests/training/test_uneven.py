"""What small and uneven sets need: weights, clipping, colours, channels' scales, an early end."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from configs import quickstart
from tests.conftest import SHALLOW, copied, finish, start_training, tiny
from tests.training.test_train import final_state, largest_difference, metrics_without_times
from zfnet_jax import model, parallel
from zfnet_jax.data import augment, batches, colour
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.subset import write_subset
from zfnet_jax.sweep.status import unfinished
from zfnet_jax.training import class_weights, early_stopping, health, optimizer, train
from zfnet_jax.training.step import initial_state, make_train_step

# All of them, and what they have to get on with.
EVERYTHING = SHALLOW | {
    "augment.scale": (20.0, 16.0, 12.0),
    "augment.colour": 0.1,
    "optimizer.class_weights": "inverse",
    "optimizer.clip_norm": 0.3,
    "optimizer.accumulation": 2,
    "optimizer.weight_decay": 5e-4,
    "early_stopping": 1,
    "frozen": ("conv1",),
    "data.source": "prepared",
}


@pytest.fixture(scope="module")
def uneven(prepared_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures, of every second class three instead of seven: three steps an epoch."""
    folder = tmp_path_factory.mktemp("uneven")
    for name in ("train", "validation"):
        split = open_prepared(prepared_pictures, name)
        count = [3 + 4 * (label % 2) for label in range(10)]
        rows = [np.flatnonzero(split.labels == label)[: count[label]] for label in range(10)]
        rows = np.sort(np.concatenate(rows))
        how = {"labels": split.labels[rows], "class_names": split.class_names}
        write_subset(split, rows, folder / name, **how, with_mean=name == "train")
    return folder


@pytest.fixture
def everything(uneven: Path) -> ConfigDict:
    return recipe(uneven)


def recipe(uneven: Path) -> ConfigDict:
    config = tiny(quickstart.get_config(), uneven)
    config.update_from_flattened_dict(EVERYTHING)
    return config


@pytest.fixture(scope="module")
def ended(uneven: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with all of them, which ends early."""
    folder = tmp_path_factory.mktemp("ended")
    train.train_and_evaluate(recipe(uneven), folder)
    return folder


def test_classes_count_alike_and_an_image_counts_one_on_average():
    labels = np.array([0, 0, 0, 0, 0, 0, 2, 2, 3])
    weights = class_weights.of_classes("inverse", labels, 4)
    np.testing.assert_allclose(weights, [9 / 18, 0, 9 / 6, 9 / 3], rtol=1e-6)
    assert weights[labels].mean() == pytest.approx(1)
    # A net that tells no image from another does best with equal scores for all classes.
    assert health.chance(labels, 4, 0.0, weights) == pytest.approx(np.log(3))
    assert class_weights.of_classes("none", labels, 4) is None
    with pytest.raises(ValueError, match=r"class_weights 'equal': must be 'none' or 'inverse'"):
        class_weights.of_classes("equal", labels, 4)


@pytest.mark.parametrize(
    ("errors", "patience", "ends"),
    [
        ((), 1, False),
        ((0.5,), 1, False),
        ((0.5, 0.4), 1, False),
        ((0.5, 0.5), 1, True),  # as good is not better
        ((0.5, 0.4, 0.6), 2, False),
        ((0.5, 0.4, 0.6, 0.41), 2, True),
        ((0.5, 0.4, 0.6, 0.39), 2, False),
        ((0.5, 0.5, 0.5, 0.5), 0, False),
    ],
)
def test_a_run_ends_after_so_many_epochs_without_a_lower_error(errors, patience, ends):
    assert early_stopping.ends(errors, patience) == ends


def test_the_best_epoch_told_is_the_one_whose_checkpoint_is_kept():
    """Of equal errors the newest, while the first of them begins the wait."""
    assert "not fallen for 3 epochs; the best was epoch 3, step 30" in early_stopping.words(
        (0.5, 0.3, 0.3, 0.4, 0.4), steps_per_epoch=10
    )


def test_one_step_is_that_of_the_formulas(everything, uneven):
    """Crops with the noise of their keys, weighted loss, clipped gradient, decay; and no branch."""
    config = everything
    config.model.dropout, config.frozen = 0.0, ()
    split = open_prepared(uneven, "train")
    net = model.from_config(config.model, classes=10)
    weights = class_weights.of_classes("inverse", split.labels, 10)
    colours = 0.1 * colour.components(colour.covariance(split))
    params = jax.tree.map(np.asarray, model.initial_params(net, 0, 56, 3))
    batch = batches.read(split, np.arange(0, 48, 3))

    def mapped(**extra: np.ndarray):
        transform = optimizer.momentum(config.optimizer)
        step = make_train_step(net, config, transform, optax.constant_schedule(0.5), 3, **extra)
        state, mean = parallel.replicate((initial_state(params, transform), split.mean))
        step = parallel.map_over_devices(step, in_axes=(None, None, 0))
        return step, (state, mean, parallel.split_rows(batch))

    step, given = mapped(class_weights=weights, colours=colours)
    program = step.lower(*given).as_text()
    config.optimizer.clip_norm = 0.0
    plain, its = mapped()
    without = plain.lower(*its).as_text()
    for branch in ("stablehlo.case", "stablehlo.if"):  # which pooling has, for the kind of device
        assert program.count(branch) == without.count(branch)
    after, loss = step(*given)

    @jax.jit
    def cropped(batch: batches.Batch) -> tuple[jax.Array, jax.Array]:
        """The crops of the images' keys, and the noise of their colours."""
        keys = augment.image_keys(0, 0, batch.index)
        keys = jax.vmap(lambda key: jax.random.split(key)[0])(keys)
        mean = jnp.asarray(split.mean)
        crops = augment.random_crops(batch.images, keys, mean, 56, "random", 1.0)
        return crops, colour.noise(keys, jnp.asarray(colours))

    crops, added = map(np.asarray, cropped(batch))
    assert 0.1 < np.abs(added).mean() < 50  # grey levels
    seen = (crops + added[:, None, None]) / np.array([20, 16, 12], np.float32)

    def expected_loss(params: dict) -> jax.Array:
        logits, _ = model.forward(net, params, jnp.asarray(seen))
        targets = np.full((16, 10), 0.01) + 0.9 * np.eye(10)[batch.labels]
        each = -(targets * jax.nn.log_softmax(logits)).sum(1)
        return jnp.mean(weights[batch.labels] * each)

    expected, gradient = jax.jit(jax.value_and_grad(expected_loss))(params)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    gradient = jax.tree.map(np.asarray, gradient)
    norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(gradient)))
    assert norm > 0.3  # or nothing would be clipped
    for name, layer in params.items():
        moved = gradient[name]["kernel"] * (0.3 / norm) + 5e-4 * layer["kernel"]
        kernel = layer["kernel"] - 0.5 * moved
        np.testing.assert_allclose(after.params[name]["kernel"], kernel, atol=2e-6)


def test_all_together_on_8_devices_are_those_of_1(ended, uneven, tmp_path):
    fields = (f"--config.{name}={value}" for name, value in EVERYTHING.items())
    assert "ends early" in finish(start_training(tmp_path, uneven, *fields, devices=8))
    assert json.loads((tmp_path / "run.json").read_text())["devices"]["count"] == 8
    (step, one), (steps, eight) = final_state(ended), final_state(tmp_path)
    assert step == steps
    assert largest_difference(one["params"], eight["params"]) < 1e-4
    for record, expected in zip(
        metrics_without_times(tmp_path), metrics_without_times(ended), strict=True
    ):
        assert record == pytest.approx(expected, rel=1e-3)


def test_a_run_that_ends_early_is_finished_and_goes_on_when_told(
    everything, ended, tmp_path, capsys
):
    step, unbroken = final_state(ended)
    assert step < 9
    assert unfinished(ended) is None
    train.train_and_evaluate(everything, tmp_path / "run", stop_after_steps=step - 2)
    assert final_state(tmp_path / "run")[0] == step - 2
    assert unfinished(tmp_path / "run")
    train.train_and_evaluate(everything, tmp_path / "run")
    said = "ends early: validation error has not fallen for 1 epochs; the best was epoch"
    assert capsys.readouterr().out.count(said) == 1
    resumed = final_state(tmp_path / "run")
    assert resumed[0] == step
    assert largest_difference(unbroken, resumed[1]) == 0
    assert metrics_without_times(tmp_path / "run") == metrics_without_times(ended)
    assert train.train_and_evaluate(everything, tmp_path / "run") == {}

    everything.early_stopping = 0
    for name in ("run", "whole"):
        train.train_and_evaluate(everything, tmp_path / name)
    (step, whole), went_on = final_state(tmp_path / "whole"), final_state(tmp_path / "run")
    assert step == went_on[0] == 9
    assert largest_difference(whole, went_on[1]) == 0


def test_a_run_of_before_trains_on(shallow_config, shallow_run, tmp_path):
    run = copied(shallow_run, tmp_path / "run")
    saved = json.loads((run / "config.json").read_text())
    del saved["early_stopping"], saved["augment"]["colour"]
    del saved["optimizer"]["clip_norm"], saved["optimizer"]["class_weights"]
    (run / "config.json").write_text(json.dumps(saved))
    assert train.train_and_evaluate(shallow_config, run) == {}
    shallow_config.augment.colour = 0.1
    with pytest.raises(ValueError, match=r"augment\.colour is 0\.0 there and 0\.1 here"):
        train.train_and_evaluate(shallow_config, run)
