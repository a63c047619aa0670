"""Every kind of stage in one net, several in a layer and in many orders, against slow forms; a kind
that is not ours is a class and a place in the list, with no other change."""

from __future__ import annotations

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import slow_reference as slow
from tests.parts_of_nets import check_occlusion, check_units
from zfnet_jax import deconvnet, geometry, model
from zfnet_jax.architecture import Architecture
from zfnet_jax.exporters import onnx
from zfnet_jax.layer_fields import conv_fields, read_conv, read_part
from zfnet_jax.layer_specs import RELU, Affine, ContrastNorm, Conv, Pool, Rectifier, plain_then
from zfnet_jax.report import figures
from zfnet_jax.stages.stage import Stage, Up, Words
from zfnet_jax.studies.layers.diagram import deconvnet_diagram
from zfnet_jax.studies.layers.figure3 import figure3
from zfnet_jax.studies.occlusion.plan import Grid

ACROSS = ContrastNorm(3, 1.0, 0.2, 0.75, "sum")
WITHIN = ContrastNorm(3, 2.0, 0.5, 0.5, "mean", "within_map")
NET = Architecture(
    convs=(
        # With a window that reaches beyond the padding.
        Conv(1, 4, 5, 2, 2, then=(Rectifier(0.25), Affine(), Pool(3, 2, 1, "ceil", "average"))),
        Conv(
            2, 6, 3,
            then=(Pool(3, 2, 1, "ceil"), Rectifier(0.5, cap=1.5), ACROSS, Pool(2, 1),
                  Rectifier(0.1)),
        ),
        Conv(3, 4, 3, 1, 1, then=(WITHIN, Rectifier(cap=0.4), Affine())),
        Conv(5, 3, 1, then=()),
    ),
    dense=(5,),
    classes=3,
    dropout=0.0,
    dense_then=(Rectifier(0.2, 1.0),),
)  # fmt: skip
SIZE = (45, 52)
MODEL = slow.exact_model(NET)
LAYERS = (
    "conv1",
    "affine1",
    "pool1",
    "conv2",
    "pool2",
    "pool2_2",
    "conv3",
    "norm3",
    "affine3",
    "conv5",
)


@pytest.fixture(scope="module")
def computed():
    """Images, parameters, class scores, activations."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, *SIZE, 3)).astype(np.float32)
    params = slow.random_params(MODEL, images.shape)
    params["affine1"]["scale"] = np.array([1.5, -1, 0.5, 2], np.float32)
    params["affine3"]["scale"] = np.array([-1, 1, 0.5, 2], np.float32)
    params["conv2"]["bias"] -= 1  # so that whole windows of the pool hold nothing above zero
    return images, params, *slow.answers(MODEL, params, images)


@pytest.fixture(scope="module")
def slowly(computed):
    """The activations of the conv layers, by loops."""
    images, params, *_ = computed
    return slow.forward(NET, params, images)


def test_the_forward_pass_is_that_of_the_list(computed, slowly):
    _, params, logits, activations = computed
    assert activations.keys() == {*LAYERS, "norm2", "switches2", "switches2_2", "fc6"}
    for name, expected in slowly.items():
        np.testing.assert_allclose(activations[name], expected, atol=1e-4, err_msg=name)
    for layer, cap in (("pool2", 1.5), ("norm3", 0.4)):
        assert 0.01 < (slowly[layer] == cap).mean() < 0.5, layer
    assert slowly["pool2"].min() < 0 < slowly["pool2_2"].max()
    x = slowly["conv5"].reshape(2, -1)
    x = slow.rectified(x @ params["fc6"]["kernel"] + params["fc6"]["bias"], NET.dense_then[0])
    np.testing.assert_allclose(activations["fc6"], x, atol=1e-4)
    expected = x @ params["logits"]["kernel"] + params["logits"]["bias"]
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_parameters_start_as_the_stage_says():
    params = model.initial_params(MODEL, 0, SIZE, 3)
    layers = {"conv1", "affine1", "conv2", "conv3", "affine3", "conv5", "fc6", "logits"}
    assert params.keys() == layers
    np.testing.assert_array_equal(params["affine1"]["scale"], np.ones(4))


def test_sizes_and_layers(computed):
    *_, activations = computed
    assert NET.map_layers == LAYERS
    assert NET.switched == ("conv2",)
    assert NET.outputs == {1: "pool1", 2: "pool2_2", 3: "affine3", 5: "conv5", 6: "fc6"}
    rows, columns = (geometry.layer_sizes(NET, size) for size in SIZE)
    shapes = geometry.shapes(NET, (*SIZE, 3))
    for layer in LAYERS:
        assert (rows[layer], columns[layer]) == activations[layer].shape[1:3]
        assert shapes[layer] == activations[layer].shape[1:]
    assert (shapes["fc6"], shapes["logits"]) == ((5,), (3,))


@pytest.mark.parametrize("rectify", slow.RECTIFY)
def test_the_way_down_is_that_of_loops(computed, slowly, rectify):
    """From all units of the last maps, with the rules of every rectifier; by the forward mask it is
    the adjoint of the way up, norms and shifts apart."""
    _, params, _, activations = computed
    seed = np.asarray(activations["conv5"])
    overlap = "mean" if rectify == "guided" else "sum"
    down = functools.partial(deconvnet.reconstructions, rectify=rectify, overlap=overlap)
    found = jax.jit(down, static_argnums=(0, 3, 5))(NET, params, activations, "conv5", seed, SIZE)
    expected = slow.reconstructions(NET, params, slowly, "conv5", seed, SIZE, rectify, overlap)
    assert found.keys() == expected.keys()
    for name, maps in expected.items():
        np.testing.assert_allclose(found[name], maps, atol=1e-5 * np.abs(maps).max(), err_msg=name)


def test_a_projection_by_the_forward_mask_is_the_gradient(computed):
    """Below the first contrast norm, which the way down passes by."""
    images, params, _, activations = computed
    short = dataclasses.replace(
        NET, convs=(NET.convs[0], dataclasses.replace(NET.convs[1], then=NET.convs[1].then[:2]))
    )

    def maps(images):
        x = images
        for stage in short.map_stages:
            x, _ = stage.forward(x, stage.own(params), Up(jnp.float32, "highest"))
        return x

    seed = np.random.default_rng(1).normal(size=activations["pool2"].shape).astype(np.float32)
    _, pullback = jax.vjp(jax.jit(maps), images)
    (expected,) = pullback(jnp.asarray(seed))
    projected = deconvnet.project(
        NET, params, activations, "pool2", seed, SIZE, rectify="forward_mask"
    )
    np.testing.assert_allclose(projected, expected, atol=1e-5)


@pytest.mark.parametrize("layer", ["affine1", "pool1", "pool2_2", "conv5"])
@pytest.mark.parametrize("rule", [("deconvnet", "sum"), ("guided", "mean")])
def test_units_are_projected_alone_and_see_their_receptive_field(computed, layer, rule):
    _, params, _, activations = computed
    _, height, width, _ = activations[layer].shape
    places = np.array([[0, 0, 0], [0, height - 1, width - 1], [1, 1, 2]])
    check_units(NET, params, activations, layer, places, SIZE, rule, project=by_loops)


def by_loops(*arguments, **rule) -> np.ndarray:
    return slow.reconstructions(*arguments, **rule)["layer1"]


def test_receptive_fields():
    fields = {layer: geometry.receptive_field(NET, layer) for layer in LAYERS}
    assert {layer: (f.size, f.jump, f.start) for layer, f in fields.items()} == {
        "conv1": (5, 2, -2), "affine1": (5, 2, -2), "pool1": (9, 4, -4), "conv2": (17, 4, -4),
        "pool2": (25, 8, -8), "pool2_2": (33, 8, -8), "conv3": (49, 8, -16), "norm3": (49, 8, -16),
        "affine3": (49, 8, -16), "conv5": (49, 8, -16),
    }  # fmt: skip


@pytest.mark.parametrize("layer", ["affine1", "pool2", "norm3"])
def test_occlusion_recomputes_windows_exactly(computed, layer):
    """With squares at the edges, where a pool of what is not rectified must not see zeros."""
    images, params, *_ = computed
    check_occlusion(MODEL, params, images, Grid(SIZE, (0, 20, 39), (0, 17, 46), 6), layer, fill=-3)


def test_drawings_say_what_each_stage_does():
    with figures.use("paper"):
        layers = {text.get_text() for text in figure3(NET, SIZE, 3).axes[0].texts}
        diagram = {text.get_text() for text in deconvnet_diagram(NET, SIZE, 3).axes[0].texts}
    assert {
        "leaky relu 0.25",
        "scale and shift",
        "leaky relu 0.5",
        "at most 1.5",
        "relu",
        "at most 0.4",
        "average pool 3 x 3",
        "23 x 26\n4",
        "12 x 14\n4",
    } <= layers
    assert {
        "filter $F_{1}$: 5 x 5, stride 2; leaky relu 0.25",
        "leaky relu; filter $F_{1}^T$",
        "scaled   23 x 26 x 4",
        "spread   23 x 26 x 4",
        "reconstructed by layer 2   12 x 14 x 4",
        "(no contrast norm on the way down)",
        "leaky relu; max unpooling",
        "switches $S_{2,2}$",
        "unpooled   10 x 12 x 6",
        "normalised   5 x 6 x 4",
        "contrast norm; relu, at most 0.4",
        "scaled back   5 x 6 x 4",
        "chosen activations   5 x 6 x 3",
    } <= diagram


@dataclasses.dataclass(frozen=True)
class Halved(Stage):
    def forward(self, x, weights, up):
        return x / 2, {self.name: x / 2}

    def down(self, x, read, weights, frame, down):
        return x / 2

    def words(self):
        return Words(("half",), up="half", down="half")


@dataclasses.dataclass(frozen=True)
class Toy(Architecture):
    @functools.cached_property
    def stages(self):
        filters, relu, *rest = super().stages
        return (filters, relu, Halved("conv1", 1), *rest)


def test_a_kind_of_stage_that_is_not_ours():
    ours, toy = (kind((Conv(1, 2, 3, 2),), (), 2, 0.0) for kind in (Architecture, Toy))
    images = np.random.default_rng(0).normal(size=(1, 9, 9, 3)).astype(np.float32)
    params = slow.random_params(slow.exact_model(ours), images.shape)
    found = []
    for net in (ours, toy):
        _, activations = slow.answers(slow.exact_model(net), params, images)
        seed = np.ones((1, 4, 4, 2), np.float32)
        pixels = deconvnet.project(net, params, activations, "conv1", seed, (9, 9))
        found.append((activations["conv1"], pixels))
    for whole, half in zip(*found):
        assert np.abs(whole).max() > 0
        np.testing.assert_allclose(half, whole / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="conv1: ONNX export knows no Halved"):
        onnx._add_stage(toy.stages[2], onnx._Graph({}), "image", (8, 8, 3))


def test_layers_are_read_from_the_fields_that_they_are_written_as():
    for conv in NET.convs[:3]:
        fields = conv_fields(conv, ACROSS, norm_before_pool=False)
        assert {"pool", "relu", "contrast_norm"}.isdisjoint(fields)
        assert read_conv(conv.name, fields, WITHIN, norm_before_pool=True) == conv
    pool = Pool(3, 2)
    for first in (False, True):
        for then in (plain_then(False, pool, ACROSS, first), plain_then(True, pool), ()):
            conv = Conv(4, 8, 3, then=then)
            fields = conv_fields(conv, ACROSS, norm_before_pool=first)
            assert "then" not in fields
            assert read_conv("conv4", fields, ACROSS, norm_before_pool=first) == conv


def read(field: str, value: object) -> Conv:
    fields = {"maps": 4, "kernel": 3, field: value}
    return read_conv("conv1", fields, ACROSS, norm_before_pool=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv(1, 2, 3, then=(RELU, Rectifier(0.1))), "conv1: a relu straight after a relu"),
        (lambda: Rectifier(-0.1), "a relu's slope must be 0 or more, got -0.1"),
        (lambda: Rectifier(cap=0.0), "a relu's cap must be more than 0, got 0.0"),
        (lambda: read_part("model.conv1.then", {"kind": "elu"}),
         "model.conv1.then: {'kind': 'elu'} is none of relu, leaky_relu, capped_relu, max_pool,"),
        (lambda: read_part("model.conv1.then", {"kind": "relu", "slope": 1.0}), "is none of relu"),
        (lambda: read_part("model.conv1.then", {"kind": "max_pool"}), "missing 2 required"),
        (lambda: read_part("model.conv1.then", {"kind": "max_pool", "window": 0, "stride": 1}),
         "window and stride must be at least 1"),
        (lambda: read_conv("conv1", {"then": [], "pool": {}}, ACROSS, False),
         "model.conv1: `then` says all that follows the filters; leave out pool"),
        (lambda: read_part("model.conv1.then", "relu"),
         "model.conv1.then: 'relu' is no dict with a kind"),
        (lambda: read("then", 1), "model.conv1: 'int' object is not iterable"),
        (lambda: read("strides", 2), "model.conv1: "),
        (lambda: read_conv("conv1", {"maps": 4}, ACROSS, False), "model.conv1: "),
        (lambda: read("pool", {"window": 2}), "model.conv1.pool: "),
        (lambda: read("pool", {"stride": 2}), "model.conv1.pool: "),
        (lambda: read("pool", {"window": 2, "stride": 2, "size": 1}), "model.conv1.pool: "),
        (lambda: read("pool", {"window": 2, "stride": 0}), "model.conv1.pool: pool: window and"),
        (lambda: read("pool", ["max"]), "model.conv1.pool: "),
        (lambda: dataclasses.replace(NET, dense_then=()).stages and
         dataclasses.replace(NET, dense_then=(None, None)), "of 2 hidden dense layers"),
    ],
)  # fmt: skip
def test_what_no_layer_is_like_is_named(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
