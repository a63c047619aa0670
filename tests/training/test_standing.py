"""A run that does not learn says so, and why: five set-ups that each stand still."""

from __future__ import annotations

import dataclasses
import functools
import math
import re

import jax
import numpy as np
import pytest
from jax.nn.initializers import he_normal
from ml_collections import ConfigDict

from configs import quickstart
from tests.conftest import SHALLOW, tiny
from zfnet_jax import model
from zfnet_jax.architecture import Architecture
from zfnet_jax.data import splits
from zfnet_jax.layer_specs import Conv
from zfnet_jax.model import ZFNet
from zfnet_jax.training import health, train
from zfnet_jax.training.check import check
from zfnet_jax.training.health import Health, Layer
from zfnet_jax.training.standing import Watch, reasons

SOUND = Health(
    layers={name: Layer(0.3, 0.1, 1e-3, 2e-3) for name in ("conv1", "conv2", "logits")},
    pixels=(-8.0, 9.0, 0.1, 4.0),
    labels=np.array([7, 7, 7]),
    class_share=1 / 3,
    loss=1.1,
    learned=np.array([1.0, 0.1]),
)


@dataclasses.dataclass(frozen=True)
class Broken:
    fields: dict
    says: str


SET_UPS = {
    "small_weights": Broken(
        {"model.init": "normal", "augment.scale": 1.0},
        "class scores hardly differ .* too small for so many layers .* config.model.init to he",
    ),
    "pixels_in_0_to_1": Broken(
        {"model.init": "normal", "augment.scale": 255.0},
        "pixels have a deviation of 0.2.*lower config.augment.scale to 1",
    ),
    "rate_too_low": Broken({"optimizer.learning_rate": 1e-8}, "raise config.optimizer.learning"),
    "rate_too_high": Broken({"optimizer.learning_rate": 50.0}, "lower config.optimizer.learning"),
}


@pytest.fixture(scope="module")
def recipe(prepared_pictures) -> ConfigDict:
    config = tiny(quickstart.get_config(), prepared_pictures)
    config.check.images, config.check.by_heart_steps = 8, 2
    return config


@pytest.fixture(scope="module")
def net(recipe) -> ZFNet:
    """The initial weights of each set-up are given to one net, so that it is compiled once."""
    return model.from_config(recipe.model, 10)


def measured(net, config) -> Health:
    split = splits.open_split(config.data, "train")
    params = model.initial_params(model.from_config(config.model, 10), 0, 56, 3)
    rate = config.optimizer.learning_rate
    return health.of_run(net, config, params, split, split.mean, rate, None)


@pytest.mark.parametrize("name", SET_UPS)
def test_set_ups_that_stand_still(name, net, recipe):
    config = ConfigDict(recipe.to_dict())
    config.update_from_flattened_dict(SET_UPS[name].fields)
    assert re.search(SET_UPS[name].says, reasons(measured(net, config))[0])


@pytest.mark.parametrize(("steps", "told"), [(8, 1), (9, 0)])
def test_a_run_at_chance_says_so_once(steps, told, shallow_config, tmp_path, monkeypatch, caplog):
    """Its images are shuffled, which no number of a batch shows; its loss stands for 8 steps."""
    shallow_config.check.standing_steps = steps
    shallow_config.check.images, shallow_config.check.by_heart_steps = 4, 30
    opened = splits.open_split

    def shuffled(data, split):
        found = opened(data, split)
        rows = np.random.default_rng(0).permutation(len(found))
        return dataclasses.replace(found, images=found.images[rows])

    monkeypatch.setattr(splits, "open_split", shuffled)
    train.train_and_evaluate(shallow_config, tmp_path, stop_after_steps=8)
    said = [one.getMessage() for one in caplog.records if "at chance" in one.getMessage()]
    assert len(said) == told
    for one in said:
        assert re.search(
            r"stood at chance or above for 8 steps \(2\.\d+, and 2\.303 .* labels belong", one
        )


def test_a_sound_net_has_no_reason_to_stand():
    assert reasons(SOUND) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pixels": (0.0, 0.0, 0.0, 0.0)}, "all pixels that the net sees are 0"),
        ({"class_share": 0.95}, "95% of the images are of one class"),
        ({"learned": np.array([1.1, 1.0])}, "one batch alone is not learned in 2 steps"),
        ({"learned": np.array([1.1, math.nan])}, "one batch alone is not learned in 2 steps"),
    ],
)
def test_what_one_number_says(change, says):
    (found,) = reasons(SOUND._replace(**change))
    assert says in found


def test_updates_of_half_the_weights_are_too_fast():
    layers = {name: layer._replace(update=0.5) for name, layer in SOUND.layers.items()}
    (found,) = reasons(SOUND._replace(layers=layers))
    assert "changes weights by 0.5 of their size: lower" in found


def test_chance_is_what_knowing_the_shares_of_classes_gives():
    assert health.chance(np.arange(10), 10, 0.0) == pytest.approx(math.log(10))
    assert health.chance(np.zeros(5, int), 4, 0.0) == 0.0
    # Three quarters and a quarter; with smoothing of 0.2 each towards a half.
    expected = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    assert health.chance(np.array([0, 0, 0, 1]), 2, 0.2) == pytest.approx(expected)


def test_it_is_told_once_and_of_a_whole_window():
    watch = Watch(chance=2.0, steps=6)
    assert [step for step in range(1, 15) if watch.due(step)] == [6, 12]
    assert watch.stands({"loss": 8.0, "steps": 4}, epoch_ends=True) is None  # four steps alone
    assert watch.stands({"loss": 4.0, "steps": 2}, epoch_ends=False) == (2.0, 6)
    assert watch.stands({"loss": 24.0, "steps": 12}, epoch_ends=True) is None
    assert not watch.due(12)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_lost_does_not_stand(loss):
    assert Watch(chance=2.0, steps=2).stands({"loss": loss, "steps": 2}, epoch_ends=True) is None


def test_a_falling_loss_does_not_stand():
    watch = Watch(chance=2.0, steps=2)
    assert watch.stands({"loss": 3.9, "steps": 2}, epoch_ends=False) is None
    assert watch.stands({"loss": 7.9, "steps": 4}, epoch_ends=False) == (2.0, 2)


def test_health_of_the_first_layer(net, recipe):
    split = splits.open_split(recipe.data, "train")
    params = model.initial_params(net, 0, 56, 3)
    images, labels = split.rows(np.arange(8)), split.labels[:8]  # as many as `check` looks at
    found = health.measure(net, recipe, params, split.mean, images, labels, rate=0.02)

    seen = (images[:, 4:60, 4:60].astype(np.float64) - split.mean[4:60, 4:60]) / 16
    assert found.pixels == pytest.approx(
        (seen.min(), seen.max(), seen.mean(), seen.std()), rel=1e-5
    )

    @functools.partial(jax.grad, has_aux=True)
    def loss(kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        changed = params | {"conv1": params["conv1"] | {"kernel": kernel}}
        logits, activations = model.forward(net, changed, seen.astype(np.float32))
        return -jax.nn.log_softmax(logits)[np.arange(8), labels].mean(), activations["conv1"]

    kernel = params["conv1"]["kernel"]
    gradient, maps = map(np.asarray, jax.jit(loss)(kernel))
    assert found.layers["conv1"].deviation == pytest.approx(
        np.sqrt(np.mean(maps.std(axis=0) ** 2)), rel=1e-4
    )
    assert found.layers["conv1"].dead == np.mean([not maps[..., c].any() for c in range(8)])

    assert found.layers["conv1"].gradient == pytest.approx(np.sqrt(np.mean(gradient**2)), rel=1e-3)
    rms = float(np.sqrt(np.mean(np.square(kernel))))
    layer = found.layers["conv1"]
    assert layer.update == pytest.approx(0.02 / (1 - 0.9) * layer.gradient / rms, rel=1e-4)
    assert len(found.learned) == 2
    assert found.learned[-1] < found.learned[0]


def test_frozen_layers_are_not_judged(recipe):
    config = ConfigDict(recipe.to_dict())
    config.update_from_flattened_dict(SHALLOW)
    config.frozen = ("conv1", "fc7")
    found = measured(model.from_config(config.model, 10), config).layers
    assert [name for name, layer in found.items() if not layer.gradient] == ["conv1", "fc7"]
    assert [found[name].update for name in ("conv1", "fc7")] == [0, 0]
    still = {name: layer._replace(update=0.0) for name, layer in SOUND.layers.items()}
    slow = still | {"logits": SOUND.layers["logits"]._replace(update=1e-9)}
    assert "at most: raise" in reasons(SOUND._replace(layers=slow))[0]


def test_layers_go_from_the_image_up():
    """Parameters are in the order of letters: conv10 stands before conv2."""
    convs = tuple(Conv(number, 2, 1) for number in range(1, 12))
    architecture = Architecture(convs, (), 2, 0.0, classifier="maps")
    net = ZFNet(architecture, kernel_init=he_normal())
    config = quickstart.get_config()
    config.augment.crop, config.check.by_heart_steps = 1, 1
    params = model.initial_params(net, 0, 1, 3)
    images, labels = np.arange(12, dtype=np.uint8).reshape(4, 1, 1, 3), np.array([0, 1, 0, 1])
    mean = np.zeros((1, 1, 3), np.float32)
    found = health.measure(net, config, params, mean, images, labels, rate=0.1).layers
    assert list(found) == [f"conv{number}" for number in range(1, 12)]
    assert found["conv11"].dead == 0  # the class scores


def test_check_says_it_in_lines(net, recipe, monkeypatch):
    monkeypatch.setattr(model, "from_config", lambda *_, **__: net)
    said = check(recipe)
    assert said[0].split() == ["layer", "deviation", "dead", "gradient", "update"]
    names = [f"conv{n}" for n in range(1, 6)] + ["fc6", "fc7", "logits"]
    assert [line.split()[0] for line in said[1:9]] == names
    assert "labels: 10 classes of 7 to 7 images" in said
    assert said[-2].startswith("one batch by heart: 2.3")
    assert said[-1].startswith("one batch alone is not learned in 2 steps")
