from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import slow_reference as slow
from zfnet_jax.contrast_norm import contrast_norm, norm_inside
from zfnet_jax.layer_specs import ContrastNorm

PAPER = ContrastNorm(maps=5, k=2.0, alpha=1e-4, beta=0.75, alpha_convention="sum")
STRONG = dataclasses.replace(PAPER, alpha=0.5)


def _maps(channels: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(channels).normal(scale=scale, size=(2, 3, 2, channels))


@pytest.mark.parametrize("convention", ["sum", "mean"])
@pytest.mark.parametrize("channels", [1, 2, 4, 7])  # fewer maps than neighbours and more
@pytest.mark.parametrize("maps", [1, 3, 5])
def test_matches_loops(convention, channels, maps):
    norm = dataclasses.replace(STRONG, maps=maps, alpha_convention=convention)
    x = _maps(channels)
    result = jax.jit(contrast_norm, static_argnums=1)(jnp.asarray(x, jnp.float32), norm)
    np.testing.assert_allclose(result, slow.contrast_norm(x, norm), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("convention", ["sum", "mean"])
@pytest.mark.parametrize("side", [1, 3, 5])
def test_within_maps_matches_loops(convention, side):
    norm = dataclasses.replace(STRONG, maps=side, alpha_convention=convention, region="within_map")
    x = _maps(3)
    result = jax.jit(contrast_norm, static_argnums=1)(jnp.asarray(x, jnp.float32), norm)
    np.testing.assert_allclose(result, slow.contrast_norm(x, norm), rtol=1e-5, atol=1e-6)
    edge = side // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0))).astype(np.float32)
    np.testing.assert_allclose(norm_inside(jnp.asarray(padded), norm), result, rtol=1e-5)


def test_matches_loops_with_the_papers_constants():
    x = _maps(9, scale=100)  # inputs of the size that raw pixels give
    result = contrast_norm(jnp.asarray(x, jnp.float32), PAPER)
    np.testing.assert_allclose(result, slow.contrast_norm(x, PAPER), rtol=1e-5)
    np.testing.assert_array_less(np.abs(result), np.abs(x))


def test_value_by_hand():
    """Maps 1, 2, 3 and three neighbours: map 0 sees 1 + 4, map 1 all, map 2 4 + 9."""
    norm = ContrastNorm(maps=3, k=1.0, alpha=2.0, beta=0.5, alpha_convention="sum")
    result = contrast_norm(jnp.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3), norm)
    np.testing.assert_allclose(result.ravel(), [1 / 11**0.5, 2 / 29**0.5, 3 / 27**0.5], rtol=1e-6)


def test_mean_is_sum_with_alpha_divided_by_the_number_of_maps():
    x = jnp.asarray(_maps(7), jnp.float32)
    mean = dataclasses.replace(STRONG, alpha_convention="mean")
    divided = dataclasses.replace(STRONG, alpha=STRONG.alpha / 5)
    np.testing.assert_array_equal(contrast_norm(x, mean), contrast_norm(x, divided))
    assert not np.allclose(contrast_norm(x, mean), contrast_norm(x, STRONG), rtol=1e-2)


@pytest.mark.parametrize("region", ["across_maps", "within_map"])
@pytest.mark.parametrize("convention", ["sum", "mean"])
def test_gradient_matches_numerical_differences(convention, region):
    norm = dataclasses.replace(STRONG, alpha_convention=convention, region=region)
    x = _maps(6)[:1, :2]
    weights = np.random.default_rng(1).normal(size=x.shape)
    gradient = jax.grad(lambda x: (contrast_norm(x, norm) * weights.astype(np.float32)).sum())(
        jnp.asarray(x, jnp.float32)
    )
    numerical, step = np.zeros_like(x), 1e-5
    for index in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        ahead, behind = slow.contrast_norm(x + moved, norm), slow.contrast_norm(x - moved, norm)
        numerical[index] = ((ahead - behind) * weights).sum() / (2 * step)
    np.testing.assert_allclose(gradient, numerical, atol=2e-6)


def test_bfloat16_is_summed_in_float32():
    x = jnp.asarray(_maps(7), jnp.bfloat16)
    result = contrast_norm(x, STRONG)
    assert result.dtype == jnp.bfloat16
    exact = slow.contrast_norm(np.asarray(x, np.float64), STRONG)
    np.testing.assert_allclose(np.asarray(result, np.float64), exact, rtol=2**-8)


@pytest.mark.parametrize("maps", [0, 2, -1])
def test_even_or_missing_neighbourhoods_are_errors(maps):
    with pytest.raises(ValueError, match=r"contrast_norm\.maps must be odd and positive"):
        dataclasses.replace(PAPER, maps=maps)


def test_unknown_convention_is_an_error():
    with pytest.raises(
        ValueError, match=r"contrast_norm\.alpha_convention must be one of sum, mean"
    ):
        dataclasses.replace(PAPER, alpha_convention="caffe")
