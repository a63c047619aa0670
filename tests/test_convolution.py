"""The convolution in its fast forms against lax's plain one: values, gradients, adjoint."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from zfnet_jax import convolution
from zfnet_jax.convolution import _strided, filter_flipped, transposed_by_columns
from zfnet_jax.layer_specs import Conv

# kernel, stride, padding, (height, width)
GEOMETRIES = [
    (7, 2, 1, (16, 19)),
    (5, 2, 0, (17, 14)),
    (11, 4, 2, (21, 18)),
    (3, 3, 1, (12, 19)),
    (1, 2, 0, (7, 8)),
    (2, 3, 1, (12, 9)),  # pixels between filters are seen by none
]


def _plain(x: jax.Array, w: jax.Array, stride: int, padding: int) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )


@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), GEOMETRIES)
def test_strided_form_and_its_gradients(kernel, stride, padding, size):
    conv = Conv(1, maps=5, kernel=kernel, stride=stride, padding=padding)
    rng = np.random.default_rng(0)
    x = jnp.array(rng.normal(size=(2, *size, 3)), jnp.float32)
    w = jnp.array(rng.normal(size=(kernel, kernel, 3, 5)), jnp.float32)

    @jax.jit
    def both(x, w, seed):
        y, gradient = jax.vjp(lambda x, w: _strided(x, w, conv, "highest"), x, w)
        plain, plain_gradient = jax.vjp(lambda x, w: _plain(x, w, stride, padding), x, w)
        return (y, *gradient(seed)), (plain, *plain_gradient(seed))

    shape = jax.eval_shape(lambda x, w: _plain(x, w, stride, padding), x, w).shape
    seed = jnp.array(rng.normal(size=shape), jnp.float32)
    for got, expected in zip(*both(x, w, seed), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-3)


def test_kernel_gradient_of_bfloat16_is_summed_in_float32():
    """Over images: 300 ones in the first image and one more in each of 99 others."""
    conv = Conv(1, maps=1, kernel=1, stride=2)
    x = jnp.ones((100, 1, 1, 1), jnp.bfloat16).at[0].set(300)
    w = jnp.ones((1, 1, 1, 1), jnp.bfloat16)
    gradient = jax.grad(lambda w: _strided(x, w, conv, "default").astype(jnp.float32).sum())(w)
    assert gradient.dtype == jnp.bfloat16
    assert float(gradient[0, 0, 0, 0]) == float(jnp.bfloat16(399))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"), [*GEOMETRIES, (3, 1, 1, (9, 8)), (5, 1, 2, (7, 9))]
)
def test_transposed_by_columns(monkeypatch, kernel, stride, padding, size):
    conv = Conv(1, maps=5, kernel=kernel, stride=stride, padding=padding)
    rng = np.random.default_rng(0)
    out = [(n + 2 * padding - kernel) // stride + 1 for n in size]
    maps = jnp.array(rng.normal(size=(3, *out, 5)), jnp.float32)
    w = jnp.array(rng.normal(size=(kernel, kernel, 2, 5)), jnp.float32)
    expected = filter_flipped(maps, w, conv, size)
    for bytes_at_once in (1, 2**22):  # one image at a time, all of them
        monkeypatch.setattr(convolution, "_CACHED", bytes_at_once)
        got = jax.jit(lambda m, w: transposed_by_columns(m, w, conv, size, "highest"))(maps, w)
        np.testing.assert_allclose(got, expected, atol=1e-4)
