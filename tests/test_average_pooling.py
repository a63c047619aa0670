"""Average pooling against loops and PyTorch; its way down is its adjoint."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import slow_reference as slow
from zfnet_jax import deconvnet
from zfnet_jax.architecture import Architecture
from zfnet_jax.layer_specs import Conv, Pool, plain_then
from zfnet_jax.stages.average_pool import AveragePool
from zfnet_jax.stages.stage import Down, Frame, Place, Up

UP = Up(jnp.float32, "highest")
# Of odd and even windows, that overlap, touch, or step over pixels; partial ones; one of the map.
POOLS = [
    Pool(3, 2, 0, "ceil", "average"),
    Pool(3, 2, 1, "ceil", "average"),
    Pool(3, 2, 1, "ceil", "average", counts_padding=False),
    Pool(4, 1, 2, "floor", "average", counts_padding=False),
    Pool(2, 2, 0, "floor", "average"),
    Pool(2, 3, 1, "floor", "average"),
    Pool(11, 11, 0, "floor", "average"),
]
SIZES = [(11, 14), (12, 13)]


def both_ways(pool: Pool, x: np.ndarray, y: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Pooled x, and y on the way down."""
    stage, size = AveragePool("pool1", 1, pool), x.shape[1:3]
    pads = tuple(stage.pads(n) for n in size)
    frame = Frame(size, pads, Place((0, 0), size))
    up = jax.jit(lambda x: stage.forward(x, {}, UP)[0])(x)
    return up, jax.jit(lambda y: stage.down(y, {}, {}, frame, Down()))(y)


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_it_is_that_of_loops_and_its_way_down_is_the_adjoint(pool):
    rng = np.random.default_rng(0)
    for size in SIZES:
        x = rng.normal(size=(2, *size, 3)).astype(np.float32)
        expected = slow.average_pool(x, pool)
        y = rng.normal(size=expected.shape).astype(np.float32)
        pooled, spread = both_ways(pool, x, y)
        np.testing.assert_allclose(pooled, expected, atol=1e-6)
        np.testing.assert_allclose(spread, slow.average_unpool(y, size, pool), atol=1e-6)
        products = np.vdot(pooled, y), np.vdot(x, spread)
        scale = np.linalg.norm(pooled) * np.linalg.norm(y)
        assert abs(products[0] - products[1]) < 1e-5 * scale


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_it_is_pytorchs(pool):
    functional = pytest.importorskip("torch.nn.functional", reason="PyTorch is not installed")
    import torch

    if 2 * pool.padding > pool.window:
        pytest.skip("PyTorch pads by half a window at most")
    x = np.random.default_rng(1).normal(size=(2, *SIZES[0], 3)).astype(np.float32)
    theirs = functional.avg_pool2d(
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), pool.window, pool.stride, pool.padding,
        ceil_mode=pool.rounding == "ceil", count_include_pad=pool.counts_padding,
    )  # fmt: skip
    stage = AveragePool("pool1", 1, pool)
    ours = jax.jit(lambda x: stage.forward(x, {}, UP)[0])(x)
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), atol=1e-6)


def test_a_part_of_the_maps_has_the_means_of_the_whole():
    """Also where windows leave the map, wherever each photo's part lies."""
    pool = POOLS[1]
    stage = AveragePool("pool1", 1, pool)
    x = np.random.default_rng(2).normal(size=(2, *SIZES[0], 3)).astype(np.float32)
    whole, _ = jax.jit(lambda x: stage.forward(x, {}, UP))(x)
    pads = [stage.pads(n) for n in SIZES[0]]
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    firsts = np.array([[0, 4], [3, 5]])  # units, a part of 3 x 2 each
    parts = np.stack([p[2 * r : 2 * r + 7, 2 * c : 2 * c + 5] for p, (r, c) in zip(padded, firsts)])
    place = Place((firsts[:, 0], firsts[:, 1]), SIZES[0])
    found = jax.jit(lambda parts: stage.inside(parts, {}, UP, place))(parts)
    expected = [w[r : r + 3, c : c + 2] for w, (r, c) in zip(whole, firsts)]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-6)


def test_means_of_bfloat16_are_of_float32_sums():
    """256 + 1 is 256 in bfloat16."""
    x = jnp.ones((1, 32, 32, 1), jnp.bfloat16).at[0, 0, 0, 0].set(256)
    stage = AveragePool("pool1", 1, Pool(32, 32, kind="average"))
    pooled, _ = jax.jit(lambda x: stage.forward(x, {}, UP))(x)
    assert pooled.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(pooled), 1 + 255 / 1024, rtol=1e-2)


def test_a_net_with_averages_and_without_some_relus_is_that_of_loops():
    """Up, and down from the last pool's whole maps by two rules."""
    net = Architecture(
        convs=(
            Conv(1, 4, 5, 2, 2, then=plain_then(True, Pool(3, 2, 1, "ceil", "average"))),
            Conv(2, 6, 3, padding=1, then=(Pool(3, 2),)),
            Conv(3, 4, 3, 1, 1, then=(Pool(2, 1, 1, "floor", "average", False),)),
        ),
        dense=(),
        classes=2,
        dropout=0.0,
    )
    model, size = slow.exact_model(net), (30, 25)
    images = np.random.default_rng(1).normal(size=(1, *size, 3)).astype(np.float32)
    params = slow.random_params(model, images.shape)
    _, activations = slow.answers(model, params, images)
    expected = slow.forward(net, params, images)
    assert activations.keys() == expected.keys()
    assert activations["conv3"].min() < 0
    for name, maps in expected.items():
        np.testing.assert_allclose(activations[name], maps, atol=1e-5, err_msg=name)
    for rectify, overlap in (("deconvnet", "sum"), ("guided", "mean")):
        seed = activations["pool3"]
        down = functools.partial(deconvnet.reconstructions, rectify=rectify, overlap=overlap)
        found = jax.jit(down, static_argnums=(0, 3, 5))(
            net, params, activations, "pool3", seed, size
        )
        slowly = slow.reconstructions(net, params, expected, "pool3", seed, size, rectify, overlap)
        for name, maps in slowly.items():
            np.testing.assert_allclose(found[name], maps, atol=1e-5 * np.abs(maps).max())
