"""The convolution in its fast forms against lax's plain one: values, gradients, adjoint."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from zfnet_jax import convolution
from zfnet_jax.architecture import Conv
from zfnet_jax.convolution import _by_columns, _strided, filter_maps, transposed_by_columns
from zfnet_jax.deconvnet import filter_flipped


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 11])
@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize(("padding", "size"), [(0, (17, 14)), (1, (12, 19)), (2, (13, 11))])
def test_strided_form(kernel, stride, padding, size):
    conv = Conv(1, maps=5, kernel=kernel, stride=stride, padding=padding)
    rng = np.random.default_rng(0)
    x = jnp.array(rng.normal(size=(2, *size, 3)), jnp.float32)
    w = jnp.array(rng.normal(size=(kernel, kernel, 3, 5)), jnp.float32)

    def plain(x, w):
        return lax.conv_general_dilated(
            x,
            w,
            (stride, stride),
            [(padding, padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )

    for form in (_strided, _by_columns, filter_maps):
        y, gradient = jax.vjp(lambda x, w, form=form: form(x, w, conv, "highest"), x, w)
        expected, expected_gradient = jax.vjp(plain, x, w)
        np.testing.assert_allclose(y, expected, atol=1e-4)
        seed = jnp.array(rng.normal(size=y.shape), jnp.float32)
        for got, right in zip(gradient(seed), expected_gradient(seed), strict=True):
            np.testing.assert_allclose(got, right, atol=1e-3)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 11])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(("padding", "size"), [(0, (17, 14)), (1, (12, 19)), (2, (13, 11))])
def test_transposed_by_columns(monkeypatch, kernel, stride, padding, size):
    conv = Conv(1, maps=5, kernel=kernel, stride=stride, padding=padding)
    rng = np.random.default_rng(0)
    out = [(n + 2 * padding - kernel) // stride + 1 for n in size]
    maps = jnp.array(rng.normal(size=(3, *out, 5)), jnp.float32)
    w = jnp.array(rng.normal(size=(kernel, kernel, 2, 5)), jnp.float32)
    expected = filter_flipped(maps, w, conv, size)
    for bytes_at_once in (1, 2**22):  # one image at a time, all of them
        monkeypatch.setattr(convolution, "_LARGE", bytes_at_once)
        got = transposed_by_columns(maps, w, conv, size, "highest")
        np.testing.assert_allclose(got, expected, atol=1e-4)
