"""Forms are chosen for the device that a program is lowered for, not for that of this process."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zfnet_jax import contrast_norm, pooling
from zfnet_jax.architecture import ContrastNorm, Conv
from zfnet_jax.convolution import filter_maps
from zfnet_jax.deconvnet import filter_transposed

CONV = Conv(1, maps=8, kernel=5, stride=2, padding=1)
NORM = ContrastNorm(maps=5, k=2.0, alpha=0.1, beta=0.75, alpha_convention="sum")
X = jax.ShapeDtypeStruct((2, 13, 15, 6), jnp.float32)
KERNEL = jax.ShapeDtypeStruct((5, 5, 6, 8), jnp.float32)
SEED = jax.ShapeDtypeStruct((2, 6, 7, 8), jnp.float32)


def _filter(x, kernel):
    return filter_maps(x, kernel, CONV, "highest")


def _gradients(x, kernel, seed):
    return jax.vjp(_filter, x, kernel)[1](seed)


def _transpose(seed, kernel):
    return filter_transposed(seed, kernel, CONV, (13, 15))


def _pool(x):
    return pooling.max_pool_with_switches(x, 3, 2, 1)


def _norm_gradient(x):
    return jax.grad(lambda x: contrast_norm.contrast_norm(x, NORM).sum())(x)


def _lowered(platform: str, function, *shapes: jax.ShapeDtypeStruct) -> str:
    return jax.jit(function).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    ("function", "shapes", "convolutions"),
    [
        (_filter, (X, KERNEL), 1),
        (_gradients, (X, KERNEL, SEED), 2),
        (_transpose, (SEED, KERNEL), 1),
    ],
)
def test_on_accelerators_filters_are_convolutions(platform, function, shapes, convolutions):
    text = _lowered(platform, function, *shapes)
    assert text.count("stablehlo.convolution") == convolutions
    assert "stablehlo.dot_general" not in text
    assert "stablehlo.while" not in text


@pytest.mark.parametrize("function", [_filter, _gradients, _transpose])
def test_on_a_cpu_strided_filters_are_matrix_products(function):
    shapes = {_filter: (X, KERNEL), _gradients: (X, KERNEL, SEED), _transpose: (SEED, KERNEL)}
    text = _lowered("cpu", function, *shapes[function])
    assert "stablehlo.dot_general" in text
    assert "stablehlo.convolution" not in text


def test_a_transposed_convolution_flips_last():
    """cuDNN's own is found where the reversed filters go straight into the convolution."""
    lines = _lowered("cuda", _transpose, SEED, KERNEL).splitlines()
    reverse = next(line for line in lines if "stablehlo.reverse" in line)
    name = reverse.split("=")[0].strip()
    convolution = next(line for line in lines if "stablehlo.convolution" in line)
    assert f"{name})" in convolution


def test_on_accelerators_maps_are_pooled_whole():
    assert "concatenate" in _lowered("cpu", _pool, X)
    assert "concatenate" not in _lowered("cuda", _pool, X)


def test_on_accelerators_neighbours_are_added_up_in_one_pass():
    assert "dot_general" in _lowered("cpu", _norm_gradient, X)
    assert "dot_general" not in _lowered("cuda", _norm_gradient, X)


def test_the_forms_agree():
    x = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    x[0, :3, :3] = 0  # ties
    given = {"window": 3, "stride": 2, "pads": ((1, 2), (0, 1))}
    whole, strips = (
        jax.jit(partial(form, **given))(x)
        for form in (pooling._running_maximum, pooling._pool_strips)
    )
    jax.tree.map(np.testing.assert_array_equal, whole, strips)
    shifts, product = (
        form(jnp.asarray(x), 5)
        for form in (contrast_norm._sum_by_shifts, contrast_norm._sum_by_product)
    )
    np.testing.assert_allclose(shifts, product, atol=1e-5)
