from __future__ import annotations

import dataclasses
import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import architectures
from tests import slow_reference as slow
from zfnet_jax import model as zfnet_model
from zfnet_jax.architecture import from_config
from zfnet_jax.contrast_norm import contrast_norm
from zfnet_jax.layer_specs import RELU, Pool, plain_then
from zfnet_jax.model import ZFNet
from zfnet_jax.pooling import max_pool_with_switches
from zfnet_jax.stages.dense import dropout

NETS = slow.narrow_nets()
IMAGES = np.random.default_rng(0).normal(size=(4, 64, 67, 3)).astype(np.float32)


def _grouped_alexnet() -> ConfigDict:
    config = architectures.alexnet()
    for name in ("conv2", "conv4", "conv5"):
        config[name].groups = 2
    return config


def _shapes(config: ConfigDict, classes: int, size: int, channels: int = 3):
    """Shapes of parameters, logits and activations; nothing is allocated."""
    model = ZFNet(from_config(config, classes), nn.initializers.normal(config.init_std))
    images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    made, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    return variables["params"], *made


# Parameters per net. They change only when an architecture in configs/architectures.py changes
# on purpose; then check the new number against the formula below and against the paper.
GOLDEN_COUNTS = {
    "alexnet": 62_378_344,
    "alexnet_without_3_4": 59_870_824,
    "alexnet_without_7": 45_597_032,
    "alexnet_without_6_7": 12_964_200,
    "alexnet_without_3_4_6_7": 10_456_680,
    "alexnet_dense_2048": 28_868_968,
    "alexnet_dense_8192": 154_562_920,
    "zfnet": 62_357_608,
    "zfnet_dense_2048": 28_848_232,
    "zfnet_dense_8192": 154_542_184,
    "zfnet_512_1024_512": 107_627_624,
    "zfnet_dense_8192_512_1024_512": 237_560_936,
}


def _count_by_formula(config: ConfigDict, classes: int, channels: int, pool5: int) -> int:
    """Filters and biases, straight from the config; pool5 is the side of the last maps."""
    total, fan_in = 0, channels
    for name in config.layers:
        conv = config[name]
        total += conv.maps * (conv.kernel**2 * (fan_in // conv.groups) + 1)
        fan_in = conv.maps
    fan_in *= pool5**2
    for units in (*config.dense, classes):
        total += units * (fan_in + 1)
        fan_in = units
    return total


def _count(params) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def test_table3_lists_the_twelve_nets():
    assert list(architectures.table3()) == list(GOLDEN_COUNTS)


@pytest.mark.parametrize("name", GOLDEN_COUNTS)
def test_parameter_counts_of_table3(name):
    config = architectures.table3()[name]
    params, logits, _ = _shapes(config, classes=1000, size=224)
    assert logits.shape == (1, 1000)
    assert _count(params) == _count_by_formula(config, 1000, 3, pool5=6) == GOLDEN_COUNTS[name]


@pytest.mark.parametrize(
    ("config", "classes", "size", "pool5", "golden"),
    [(_grouped_alexnet(), 1000, 224, 6, 60_965_224), (architectures.small(), 10, 112, 2, 652_781)],
    ids=["alexnet_grouped", "small"],
)
def test_parameter_counts_of_other_nets(config, classes, size, pool5, golden):
    params, _, _ = _shapes(config, classes, size)
    assert _count(params) == _count_by_formula(config, classes, 3, pool5) == golden


ZFNET_SHAPES = {
    "conv1": (110, 110, 96), "pool1": (55, 55, 96), "norm1": (55, 55, 96),
    "conv2": (26, 26, 256), "pool2": (13, 13, 256), "norm2": (13, 13, 256),
    "conv3": (13, 13, 384), "conv4": (13, 13, 384),
    "conv5": (13, 13, 256), "pool5": (6, 6, 256), "fc6": (4096,), "fc7": (4096,),
}  # fmt: skip
ALEXNET_SHAPES = ZFNET_SHAPES | {
    "conv1": (55, 55, 96), "norm1": (55, 55, 96), "pool1": (27, 27, 96),
    "conv2": (27, 27, 256), "norm2": (27, 27, 256),
}  # fmt: skip
SMALL_SHAPES = {  # of 112-pixel images
    "conv1": (54, 54, 32), "pool1": (27, 27, 32), "conv2": (12, 12, 85), "pool2": (6, 6, 85),
    "conv3": (6, 6, 128), "conv4": (6, 6, 128), "conv5": (6, 6, 85), "pool5": (2, 2, 85),
    "fc6": (341,), "fc7": (341,),
}  # fmt: skip


def _padded_zfnet() -> ConfigDict:
    config = architectures.zfnet()
    for name in ("conv1", "conv2"):
        config[name].pool.update({"padding": 1, "rounding": "floor"})
    return config


def _without(shapes: dict, *layers: str) -> dict:
    return {name: shape for name, shape in shapes.items() if name not in layers}


@pytest.mark.parametrize(
    ("config", "size", "expected"),
    [
        (architectures.zfnet(), 224, ZFNET_SHAPES),
        (_padded_zfnet(), 224, ZFNET_SHAPES),
        (architectures.alexnet(), 224, ALEXNET_SHAPES),
        (_grouped_alexnet(), 224, ALEXNET_SHAPES),
        (architectures.small(), 112, SMALL_SHAPES),
        (
            architectures.table3()["alexnet_without_3_4_6_7"],
            224,
            _without(ALEXNET_SHAPES, "conv3", "conv4", "fc6", "fc7"),
        ),
        (
            architectures.table3()["zfnet_dense_8192_512_1024_512"],
            224,
            ZFNET_SHAPES
            | {"conv3": (13, 13, 512), "conv4": (13, 13, 1024), "conv5": (13, 13, 512)}
            | {"pool5": (6, 6, 512), "fc6": (8192,), "fc7": (8192,)},
        ),
    ],
    ids=["zfnet", "padded", "alexnet", "grouped", "small", "without_3_4_6_7", "wide"],
)
def test_names_and_shapes_of_activations(config, size, expected):
    """Every layer by name, switches where there is a pool; for zfnet the post's first diagram."""
    _, logits, activations = _shapes(config, classes=10, size=size)
    switches = {name for name in activations if name.startswith("switches")}
    assert {name: activations[name].shape[1:] for name in activations.keys() - switches} == expected
    assert switches == {name.replace("pool", "switches") for name in expected if "pool" in name}
    for name in switches:
        assert activations[name].shape == activations[name.replace("switches", "pool")].shape
        assert activations[name].dtype == jnp.uint8
    assert (logits.shape, logits.dtype) == ((1, 10), jnp.float32)


@pytest.fixture(scope="module")
def zfnet():
    """One layer of a narrow zfnet, dropout 0.5 after its dense ones, and parameters for IMAGES."""
    net = dataclasses.replace(NETS["zfnet"], convs=NETS["zfnet"].convs[:1], dense=(40, 30))
    model = slow.exact_model(net)
    return model, {"params": slow.random_params(model, IMAGES.shape)}, jax.jit(model.apply)


@pytest.mark.parametrize("name", NETS)
def test_layers_follow_the_architecture(name):
    """Each layer is the stated operation on the one before: relu, pool, norm in the net's order."""
    net = NETS[name]
    model = slow.exact_model(net)
    params = slow.random_params(model, IMAGES.shape)
    images = IMAGES[:2]
    logits, activations = slow.answers(model, params, images)
    x = images.astype(np.float64)
    for conv in net.convs:
        kernel, bias = params[conv.name]["kernel"], params[conv.name]["bias"]
        x = slow.convolve(x, kernel, conv.stride, conv.padding, conv.groups) + bias
        np.testing.assert_allclose(activations[conv.name], np.maximum(x, 0), atol=2e-4)
        x = np.float64(activations[conv.name])
        relu, *others = conv.then
        assert relu == RELU
        for part in others:
            if part == conv.pool:
                rows, columns = (slow.pool_starts(size, conv.pool) for size in x.shape[1:3])
                x, switches = slow.max_pool(x, conv.pool.window, rows, columns)
                np.testing.assert_array_equal(activations[f"pool{conv.number}"], x)
                np.testing.assert_array_equal(activations[f"switches{conv.number}"], switches)
            else:
                assert part == conv.contrast_norm
                x = slow.contrast_norm(x, conv.contrast_norm)
                np.testing.assert_allclose(activations[f"norm{conv.number}"], x, atol=1e-5)
                x = np.float64(activations[f"norm{conv.number}"])
    x = x.reshape(len(x), -1)
    hidden = f"fc{net.convs[-1].number + 1}"
    x = np.maximum(x @ params[hidden]["kernel"] + params[hidden]["bias"], 0)
    if not net.dropout_scales_training:
        x = x / 2
    np.testing.assert_allclose(activations[hidden], x, atol=1e-4)
    x = x @ params["logits"]["kernel"] + params["logits"]["bias"]
    np.testing.assert_allclose(logits, x, atol=1e-4)


def test_norm_before_pool_changes_the_order():
    """Contrast norm does not commute with pooling, so the order shows in the values."""
    net = NETS["alexnet"]
    strong = dataclasses.replace(net.convs[0].contrast_norm, alpha=1.0)
    for before in (True, False):
        then = plain_then(True, net.convs[0].pool, strong, before)
        short = dataclasses.replace(net, convs=(dataclasses.replace(net.convs[0], then=then),))
        model = slow.exact_model(short)
        params = slow.random_params(model, IMAGES.shape)
        _, activations = jax.jit(model.apply)({"params": params}, IMAGES)
        first, second = ("norm1", "pool1") if before else ("pool1", "norm1")
        steps = {
            "norm1": lambda x: contrast_norm(x, strong),
            "pool1": lambda x: max_pool_with_switches(x, 3, 2, 0)[0],
        }
        x = jax.jit(steps[first])(activations["conv1"])
        np.testing.assert_allclose(activations[first], x, rtol=1e-5)
        np.testing.assert_allclose(activations[second], jax.jit(steps[second])(x), rtol=1e-5)


def test_evaluation_is_deterministic(zfnet):
    model, variables, apply = zfnet
    first, _ = apply(variables, IMAGES)
    np.testing.assert_array_equal(apply(variables, IMAGES)[0], first)
    without = slow.exact_model(dataclasses.replace(model.architecture, dropout=0.0))
    keys = jax.random.split(jax.random.key(1), 4)
    np.testing.assert_array_equal(jax.jit(without.apply)(variables, IMAGES, keys)[0], first)


def test_dropout_belongs_to_the_image_not_to_the_batch(zfnet):
    _, variables, apply = zfnet
    keys = jax.random.split(jax.random.key(1), 4)
    logits, _ = apply(variables, IMAGES, keys)
    evaluated, _ = apply(variables, IMAGES)
    assert (np.abs(logits - evaluated).max(axis=1) > 1e-3).all()

    order = np.array([2, 0, 3, 1])
    permuted, _ = apply(variables, IMAGES[order], keys[order])
    np.testing.assert_allclose(permuted, logits[order], atol=1e-5)

    # Image 2 among strangers: other images, other keys, another place in the batch.
    strangers, other_keys = -IMAGES, jax.random.split(jax.random.key(2), 4)
    strangers[0], other_keys = IMAGES[2], other_keys.at[0].set(keys[2])
    among_strangers, _ = apply(variables, strangers, other_keys)
    np.testing.assert_allclose(among_strangers[0], logits[2], atol=1e-5)

    # The same image under another key is dropped elsewhere, and under its own key again alike.
    copies = np.repeat(IMAGES[:1], 4, axis=0)
    shared, _ = apply(variables, copies, keys[np.array([0, 0, 1, 2])])
    np.testing.assert_array_equal(shared[0], shared[1])
    assert np.abs(shared[0] - shared[2]).max() > 1e-3
    assert np.abs(shared[2] - shared[3]).max() > 1e-3


def test_dense_layers_are_dropped_independently():
    """With all weights one and no negative input, equal masks in both layers would show."""
    net = dataclasses.replace(NETS["small"], convs=NETS["small"].convs[:1], dense=(64, 64))
    model = slow.exact_model(net)
    params = jax.tree.map(np.zeros_like, slow.random_params(model, IMAGES.shape))
    # fc2 is 1 everywhere, fc3 repeats what is left of it, logit 0 counts what fc3 keeps.
    params["fc2"]["bias"] += 1
    params["fc3"]["kernel"] += np.eye(64, dtype=np.float32)
    params["logits"]["kernel"] += 1
    keys = jax.random.split(jax.random.key(0), 4)
    logits, activations = jax.jit(model.apply)({"params": params}, IMAGES, keys)
    kept2 = np.asarray(activations["fc3"])  # 0 or 1 / (1 - 0.5)
    assert set(np.unique(kept2)) == {0.0, 2.0}
    kept_both = np.asarray(logits[:, 0]) / 4  # number of units that both layers kept
    alike = (kept2 > 0).sum(axis=1)
    assert (kept_both < alike).all()
    assert (kept_both > 0).all()


def test_dropout_keeps_the_stated_share_and_the_mean():
    keys = jax.random.split(jax.random.key(0), 16)
    x = jnp.ones((16, 1000))
    for rate in (0.2, 0.5):
        dropped = np.asarray(jax.jit(dropout, static_argnums=2)(x, keys, rate))
        np.testing.assert_allclose(np.unique(dropped), [0, 1 / (1 - rate)], rtol=1e-6)
        share = (dropped == 0).mean()
        assert abs(share - rate) < 0.02  # five standard deviations of 16,000 draws
        assert len({row.tobytes() for row in dropped}) == 16
        np.testing.assert_array_equal(dropout(x[:1], keys[5:6], rate), dropped[5:6])


def test_dropout_that_scales_down_in_evaluation(zfnet):
    """With the weights that follow doubled it is the dropout that scales up in training."""
    model, variables, apply = zfnet
    older = dataclasses.replace(model.architecture, dropout_scales_training=False)
    older_apply = jax.jit(slow.exact_model(older).apply)
    params = dict(variables["params"])
    for name in ("fc3", "logits"):
        params[name] = params[name] | {"kernel": 2 * params[name]["kernel"]}
    keys = jax.random.split(jax.random.key(1), 4)
    for given in (None, keys):
        logits, activations = apply(variables, IMAGES, given)
        same, halved = older_apply({"params": params}, IMAGES, given)
        np.testing.assert_allclose(same, logits, rtol=1e-5, atol=1e-6)
        scale = 0.5 if given is None else 1
        np.testing.assert_allclose(halved["fc3"], scale * activations["fc3"], rtol=1e-5, atol=1e-6)


def test_bfloat16_computes_in_half_and_keeps_float32_parameters():
    net = dataclasses.replace(NETS["zfnet"], convs=NETS["zfnet"].convs[:2])
    images = IMAGES[:, :40, :41]
    full, half = slow.exact_model(net), slow.exact_model(net, dtype=jnp.bfloat16)
    initial = jax.eval_shape(half.init, jax.random.key(0), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(initial)} == {jnp.dtype("float32")}
    variables = {"params": slow.random_params(full, images.shape)}
    logits, activations = jax.jit(half.apply)(variables, images)
    exact_logits, exact = jax.jit(full.apply)(variables, images)
    assert logits.dtype == jnp.float32
    # Computed in float32, not only handed out so: of a thousand scores in bfloat16 many tie.
    products = [
        equation.outvars[0].aval
        for equation in jax.make_jaxpr(half.apply)(variables, images).eqns
        if equation.primitive.name == "dot_general"
    ]
    assert (products[-1].shape, products[-1].dtype) == (logits.shape, jnp.float32)
    assert products[-2].dtype == jnp.bfloat16
    for name, value in activations.items():
        assert value.dtype == (jnp.uint8 if name.startswith("switches") else jnp.bfloat16), name
        assert exact[name].dtype == (jnp.uint8 if name.startswith("switches") else jnp.float32)
    close = [(logits, exact_logits), (activations["norm2"], exact["norm2"])]
    for value, expected in close:
        scale = np.abs(expected).max()
        difference = np.asarray(value, np.float32) - expected
        assert 0 < np.abs(difference).max() / scale < 0.03


def test_grouped_convolution_is_dense_with_zero_blocks():
    grouped, dense = NETS["alexnet_grouped"], NETS["alexnet"]
    model = slow.exact_model(grouped)
    params = slow.random_params(model, IMAGES.shape)
    blocks = dict(params)
    for conv in grouped.convs:
        kernel = params[conv.name]["kernel"]
        k, _, fan_in, maps = kernel.shape
        whole = np.zeros((k, k, fan_in * conv.groups, maps), np.float32)
        for g in range(conv.groups):
            of_inputs = slice(g * fan_in, (g + 1) * fan_in)
            of_maps = slice(g * maps // conv.groups, (g + 1) * maps // conv.groups)
            whole[:, :, of_inputs, of_maps] = kernel[..., of_maps]
        blocks[conv.name] = {"kernel": whole, "bias": params[conv.name]["bias"]}
    assert blocks["conv2"]["kernel"].shape[2] == 2 * params["conv2"]["kernel"].shape[2]
    images = IMAGES[:2]
    logits, activations = slow.answers(model, params, images)
    same, same_activations = slow.answers(slow.exact_model(dense), blocks, images)
    np.testing.assert_allclose(logits, same, atol=1e-4)
    for name in grouped.map_layers:
        np.testing.assert_allclose(activations[name], same_activations[name], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_input_channels(channels):
    params, logits, _ = _shapes(architectures.zfnet(), classes=7, size=224, channels=channels)
    assert params["conv1"]["kernel"].shape == (7, 7, channels, 96)
    assert logits.shape == (1, 7)
    assert _count(params) == _count_by_formula(architectures.zfnet(), 7, channels, pool5=6)


def test_initial_biases_are_zero_and_filters_follow_the_initialiser():
    net = dataclasses.replace(NETS["zfnet"], convs=NETS["zfnet"].convs[:1])
    model = ZFNet(net, nn.initializers.normal(0.01))
    params = jax.jit(model.init)(jax.random.key(0), IMAGES)["params"]
    for layer in params.values():
        assert not layer["bias"].any()
    filters = np.concatenate([layer["kernel"].ravel() for layer in params.values()])
    np.testing.assert_allclose(filters.std(), 0.01, rtol=0.05)


def test_what_nobody_uses_costs_nothing_under_jit(zfnet):
    """Logits alone compile to a program without switches, which are the only uint8 arrays."""
    _, variables, apply = zfnet

    def uint8_arrays(function) -> list[str]:
        program = jax.jit(function).lower(variables, IMAGES).compile().as_text()
        return re.findall(r"u8\[[\d,]+\]", program)

    assert uint8_arrays(lambda v, x: apply(v, x)[1]["switches1"])
    assert not uint8_arrays(lambda v, x: apply(v, x)[0])
    assert not uint8_arrays(lambda v, x: apply(v, x)[1]["conv1"])


def test_images_too_small_are_a_clear_error():
    with pytest.raises(ValueError, match=r"map of .* pixels is smaller than its 3-pixel pooling"):
        _shapes(architectures.alexnet(), classes=10, size=40)


def test_config_fields_reach_the_architecture():
    """Overrides of the config end in the right layer; a pooling window of 0 removes the pool."""
    config = architectures.zfnet()
    config.conv3.maps = 512
    config.conv2.pool.window = 0
    config.conv5.pool.update({"window": 2, "padding": 1, "rounding": "floor"})
    config.conv1.contrast_norm = False
    config.contrast_norm.alpha_convention = "mean"
    net = from_config(config, classes=7)
    convs = {conv.number: conv for conv in net.convs}
    assert convs[3].maps == 512
    assert convs[2].pool is None
    assert convs[5].pool == Pool(2, 2, 1, "floor")
    assert convs[1].contrast_norm is None
    assert convs[2].contrast_norm.alpha_convention == "mean"
    assert (net.classes, net.dense, net.dense_names) == (7, (4096, 4096), ("fc6", "fc7"))
    assert hash(net) == hash(from_config(config, classes=7))
    config.layers = ("conv1", "conv6")
    with pytest.raises(ValueError, match=r"names 'conv6', but there is no field model.conv6"):
        from_config(config, classes=7)


def test_parameters_are_drawn_without_a_forward_pass():
    """Which would be traced and compiled for nothing when a training starts."""
    model = slow.exact_model(NETS["zfnet"])
    images = jax.ShapeDtypeStruct((1, 64, 67, 3), np.float32)
    made = str(jax.make_jaxpr(lambda key: model.init(key, images))(jax.random.key(0)))
    assert "erf_inv" in made
    for operation in ("conv_general_dilated", "dot_general", "max"):
        assert f"{operation}[" not in made.replace("reduce_max[", "")


def test_parameters_of_a_shape_are_those_of_images():
    """And `init` with images answers of them too, as of any module of Flax."""
    net = dataclasses.replace(NETS["zfnet"], convs=NETS["zfnet"].convs[:2])
    model, images = slow.exact_model(net), jnp.zeros((1, 64, 67, 3))
    (_, activations), variables = jax.jit(model.init_with_output)(jax.random.key(3), images)
    assert activations["pool2"].shape[0] == 1
    made = zfnet_model.initial_params(model, 3, (64, 67), 3)
    # Of two programs, which round apart.
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7),
        variables["params"],
        made,
    )
