"""The optimiser against formulas written out by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import zfnet
from zfnet_jax.training import optimizer
from zfnet_jax.training.optimizer import Plateau, limit_filter_rms


@pytest.fixture
def config() -> ConfigDict:
    return zfnet.get_config().optimizer


def test_the_gradient_is_clipped_as_a_whole_before_weight_decay(config):
    params = {"a": {"kernel": jnp.array([[2.0]])}, "b": {"kernel": jnp.array([[0.0]])}}
    grads = {"a": {"kernel": jnp.array([[3.0]])}, "b": {"kernel": jnp.array([[4.0]])}}
    config.weight_decay = 0.1
    for limit, share in ((2.5, 0.5), (6.0, 1.0)):
        config.clip_norm = limit
        transform = optimizer.momentum(config)
        updates, _ = transform.update(grads, transform.init(params), params)
        assert updates["a"]["kernel"] == pytest.approx(share * 3 + 0.1 * 2)
        assert updates["b"]["kernel"] == pytest.approx(share * 4)
    config.clip_norm = -1.0
    with pytest.raises(ValueError, match=r"config\.optimizer\.clip_norm -1\.0: must be 0 or more"):
        optimizer.momentum(config)


def test_momentum_and_weight_decay_by_hand(config):
    config.weight_decay = 0.1
    transform = optimizer.momentum(config)
    params = {"fc": {"kernel": jnp.array([[2.0]]), "bias": jnp.array([3.0])}}
    grads = {"fc": {"kernel": jnp.array([[1.0]]), "bias": jnp.array([1.0])}}
    state = transform.init(params)
    first, state = transform.update(grads, state, params)
    second, _ = transform.update(grads, state, params)
    assert first["fc"]["kernel"] == pytest.approx(1 + 0.1 * 2)
    assert second["fc"]["kernel"] == pytest.approx(0.9 * 1.2 + 1.2)
    assert second["fc"]["bias"] == pytest.approx(0.9 + 1)  # biases do not decay


def test_rms_limit_rescales_only_filters_that_exceed_it():
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 1, (3, 3, 4, 6)).astype(np.float32) * [0.01, 0.05, 0.2, 0.5, 0, 3]
    dense = np.full((2, 2), 9.0, np.float32)
    params = {
        "conv1": {"kernel": jnp.array(kernel, jnp.float32), "bias": jnp.full(6, 7.0)},
        "affine1": {"scale": jnp.full(6, 9.0), "bias": jnp.zeros(6)},
        "fc6": {"kernel": jnp.array(dense), "bias": jnp.zeros(2)},
    }
    limited, share = limit_filter_rms(params, 0.1)
    new = np.asarray(limited["conv1"]["kernel"])
    for index in range(6):
        old_rms = np.sqrt(np.mean(kernel[..., index] ** 2))
        expected = kernel[..., index] * (0.1 / old_rms if old_rms > 0.1 else 1)
        np.testing.assert_allclose(new[..., index], expected, rtol=1e-5)
    assert share == pytest.approx(3 / 6)
    np.testing.assert_array_equal(limited["conv1"]["bias"], params["conv1"]["bias"])
    np.testing.assert_array_equal(limited["affine1"]["scale"], params["affine1"]["scale"])
    np.testing.assert_array_equal(limited["fc6"]["kernel"], dense)


def test_plateau_waits_then_drops_and_stops_dropping(config):
    rule = config.plateau
    rule.update(factor=0.1, patience=2, min_improvement=0.01, max_drops=2)
    state, scales = Plateau(), []
    for error in (0.9, 0.8, 0.795, 0.794, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5):
        state = state.after(error, rule)
        scales.append(state.scale)
    assert scales == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01])


def test_schedules(config):
    def rate(step: int) -> float:
        schedule = optimizer.learning_rate_schedule(
            config, batch_size=512, epochs=10, steps_per_epoch=10
        )
        return float(schedule(step))

    assert rate(0) == rate(99) == pytest.approx(0.01)
    config.scale_with_batch = True
    assert rate(50) == pytest.approx(0.04)
    config.warmup_epochs = 1.0
    assert [rate(s) for s in (0, 4, 9, 10)] == pytest.approx([0.004, 0.02, 0.04, 0.04])
    config.schedule = "cosine"
    assert rate(10) == pytest.approx(0.04)
    assert rate(55) == pytest.approx(0.02)
    assert rate(99) < 0.0001
    config.schedule = "steps"
    with pytest.raises(ValueError, match="plateau, cosine or constant, got 'steps'"):
        rate(0)


def test_drops_multiply_the_rate_from_their_epochs_on():
    drops = ((1, 0.5), (3, 0.1))
    assert [optimizer.dropped(drops, epoch) for epoch in range(5)] == [1, 0.5, 0.5, 0.05, 0.05]
    assert optimizer.dropped((), 9) == 1


@pytest.mark.parametrize(
    "drops", [(30, 0.1), ((30, 0.1, 2),), ((3, 0.1), (2, 0.1)), ((2, 0.1), (2, 0.1)), ((2, 0),)]
)
def test_drops_that_make_no_sense_are_refused(drops):
    with pytest.raises(ValueError, match=r"pairs of an epoch, ascending, and a positive factor"):
        optimizer.check_drops(drops)
