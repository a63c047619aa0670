"""Colours of a training set against NumPy, and the noise along them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zfnet_jax.data import colour
from zfnet_jax.data.prepared import PreparedSplit


@pytest.fixture(scope="module")
def covariance() -> np.ndarray:
    mixed = np.random.default_rng(0).normal(size=(3, 3)) * 20
    return mixed @ mixed.T


def test_covariance_is_that_of_all_pixels():
    images = np.random.default_rng(0).integers(0, 256, (40, 5, 5, 3), np.uint8)
    images[..., 1] = images[..., 0] // 2  # channels that go together
    split = PreparedSplit(images, np.zeros(40, np.int32), (), (), None, "")
    expected = np.cov(images.reshape(-1, 3).T, bias=True)
    np.testing.assert_allclose(colour.covariance(split), expected, rtol=1e-9)


def test_components_stand_upright_on_each_other_and_give_the_covariance(covariance):
    components = colour.components(covariance).astype(np.float64)
    np.testing.assert_allclose(components.T @ components, covariance, rtol=1e-4, atol=1e-3)
    products = components @ components.T
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-2)


def test_colours_of_one_grey_have_no_components_to_complain_of():
    assert not colour.components(np.zeros((3, 3))).any()


def test_noise_has_the_covariance_and_belongs_to_the_image(covariance):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(20_000))
    drawn = np.asarray(colour.noise(keys, jnp.asarray(0.1 * colour.components(covariance))))
    size = np.sqrt(np.diag(covariance))
    correlated = np.cov(drawn.T) / np.outer(size, size)
    np.testing.assert_allclose(correlated, 0.01 * covariance / np.outer(size, size), atol=5e-4)
    assert np.abs(drawn.mean(0) / size).max() < 5e-3
    some = colour.noise(keys[7:9], jnp.asarray(0.1 * colour.components(covariance)))
    np.testing.assert_array_equal(some, drawn[7:9])
