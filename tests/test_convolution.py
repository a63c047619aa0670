"""The convolution in its fast form against lax's plain one, values and gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from zfnet_jax.architecture import Conv
from zfnet_jax.convolution import _strided, filter_maps


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

    for form in (_strided, filter_maps):
        y, gradient = jax.vjp(lambda x, w, form=form: form(x, w, conv, "highest"), x, w)
        expected, expected_gradient = jax.vjp(plain, x, w)
        np.testing.assert_allclose(y, expected, atol=1e-4)
        seed = jnp.array(rng.normal(size=y.shape), jnp.float32)
        for got, right in zip(gradient(seed), expected_gradient(seed), strict=True):
            np.testing.assert_allclose(got, right, atol=1e-3)
