"""Stages of other kinds and in another order than ours: each a class and a place in the list, and
everything that walks the stages takes them, with no other change."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.nn.initializers import ones, zeros

from tests import slow_reference as slow
from zfnet_jax import deconvnet, geometry, units
from zfnet_jax.architecture import Architecture
from zfnet_jax.cropped import Units, project_units
from zfnet_jax.exporters import onnx
from zfnet_jax.layer_specs import Conv, Pool
from zfnet_jax.report import figures
from zfnet_jax.report.tiles import window_of
from zfnet_jax.stages.average_pool import AveragePool
from zfnet_jax.stages.dense import Dense, Logits
from zfnet_jax.stages.filters import Filter
from zfnet_jax.stages.max_pool import MaxPool
from zfnet_jax.stages.relu import Relu
from zfnet_jax.stages.stage import Stage, Words
from zfnet_jax.studies.layers.diagram import deconvnet_diagram
from zfnet_jax.studies.layers.figure3 import figure3
from zfnet_jax.studies.occlusion.plan import Grid
from zfnet_jax.studies.occlusion.recompute import Squares, occluded, unoccluded


@dataclasses.dataclass(frozen=True)
class Leaky(Stage):
    slope: float

    def forward(self, x, weights, up):
        y = jnp.where(x > 0, x, self.slope * x)
        return y, {self.name: y}

    def reads(self, down):
        return {self.name: 0}

    def down(self, x, read, weights, frame, down):
        return jnp.where(read[self.name] > 0, x, self.slope * x)

    def words(self):
        return Words(("leaky relu",), up="leaky relu", down="leaky relu's slopes")


@dataclasses.dataclass(frozen=True)
class Affine(Stage):
    projects: ClassVar[bool] = True

    @property
    def weights(self):
        return f"affine{self.number}"

    def parameters(self, inputs, kernel_init):
        return {"scale": (ones, inputs[-1:]), "shift": (zeros, inputs[-1:])}

    def forward(self, x, weights, up):
        y = x * weights["scale"] + weights["shift"]
        return y, {self.name: y}

    def down(self, x, read, weights, frame, down):
        return x * weights["scale"]

    def words(self):
        return Words(("affine",), up="affine", down="scale")


AVERAGE = Pool(3, 2, 1, "ceil", "average")  # with a window that reaches beyond the padding


@dataclasses.dataclass(frozen=True)
class Toy(Architecture):
    """Averages, a convolution without a rectifier, and a rectifier after the pool."""

    @functools.cached_property
    def stages(self):
        first, second, third = self.convs
        return (
            Filter("conv1", 1, first),
            Affine("conv1", 1),
            Leaky("conv1", 1, 0.25),
            AveragePool("pool1", 1, AVERAGE),
            Filter("conv2", 2, second),
            MaxPool("pool2", 2, Pool(3, 2, 1, "ceil")),
            Leaky("relu2", 2, 0.5),
            Filter("conv3", 3, third),
            Relu("conv3", 3),
            Dense("fc4", 4, 5),
            Relu("fc4", 4),
            Logits("logits", 5, self.classes),
        )


NET = Toy((Conv(1, 4, 5, 2, 2), Conv(2, 6, 3), Conv(3, 4, 3, 1, 1)), (5,), 3, 0.0)
SIZE = (45, 52)
MODEL = slow.exact_model(NET)


@pytest.fixture(scope="module")
def computed():
    """Images, parameters, class scores, activations."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, *SIZE, 3)).astype(np.float32)
    params = slow.random_params(MODEL, images.shape)
    params["affine1"]["scale"] = np.array([1.5, -1, 0.5, 2], np.float32)
    params["conv2"]["bias"] -= 1  # so that whole windows of the pool hold nothing above zero
    return images, params, *jax.jit(MODEL.apply)({"params": params}, images)


def plain_maps(params, images):
    """The maps of the net, of nothing but library operations."""

    def filtered(x, conv):
        pads = [(conv.padding, conv.padding)] * 2
        order = ("NHWC", "HWIO", "NHWC")
        kernel, bias = params[conv.name]["kernel"], params[conv.name]["bias"]
        strides = (conv.stride, conv.stride)
        return bias + lax.conv_general_dilated(
            x, kernel, strides, pads, dimension_numbers=order, precision="highest"
        )

    maps, (first, second, third) = {}, NET.convs
    affine = params["affine1"]
    x = filtered(images, first) * affine["scale"] + affine["shift"]
    maps["conv1"] = jax.nn.leaky_relu(x, 0.25)
    size = maps["conv1"].shape[1:3]
    pads = [(1, slow.pool_starts(n, AVERAGE)[-1] + 3 - n) for n in size]
    means = 9 * nn.avg_pool(maps["conv1"], (3, 3), (2, 2), pads)
    rows, columns = ([n for _, n in slow.average_windows(n, AVERAGE)] for n in size)
    maps["pool1"] = means / np.outer(rows, columns)[:, :, None]
    maps["conv2"] = filtered(maps["pool1"], second)
    size = maps["conv2"].shape[1:3]
    pads = [(1, slow.pool_starts(n, Pool(3, 2, 1, "ceil"))[-1] + 3 - n) for n in size]
    maps["pool2"] = nn.max_pool(maps["conv2"], (3, 3), (2, 2), pads)
    maps["relu2"] = jax.nn.leaky_relu(maps["pool2"], 0.5)
    maps["conv3"] = jax.nn.relu(filtered(maps["relu2"], third))
    return maps


LAYERS = ("conv1", "pool1", "conv2", "pool2", "relu2", "conv3")


def test_the_forward_pass_is_that_of_the_list(computed):
    images, params, logits, activations = computed
    maps = jax.jit(plain_maps)(params, images)
    assert activations.keys() == {*LAYERS, "switches2", "fc4"}
    for name, expected in maps.items():
        np.testing.assert_allclose(activations[name], expected, atol=1e-4, err_msg=name)
    x = maps["conv3"].reshape(2, -1)
    x = np.maximum(x @ params["fc4"]["kernel"] + params["fc4"]["bias"], 0)
    expected = x @ params["logits"]["kernel"] + params["logits"]["bias"]
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_parameters_start_as_the_stage_says():
    params = jax.jit(MODEL.init)(jax.random.key(0), np.zeros((1, *SIZE, 3), np.float32))["params"]
    assert params.keys() == {"conv1", "affine1", "conv2", "conv3", "fc4", "logits"}
    np.testing.assert_array_equal(params["affine1"]["scale"], np.ones(4))


def test_sizes_and_layers(computed):
    *_, activations = computed
    assert NET.map_layers == LAYERS
    assert NET.outputs == {1: "pool1", 2: "relu2", 3: "conv3", 4: "fc4"}
    rows, columns = (geometry.layer_sizes(NET, size) for size in SIZE)
    shapes = geometry.shapes(NET, (*SIZE, 3))
    for layer in LAYERS:
        assert (rows[layer], columns[layer]) == activations[layer].shape[1:3]
        assert shapes[layer] == activations[layer].shape[1:]
    assert (shapes["fc4"], shapes["logits"]) == ((5,), (3,))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_projection_by_the_forward_mask_is_the_gradient(computed, layer):
    images, params, _, activations = computed
    maps = activations[layer]
    seed = np.asarray(units.strongest_unit(maps, 1) > 0, np.float32)
    assert seed.sum() == 2
    _, pullback = jax.vjp(lambda images: plain_maps(params, images)[layer], images)
    (expected,) = pullback(jnp.asarray(seed))
    projected = deconvnet.project(
        NET, params, activations, layer, seed, SIZE, rectify="forward_mask"
    )
    np.testing.assert_allclose(projected, expected, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rule", [("deconvnet", "sum"), ("guided", "mean")])
def test_units_are_projected_alone_and_see_their_receptive_field(computed, layer, rule):
    _, params, _, activations = computed
    options = {"rectify": rule[0], "overlap": rule[1]}
    maps = np.asarray(activations[layer])
    places = np.array([[0, 0, 0], [0, maps.shape[1] - 1, maps.shape[2] - 1], [1, 1, 2]])
    image, row, column = places.T
    index = maps[image, row, column].argmax(axis=1)
    value = np.array([1, 2, 0.5], np.float32)
    seed = np.zeros((3, *maps.shape[1:]), np.float32)
    seed[np.arange(3), row, column, index] = value
    each = {name: array[image] for name, array in activations.items()}
    full = np.asarray(deconvnet.project(NET, params, each, layer, seed, SIZE, **options))
    alone = Units(image, index, row, column, value)
    cropped = project_units(NET, params, activations, layer, alone, SIZE, **options)
    field = geometry.receptive_field(NET, layer)
    for n in range(3):
        rows, columns = field.window(int(row[n])), field.window(int(column[n]))
        window = (rows[0], columns[0], rows[1], columns[1])
        expected = window_of(full[n], window, 0)
        np.testing.assert_allclose(cropped[n], expected, atol=1e-5)
        outside = full[n].copy()
        outside[max(rows[0], 0) : rows[1], max(columns[0], 0) : columns[1]] = 0
        assert not outside.any()


def test_receptive_fields():
    fields = {layer: geometry.receptive_field(NET, layer) for layer in LAYERS}
    assert {layer: (f.size, f.jump, f.start) for layer, f in fields.items()} == {
        "conv1": (5, 2, -2), "pool1": (9, 4, -4), "conv2": (17, 4, -4),
        "pool2": (25, 8, -8), "relu2": (25, 8, -8), "conv3": (41, 8, -16),
    }  # fmt: skip


@pytest.mark.parametrize("layer", ["conv1", "pool1", "relu2"])
def test_occlusion_recomputes_windows_exactly(computed, layer):
    """With squares at the edges, where a pool of what is not rectified must not see zeros."""
    images, params, *_ = computed
    square = 6
    grid = Grid(SIZE, (0, 20, 39), (0, 17, 46), square)
    fill = np.full_like(images, -3)
    places = np.stack(np.mgrid[:2, :3, :3]).reshape(3, -1)
    number = np.array([1, 2])
    photos = unoccluded(MODEL, params, images, fill, grid, layer, number)
    logits, activity = occluded(MODEL, params, photos, grid, layer, Squares(*places))
    covered = images[places[0]]
    for one, row, column in zip(covered, places[1], places[2]):
        one[grid.rows[row] :, grid.columns[column] :][:square, :square] = -3
    expected, activations = jax.jit(MODEL.apply)({"params": params}, covered)
    maps = np.asarray(activations[layer])
    sums = maps[np.arange(len(maps)), :, :, number[places[0]]].sum(axis=(1, 2))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(activity, sums, rtol=1e-4, atol=1e-3)


def test_drawings_say_what_each_stage_does():
    with figures.use("paper"):
        layers = {text.get_text() for text in figure3(NET, SIZE, 3).axes[0].texts}
        diagram = {text.get_text() for text in deconvnet_diagram(NET, SIZE, 3).axes[0].texts}
    assert {
        "leaky relu",
        "average pool 3 x 3",
        "affine",
        "relu",
        "23 x 26\n4",
        "12 x 14\n4",
    } <= layers
    assert {
        "pooled   12 x 14 x 4",
        "spread   23 x 26 x 4",
        "filter $F_{1}$: 5 x 5, stride 2; affine; leaky relu",
        "leaky relu's slopes; scale; filter $F_{1}^T$",
        "reconstructed by layer 2   12 x 14 x 4",
        "unpooled   10 x 12 x 6",
        "chosen activations   6 x 7 x 4",
    } <= diagram


def test_a_stage_that_onnx_lacks_is_a_clear_error():
    with pytest.raises(ValueError, match="conv1: ONNX export knows no Affine"):
        onnx._add_stage(Affine("conv1", 1), onnx._Graph({}), "image", (8, 8, 3))
