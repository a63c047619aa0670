from __future__ import annotations

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from configs import architectures
from tests import slow_reference as slow
from zfnet_jax import convolution, deconvnet, units
from zfnet_jax.architecture import Architecture, from_config
from zfnet_jax.layer_specs import RELU, ContrastNorm, Conv, Pool, plain_then

NETS = slow.narrow_nets()


def _distinct_convs() -> dict[str, tuple[Conv, int]]:
    """Every conv layer among the built-in geometries with its number of input maps."""
    layers = {}
    for net in NETS.values():
        fan_in = 3
        for conv in net.convs:
            bare = dataclasses.replace(conv, number=1, then=())
            label = f"{conv.kernel}x{conv.kernel}s{conv.stride}p{conv.padding}g{conv.groups}"
            layers[f"{label}_{fan_in}to{conv.maps}"] = (bare, fan_in)
            fan_in = conv.maps
    return layers


CONVS = _distinct_convs()


def _convolve(x: jax.Array, kernel: jax.Array, conv: Conv) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (conv.stride, conv.stride),
        [(conv.padding, conv.padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=conv.groups,
        precision="highest",
    )


def _plain_maps(net: Architecture, params: dict, images: jax.Array) -> dict[str, jax.Array]:
    """The conv layers without contrast norm, of nothing but library operations."""
    x, maps = images, {}
    for conv in net.convs:
        x = _convolve(x, params[conv.name]["kernel"], conv) + params[conv.name]["bias"]
        x = maps[conv.name] = jax.nn.relu(x)
        if conv.pool:
            pads = []
            for size in x.shape[1:3]:
                last = slow.pool_starts(size, conv.pool)[-1]
                pads.append((conv.pool.padding, max(0, last + conv.pool.window - size)))
            window, stride = (conv.pool.window,) * 2, (conv.pool.stride,) * 2
            x = maps[f"pool{conv.number}"] = nn.max_pool(x, window, stride, pads)
    return maps


@pytest.mark.parametrize("layer", CONVS)
@pytest.mark.parametrize("size", [(15, 14), (12, 17)])
def test_filtering_is_the_adjoint_of_the_convolution(layer, size):
    """Against lax's transpose of the convolution, NumPy's scattering, and <Ax, y> = <x, A^T y>."""
    conv, fan_in = CONVS[layer]
    rng = np.random.default_rng(0)
    shape = (conv.kernel, conv.kernel, fan_in // conv.groups, conv.maps)
    kernel = (rng.normal(size=shape) / np.sqrt(np.prod(shape[:3]))).astype(np.float32)
    x = rng.normal(size=(2, *size, fan_in)).astype(np.float32)
    forward = slow.convolve(x, kernel, conv.stride, conv.padding, conv.groups)
    y = rng.normal(size=forward.shape).astype(np.float32)

    @jax.jit
    def both(x, kernel, y):
        plain, pullback = jax.vjp(lambda x: _convolve(x, kernel, conv), x)
        return plain, pullback(y)[0], convolution.filter_transposed(y, kernel, conv, size)

    plain, expected, filtered = both(x, kernel, y)
    np.testing.assert_allclose(plain, forward, atol=1e-5)
    np.testing.assert_allclose(filtered, expected, atol=1e-5)
    scattered = slow.filter_transposed(y, kernel, conv.stride, conv.padding, conv.groups, size)
    np.testing.assert_allclose(filtered, scattered, atol=1e-5)
    np.testing.assert_allclose((forward * y).sum(), (x * np.float64(filtered)).sum(), atol=1e-4)


def test_filters_are_flipped_both_ways():
    """One active unit paints its filter, upright, onto the image."""
    conv = Conv(1, maps=2, kernel=3, stride=2)
    kernel = np.arange(9 * 2, dtype=np.float32).reshape(3, 3, 1, 2)
    maps = np.zeros((1, 2, 2, 2), np.float32)
    maps[0, 0, 1, 1] = 2
    image = np.zeros((5, 5))
    image[0:3, 2:5] = 2 * kernel[:, :, 0, 1]
    result = convolution.filter_transposed(jnp.asarray(maps), jnp.asarray(kernel), conv, (5, 5))
    np.testing.assert_allclose(result[0, :, :, 0], image)


def _strongest(maps: np.ndarray) -> np.ndarray:
    """1 at the largest activation of each image [B, h, w, C], 0 elsewhere."""
    flat = maps.reshape(len(maps), -1)
    seed = np.zeros_like(flat)
    seed[np.arange(len(flat)), flat.argmax(axis=1)] = flat.max(axis=1) > 0
    return seed.reshape(maps.shape)


# From each layer of one net, and from the last of every other, whose way down meets all geometries.
# The padded zfnet is 'small' here: without contrast norm they have the same layers.
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("zfnet", 0),
        ("small", -1),
        ("alexnet", -1),
        ("alexnet_grouped", -1),
        ("alexnet_without_3_4", -1),
    ],
)
def test_forward_mask_is_backpropagation(name, first):
    """From an active unit set to 1, 'forward_mask' with 'sum' is jax.grad of a plain net's unit."""
    image_size = (64, 79)
    convs = tuple(
        dataclasses.replace(conv, then=plain_then(pool=conv.pool)) for conv in NETS[name].convs
    )
    net = dataclasses.replace(NETS[name], convs=convs)
    model = slow.exact_model(net)
    images = np.random.default_rng(0).normal(size=(2, *image_size, 3)).astype(np.float32)
    params = slow.random_params(model, images.shape)
    _, activations = slow.answers(model, params, images)

    @jax.jit
    def plain_net(images, weights):
        """The maps, and the gradient of the sum of units with weight 1."""

        def weighted(images):
            maps = _plain_maps(net, params, images)
            return sum((maps[layer] * weights[layer]).sum() for layer in weights), maps

        return jax.grad(weighted, has_aux=True)(images)

    none = {layer: np.zeros(activations[layer].shape, np.float32) for layer in net.map_layers}
    for layer in net.map_layers[first:]:
        seed = _strongest(np.asarray(activations[layer]))
        assert seed.sum() == 2
        expected, plain = plain_net(images, none | {layer: seed})
        for below in net.map_layers:
            np.testing.assert_allclose(activations[below], plain[below], atol=1e-4)
        projected = deconvnet.project(
            net,
            params,
            activations,
            layer,
            seed,
            image_size,
            rectify="forward_mask",
            overlap="sum",
        )
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(projected, expected, atol=1e-5, err_msg=layer)


NORM = ContrastNorm(maps=3, k=1.0, alpha=0.1, beta=0.75, alpha_convention="sum")
TINY = {
    # Overlapping windows, 'ceil' and padded pools, groups, even and odd maps.
    "pool_then_norm": Architecture(
        convs=(
            Conv(1, 4, 5, stride=2, padding=1, then=(RELU, Pool(3, 2, 0, "ceil"), NORM)),
            Conv(2, 6, 3, padding=1, groups=2, then=(RELU, Pool(3, 2, 1), NORM)),
            Conv(3, 4, 3, padding=1),
            Conv(5, 4, 3, padding=1, then=(RELU, Pool(3, 1))),
        ),
        dense=(),
        classes=2,
        dropout=0.0,
    ),
    "norm_then_pool": Architecture(
        convs=(
            Conv(1, 4, 5, stride=3, padding=2, then=(RELU, NORM, Pool(3, 1, 0))),
            Conv(2, 6, 3, padding=1),
            Conv(4, 4, 3, padding=1, then=(RELU, Pool(4, 3, 2, "ceil"))),
        ),
        dense=(),
        classes=2,
        dropout=0.0,
    ),
}
IMAGE_SIZE = (30, 25)


@pytest.fixture(scope="module", params=TINY)
def tiny(request):
    """A tiny net, its parameters, and its activations by the model and by NumPy."""
    net = TINY[request.param]
    model = slow.exact_model(net)
    images = np.random.default_rng(1).normal(size=(2, *IMAGE_SIZE, 3)).astype(np.float32)
    params = slow.random_params(model, images.shape)
    _, activations = slow.answers(model, params, images)
    return net, params, activations, slow.forward(net, params, images)


def test_forward_pass_matches_loops(tiny):
    _, _, activations, expected = tiny
    assert activations.keys() == expected.keys()
    for name, value in expected.items():
        if name.startswith("switches"):
            np.testing.assert_array_equal(activations[name], value, err_msg=name)
        else:
            np.testing.assert_allclose(activations[name], value, atol=1e-5, err_msg=name)


# Every rule of relus and of overlaps: a relu knows nothing of the one, a pool nothing of the other.
@pytest.mark.parametrize(
    ("rectify", "overlap"),
    [
        *((rectify, "sum") for rectify in slow.RECTIFY),
        ("deconvnet", "mean"),
        ("forward_mask", "overwrite"),
        ("guided", "max"),
    ],
)
def test_deconvnet_matches_loops(tiny, rectify, overlap):
    """Every reconstruction, from the last pool's whole maps and from a conv layer's single unit."""
    net, params, activations, expected = tiny
    last = net.map_layers[-1]
    middle = net.convs[-2].name
    seeds = {last: activations[last]}
    if overlap == "sum":
        seeds[middle] = units.strongest_unit(activations[middle], 1)
    for layer, seed in seeds.items():
        stages = jax.jit(
            partial(deconvnet.reconstructions, net, rectify=rectify, overlap=overlap),
            static_argnums=(2, 4),
        )(params, activations, layer, seed, IMAGE_SIZE)
        slow_stages = slow.reconstructions(
            net, params, expected, layer, seed, IMAGE_SIZE, rectify, overlap
        )
        assert stages.keys() == slow_stages.keys()
        for name, stage in slow_stages.items():
            scale = np.abs(stage).max()
            assert scale > 1e-3
            np.testing.assert_allclose(stages[name] / scale, stage / scale, atol=1e-5, err_msg=name)


def test_rectifications_and_overlap_rules_differ(tiny):
    """So that the comparison with the loops tells them apart."""
    net, params, _, activations = tiny
    last = net.map_layers[-1]
    choices = [(r, "sum") for r in slow.RECTIFY] + [("deconvnet", o) for o in slow.OVERLAP[1:]]
    images = [
        slow.reconstructions(
            net, params, activations, last, activations[last], IMAGE_SIZE, rectify, overlap
        )["layer1"]
        for rectify, overlap in choices
    ]
    for i, image in enumerate(images):
        assert all(np.abs(image - other).max() > 1e-3 for other in images[:i]), choices[i]


@pytest.mark.parametrize("start", [0, 1, -2])
def test_project_is_the_last_reconstruction(tiny, start):
    net, params, activations, _ = tiny
    layer = net.map_layers[start]
    seed = activations[layer]
    stages = jax.jit(partial(deconvnet.reconstructions, net), static_argnums=(2, 4))(
        params, activations, layer, seed, IMAGE_SIZE
    )
    numbers = [conv.number for conv in net.convs if conv.number <= int(layer[-1])]
    assert stages.keys() == {f"layer{number}" for number in numbers}
    projected = deconvnet.project(net, params, activations, layer, seed, IMAGE_SIZE)
    assert projected.shape == (2, *IMAGE_SIZE, 3)
    assert projected.dtype == jnp.float32
    np.testing.assert_allclose(projected, stages["layer1"], atol=1e-5)


def test_projection_ignores_biases_and_is_homogeneous(tiny):
    """Nothing is added on the way down: twice the seed is twice the picture, no seed is black."""
    net, params, activations, _ = tiny
    layer = net.map_layers[-1]
    unbiased = {name: {"kernel": values["kernel"]} for name, values in params.items()}
    project = partial(deconvnet.project, net, layer=layer, image_size=IMAGE_SIZE)
    seed = activations[layer]
    once = project(params=params, activations=activations, seed=seed)
    twice = project(params=unbiased, activations=activations, seed=2 * seed)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)
    assert np.abs(once).max() > 1e-3
    assert not project(params=params, activations=activations, seed=0 * seed).any()


def test_shapes_of_the_posts_second_diagram():
    """All five reconstructions of zfnet at 224 pixels, at full width."""
    net = from_config(architectures.zfnet(), classes=1000)
    model = slow.exact_model(net)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    (_, activations), variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    stages = jax.eval_shape(
        lambda params, activations: deconvnet.reconstructions(
            net, params, activations, "pool5", activations["pool5"], (224, 224)
        ),
        variables["params"],
        activations,
    )
    assert {name: stage.shape for name, stage in stages.items()} == {
        "layer5": (1, 13, 13, 384),
        "layer4": (1, 13, 13, 384),
        "layer3": (1, 13, 13, 256),
        "layer2": (1, 55, 55, 96),
        "layer1": (1, 224, 224, 3),
    }


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layer", "pool3", "no layer 'pool3'"),
        ("rectify", "relu", "rectify must be deconvnet, forward_mask or guided, got 'relu'"),
        ("overlap", "first", "overlap must be sum, max, mean or overwrite, got 'first'"),
    ],
)
def test_unknown_choices_are_errors(field, value, message):
    net = TINY["pool_then_norm"]
    model = slow.exact_model(net)
    images = np.zeros((2, *IMAGE_SIZE, 3), np.float32)
    params = slow.random_params(model, images.shape)
    _, activations = jax.eval_shape(partial(slow.answers, model), params, images)
    options = {"layer": "pool2", "rectify": "deconvnet", "overlap": "sum"} | {field: value}
    layer = options.pop("layer")
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda params, activations, seed: deconvnet.project(
                net, params, activations, layer, seed, IMAGE_SIZE, **options
            ),
            params,
            activations,
            activations["pool2"],
        )
