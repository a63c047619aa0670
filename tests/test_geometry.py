from __future__ import annotations

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from configs import architectures
from tests import slow_reference as slow
from zfnet_jax import geometry
from zfnet_jax.architecture import from_config
from zfnet_jax.layer_specs import Conv, Pool

NETS = slow.narrow_nets()


def _random_convs(count: int) -> list[tuple[int, Conv]]:
    rng = random.Random(0)
    cases = []
    while len(cases) < count:
        size, kernel, padding = rng.randint(1, 40), rng.randint(1, 11), rng.randint(0, 5)
        if size + 2 * padding >= kernel:
            cases.append((size, Conv(1, 4, kernel, rng.randint(1, 5), padding)))
    return cases


def _random_pools(count: int, rounding: str) -> list[tuple[int, Pool]]:
    rng = random.Random(1)
    cases = []
    while len(cases) < count:
        window = rng.randint(1, 6)
        size, padding = rng.randint(1, 30), rng.randint(0, window - 1)
        if size + 2 * padding >= window or rounding == "ceil":
            cases.append((size, Pool(window, rng.randint(1, 7), padding, rounding)))
    return cases


def test_an_image_has_two_axes():
    assert geometry.both_axes(n + 1 for n in (4, 5)) == (5, 6)
    for wrong in ((1,), (1, 2, 3)):
        with pytest.raises(ValueError, match="values to unpack"):
            geometry.both_axes(wrong)


def test_conv_sizes_are_those_of_the_real_operation():
    for size, conv in _random_convs(60):
        result = jax.eval_shape(
            lambda x, kernel, conv=conv: lax.conv_general_dilated(
                x, kernel, (conv.stride,) * 2, [(conv.padding,) * 2] * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            ),
            jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32),
            jax.ShapeDtypeStruct((conv.kernel, conv.kernel, 3, 4), jnp.float32),
        )  # fmt: skip
        assert conv.size(size) == result.shape[1], (size, conv)


@pytest.mark.parametrize("rounding", ["floor", "ceil"])
def test_pool_sizes_and_paddings_are_those_of_the_windows(rounding):
    for size, pool in _random_pools(200, rounding):
        starts = slow.pool_starts(size, pool)
        assert all(start < size and start + pool.window > 0 for start in starts)  # no empty window
        assert pool.size(size) == len(starts), (size, pool)
        before, after = pool.pads(size)
        # With that padding an ordinary windowed operation makes just these windows.
        assert slow.window_starts(size, pool.window, pool.stride, (before, after)) == starts
        if rounding == "floor":
            assert (before, after) == (pool.padding, pool.padding)


def test_pool_sizes_are_those_of_reduce_window():
    cases = _random_pools(40, "floor") + _random_pools(40, "ceil")
    for size, pool in cases:
        pads = pool.pads(size)
        result = jax.eval_shape(
            lambda x, pool=pool, pads=pads: lax.reduce_window(
                x, -jnp.inf, lax.max, (pool.window,), (pool.stride,), (pads,)
            ),
            jax.ShapeDtypeStruct((size,), jnp.float32),
        )
        assert pool.size(size) == result.shape[0], (size, pool)


def test_ceil_covers_every_pixel_that_floor_leaves_out():
    for size in range(3, 30):
        floor, ceil = Pool(3, 2, 0, "floor"), Pool(3, 2, 0, "ceil")
        extra = (size - 3) % 2
        assert ceil.size(size) - floor.size(size) == extra
        assert ceil.pads(size) == (0, extra)


def test_layers_smaller_than_their_window_are_errors():
    with pytest.raises(ValueError, match="conv2: an input of 3 pixels is smaller than its 5-pixel"):
        Conv(2, 4, 5).size(3)
    with pytest.raises(ValueError, match="a map of 2 pixels is smaller than its 3-pixel pooling"):
        Pool(3, 2, 0, "floor").size(2)
    assert Pool(3, 2, 0, "ceil").size(2) == 1
    with pytest.raises(ValueError, match="use larger images or fewer layers"):
        geometry.layer_sizes(NETS["zfnet"], 20)


ZFNET_SIZES = {
    "conv1": 110, "pool1": 55, "conv2": 26, "pool2": 13,
    "conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6,
}  # fmt: skip


def test_layer_sizes_of_the_papers_nets_at_224():
    alexnet = {
        "conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13,
        "conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6,
    }  # fmt: skip
    assert geometry.layer_sizes(NETS["zfnet"], 224) == ZFNET_SIZES
    assert geometry.layer_sizes(NETS["zfnet_padded"], 224) == ZFNET_SIZES
    assert geometry.layer_sizes(NETS["alexnet"], 224) == alexnet


@pytest.mark.parametrize("name", ["zfnet", "zfnet_padded"])
def test_receptive_fields_of_the_paper(name):
    golden = {
        "conv1": (7, 2), "pool1": (11, 4), "conv2": (27, 8), "pool2": (43, 16),
        "conv3": (75, 16), "conv4": (107, 16), "conv5": (139, 16), "pool5": (171, 32),
    }  # fmt: skip
    fields = {layer: geometry.receptive_field(NETS[name], layer) for layer in golden}
    assert {layer: (field.size, field.jump) for layer, field in fields.items()} == golden


def test_receptive_field_windows_start_where_the_padding_says():
    net = from_config(architectures.zfnet(), classes=10)
    assert geometry.receptive_field(net, "conv1").window(0) == (-1, 6)
    assert geometry.receptive_field(net, "conv1").window(109) == (217, 224)
    assert geometry.receptive_field(net, "pool1").window(1) == (3, 14)
    assert geometry.receptive_field(net, "conv2").window(1) == (7, 34)
    with pytest.raises(ValueError, match="no layer 'pool3': the net has conv1, pool1, conv2"):
        geometry.receptive_field(net, "pool3")


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("zfnet", "row"),
        ("zfnet", "column"),
        ("zfnet_padded", "row"),
        ("small", "column"),
        ("alexnet", "row"),
        ("alexnet_grouped", "column"),
        ("alexnet_without_3_4", "column"),
    ],
)
def test_units_see_exactly_their_receptive_field(name, axis):
    """Image p is black but for row (or column) p: with filters of ones, the units that see it fire.

    So no pixel outside a unit's window moves it, and every pixel inside does. Only at the far edge
    may a unit see less: there its window goes on over pixels that a layer below left out.
    """
    net = NETS[name]
    height, width = (131, 63) if axis == "row" else (64, 132)
    size = height if axis == "row" else width
    lines = np.eye(size, dtype=np.float32)
    stripes = lines[:, :, None, None] if axis == "row" else lines[:, None, :, None]
    images = np.broadcast_to(stripes, (size, height, width, 1))
    model = slow.exact_model(net)
    params = jax.tree.map(np.zeros_like, slow.random_params(model, images.shape))
    for conv in net.convs:
        params[conv.name]["kernel"] += 1

    _, activations = slow.answers(model, params, images)
    for layer in net.map_layers:
        fires = np.asarray(activations[layer]).max(axis=3) > 0
        sees = fires.any(axis=2 if axis == "row" else 1)  # [pixel, unit]
        field = geometry.receptive_field(net, layer)
        whole = 0
        for unit in range(sees.shape[1]):
            first, last = field.window(unit)
            window = np.zeros(size, bool)
            window[max(first, 0) : max(last, 0)] = True
            assert not (sees[:, unit] & ~window).any(), (layer, unit)
            if last <= size:
                whole += 1
                np.testing.assert_array_equal(sees[:, unit], window, err_msg=f"{layer}, {unit}")
        assert whole, layer


def test_a_unit_is_carried_by_one_that_sees_all_that_it_sees():
    net = NETS["zfnet"]
    own, wide = (geometry.receptive_field(net, layer) for layer in ("conv3", "conv5"))
    for unit, carrier in enumerate(geometry.carriers(net, "conv3", "conv5", 96)):
        (first, last), (start, end) = own.window(unit), wide.window(carrier)
        assert start <= first
        assert last <= end
    with pytest.raises(ValueError, match="equally far apart"):
        geometry.carriers(net, "conv2", "conv5", 96)
