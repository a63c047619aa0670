"""Forms are chosen for the device that a program is lowered for, not for that of this process."""

from __future__ import annotations

from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from configs import quickstart
from zfnet_jax import contrast_norm, convolution, deconvnet, model, pooling
from zfnet_jax.convolution import filter_maps, filter_transposed
from zfnet_jax.layer_specs import ContrastNorm, Conv
from zfnet_jax.model import ZFNet

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


@pytest.fixture(scope="module")
def net() -> ZFNet:
    config = quickstart.get_config()
    for number, name in enumerate(config.model.layers):
        config.model[name].maps = 4 + number  # or equal layers would be one function
    return model.from_config(config.model, classes=3)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_net_exported_for_accelerators_holds_convolutions(net, platform):
    """This process has a CPU only: five convolutions up, five down, and no image alone."""
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    params = jax.eval_shape(net.init, jax.random.key(0), images)["params"]
    _, activations = jax.eval_shape(partial(model.forward, net), params, images)

    def up_and_down(params, images, seed):
        scores, activations = model.forward(net, params, images)
        return scores, deconvnet.project(
            net.architecture, params, activations, "conv5", seed, images.shape[1:3]
        )

    exported = jax.export.export(jax.jit(up_and_down), platforms=[platform])
    text = exported(params, images, activations["conv5"]).mlir_module()
    assert text.count("stablehlo.convolution") == 10
    dense = sum("kernel" in layer and layer["kernel"].ndim == 2 for layer in params.values())
    assert text.count("stablehlo.dot_general") == dense
    assert "stablehlo.while" not in text


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


@pytest.mark.parametrize(
    ("window", "stride", "pads"),
    [
        ((3, 3), (2, 2), ((0, 1), (0, 1))),
        ((3, 3), (2, 2), ((1, 2), (0, 1))),
        ((2, 2), (2, 2), ((0, 0), (1, 1))),
        ((5, 5), (2, 2), ((2, 2), (0, 0))),
        ((2, 2), (3, 3), ((0, 0), (0, 0))),
        ((3, 3), (1, 1), ((1, 1), (2, 0))),
        ((3, 2), (2, 1), ((1, 0), (0, 1))),
    ],
)
def test_both_forms_of_pooling_and_unpooling_agree(window, stride, pads):
    x = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    x[0, :4, :4] = 0  # ties
    given = {"window": window, "stride": stride, "pads": pads}
    whole, strips = (
        jax.jit(partial(form, **given))(x)
        for form in (pooling._running_maximum, pooling._pool_strips)
    )
    jax.tree.map(np.testing.assert_array_equal, whole, strips)
    pooled, switches = whole
    geometry = pooling._Geometry(x.shape[1:3], pooled.shape[1:3], window, stride, pads)
    values = np.random.default_rng(1).normal(size=pooled.shape).astype(np.float32)
    by_pixel, by_position = (
        jax.jit(partial(form, geometry=geometry))(values, switches)
        for form in (pooling._sum_by_pixel, pooling._sum_by_position)
    )
    np.testing.assert_allclose(by_pixel, by_position, atol=1e-6)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(7, 2, 1), (11, 4, 2), (3, 3, 0)])
@pytest.mark.parametrize("size", [(29, 34), (32, 33)])
def test_a_folded_image_gives_the_same_convolution(kernel, stride, padding, size):
    conv = Conv(1, maps=5, kernel=kernel, stride=stride, padding=padding)
    rng = np.random.default_rng(0)
    x, filters = rng.normal(size=(2, *size, 3)), rng.normal(size=(kernel, kernel, 3, 5))
    with jax.enable_x64(True):
        folded, plain = (
            jax.jit(partial(form, conv=conv, precision="highest"))(x, filters)
            for form in (convolution._folded, convolution.plain)
        )
        np.testing.assert_allclose(folded, plain, atol=1e-12)


def test_both_sums_over_neighbours_agree():
    x = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    shifts, product = (
        form(jnp.asarray(x), 5)
        for form in (contrast_norm._sum_by_shifts, contrast_norm._sum_by_product)
    )
    np.testing.assert_allclose(shifts, product, atol=1e-5)
