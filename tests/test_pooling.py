from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests import slow_reference as slow
from zfnet_jax.layer_specs import Pool
from zfnet_jax.pooling import max_pool_with_switches, max_unpool, switch_positions

pool_jit = jax.jit(max_pool_with_switches, static_argnums=(1, 2, 3))
unpool_jit = jax.jit(max_unpool, static_argnums=(2, 3, 4, 5, 6))

# (height, width), window, stride, padding
GEOMETRIES = [
    ((6, 6), 2, 2, 0),
    ((7, 8), 3, 2, 0),
    ((8, 7), 3, 2, 1),
    ((8, 9), 3, 2, ((0, 1), (1, 0))),
    ((9, 8), 3, 2, ((1, 0), (0, 1))),
    ((7, 6), 3, 1, 1),
    ((10, 11), 2, 3, 0),  # stride > window: pixels between windows are seen by none
    ((10, 11), 2, 3, ((1, 0), (0, 1))),
    ((2, 1), 3, 2, ((0, 1), (1, 1))),  # maps smaller than the window
    ((2, 3), 5, 1, ((2, 3), (4, 2))),
    ((1, 1), 3, 2, ((2, 1), (1, 2))),
    ((9, 12), 5, 2, ((4, 2), (0, 4))),  # several windows start in the padding
    ((5, 4), 1, 1, 0),
    ((6, 5), 1, 2, 0),
]
POOLS = [Pool(3, 2, 0, "ceil"), Pool(3, 2, 0, "floor"), Pool(3, 2, 1, "floor"), Pool(2, 2, 0)]


def _sides(padding):
    return ((padding,) * 2,) * 2 if isinstance(padding, int) else padding


def _starts(size, window, stride, padding):
    return [slow.window_starts(n, window, stride, p) for n, p in zip(size, _sides(padding))]


def _permutation(shape, seed=0):
    """Tie-free maps: a permutation of whole numbers around zero, exact in every dtype used."""
    n = int(np.prod(shape))
    values = np.random.default_rng(seed).permutation(n) - n // 2
    return values.reshape(shape).astype(np.float32)


def test_worked_example_of_the_post():
    maps = np.array(
        [[118, 112, 105, 109], [112, 110, 110, 109], [114, 115, 111, 112], [112, 109, 110, 109]]
    )[None, :, :, None]
    pooled, switches = jax.device_get(pool_jit(maps, 2, 2, 0))
    np.testing.assert_array_equal(pooled[0, :, :, 0], [[118, 110], [115, 112]])
    rows, columns = switch_positions(switches, 2)
    positions = np.stack([rows[0, :, :, 0], columns[0, :, :, 0]], axis=-1)
    np.testing.assert_array_equal(positions, [[[0, 0], [1, 0]], [[0, 1], [0, 1]]])
    unpooled = np.asarray(unpool_jit(pooled, switches, maps.shape, 2, 2, 0))
    np.testing.assert_array_equal(
        unpooled[0, :, :, 0], [[118, 0, 0, 0], [0, 0, 110, 0], [0, 115, 0, 112], [0, 0, 0, 0]]
    )


@pytest.mark.parametrize(("size", "window", "stride", "padding"), GEOMETRIES)
def test_pool_and_its_gradient_match_loops_and_flax(size, window, stride, padding):
    x = _permutation((2, *size, 3))
    rows, columns = _starts(size, window, stride, padding)
    expected, expected_switches = slow.max_pool(x, window, rows, columns)
    weights = np.random.default_rng(1).normal(size=expected.shape).astype(np.float32)

    @jax.jit
    def ours(x):
        def weighted(x):
            pooled, switches = max_pool_with_switches(x, window, stride, padding)
            return (pooled * weights).sum(), (pooled, switches)

        gradient, outputs = jax.grad(weighted, has_aux=True)(x)
        return outputs, gradient

    @jax.jit
    def flax(x):
        def weighted(x):
            pooled = nn.max_pool(x, (window, window), (stride, stride), _sides(padding))
            return (pooled * weights).sum(), pooled

        gradient, pooled = jax.grad(weighted, has_aux=True)(x)
        return pooled, gradient

    (pooled, switches), gradient = ours(x)
    flax_pooled, flax_gradient = flax(x)
    assert switches.dtype == jnp.uint8
    np.testing.assert_array_equal(pooled, expected)
    np.testing.assert_array_equal(pooled, flax_pooled)
    np.testing.assert_array_equal(switches, expected_switches)
    np.testing.assert_allclose(gradient, flax_gradient, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32])
@pytest.mark.parametrize("padding", [0, ((1, 0), (0, 1))])
def test_ties_and_very_negative_values_in_every_dtype(dtype, padding):
    """Few distinct values make many ties; all lie near the type's lowest, so padding would show."""
    lowest = jnp.iinfo(dtype).min + 8 if dtype == jnp.int32 else float(jnp.finfo(dtype).min)
    for values in ([0, -1, -2], [lowest, lowest / 2 if dtype != jnp.int32 else lowest + 1]):
        drawn = np.random.default_rng(0).choice(values, size=(2, 9, 8, 3))
        x = jnp.asarray(drawn).astype(dtype)
        pooled, switches = pool_jit(x, 3, 2, padding)
        rows, columns = _starts((9, 8), 3, 2, padding)
        expected, expected_switches = slow.max_pool(np.asarray(x), 3, rows, columns)
        assert pooled.dtype == dtype
        np.testing.assert_array_equal(pooled, expected)
        np.testing.assert_array_equal(switches, expected_switches)


def test_constant_maps_go_to_the_first_pixel_inside_the_map():
    _, switches = pool_jit(np.full((1, 4, 4, 1), -3, np.float32), 3, 2, ((1, 0), (1, 0)))
    np.testing.assert_array_equal(switches[0, :, :, 0], [[4, 3], [1, 0]])


@pytest.mark.parametrize("padding", [0, 1])
def test_nan_is_the_maximum_of_its_window(padding):
    x = _permutation((2, 9, 8, 3))
    x.reshape(-1)[:: x.size // 7] = np.nan
    pooled, switches = pool_jit(x, 3, 2, padding)
    rows, columns = _starts((9, 8), 3, 2, padding)
    expected, expected_switches = slow.max_pool(x, 3, rows, columns)
    assert np.isnan(expected).sum() >= 7
    np.testing.assert_array_equal(pooled, expected)
    np.testing.assert_array_equal(switches, expected_switches)


@pytest.mark.parametrize(
    ("dtype", "lowest"),
    [(jnp.float32, -jnp.inf), (jnp.int32, jnp.iinfo(jnp.int32).min)],
    ids=["-inf", "smallest_integer"],
)
def test_switches_never_name_padding_even_for_the_lowest_value(dtype, lowest):
    x = jnp.full((1, 2, 2, 1), lowest, dtype)
    _, switches = pool_jit(x, 3, 2, ((1, 0), (1, 0)))
    np.testing.assert_array_equal(switches, [[[[4]]]])


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding"),
    [((2, 5), 3, 2, 0), ((5, 2), 3, 2, 0), ((2, 2), 5, 1, 1), ((3, 3), 4, 1, ((0, 0), (1, 0)))],
)
def test_windows_that_do_not_fit_are_errors(size, window, stride, padding):
    with pytest.raises(ValueError, match=f"hold no {window}-pixel window"):
        max_pool_with_switches(jnp.zeros((1, *size, 1)), window, stride, padding)


@pytest.mark.parametrize(("window", "stride"), [(0, 1), (17, 1), (3, 0)])
def test_impossible_windows_and_strides_are_errors(window, stride):
    x = jnp.zeros((1, 20, 20, 1))
    with pytest.raises(ValueError, match=r"window must be in \[1, 16\]"):
        max_pool_with_switches(x, window, stride, 0)
    with pytest.raises(ValueError, match=r"window must be in \[1, 16\]"):
        max_unpool(x, x.astype(jnp.uint8), x.shape, window, stride, 0)


def test_vmap_pmap_and_sharding_change_nothing():
    n = jax.local_device_count()
    x = _permutation((2 * n, 8, 9, 3))
    pads = ((0, 1), (0, 0))

    def everything(x):
        pooled, switches = max_pool_with_switches(x, 3, 2, pads)
        gradient = jax.grad(lambda x: (max_pool_with_switches(x, 3, 2, pads)[0] ** 2).sum())(x)
        unpooled = max_unpool(pooled, switches, x.shape, 3, 2, pads, "mean")
        return pooled, switches, gradient, unpooled

    mesh = Mesh(jax.local_devices(), ("batch",))
    rows = PartitionSpec("batch")
    sharded = jax.device_put(x, NamedSharding(mesh, rows))
    expected = jax.jit(everything)(x)
    for transformed, argument in (
        (jax.jit(jax.vmap(everything)), x[:, None]),
        (jax.pmap(everything), x.reshape(n, 2, *x.shape[1:])),
        (jax.jit(everything), sharded),
        (jax.jit(jax.shard_map(everything, mesh=mesh, in_specs=rows, out_specs=rows)), sharded),
    ):
        for a, e in zip(transformed(argument), expected, strict=True):
            np.testing.assert_array_equal(np.reshape(a, e.shape), e)


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("size", [(13, 12), (10, 15)])
def test_unpool_is_the_adjoint_of_reduce_window(pool, size):
    """Against XLA's own gradient of max pooling, which knows nothing of switches."""
    x = _permutation((2, *size, 4))
    pads = tuple(pool.pads(n) for n in size)

    @jax.jit
    def both(x, cotangent):
        def reduce_window(x):
            window, strides = (1, pool.window, pool.window, 1), (1, pool.stride, pool.stride, 1)
            return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, ((0, 0), *pads, (0, 0)))

        plain, pullback = jax.vjp(reduce_window, x)
        pooled, switches = max_pool_with_switches(x, pool.window, pool.stride, pads)
        unpooled = max_unpool(cotangent, switches, x.shape, pool.window, pool.stride, pads, "sum")
        return plain, pooled, pullback(cotangent)[0], unpooled

    starts = [slow.pool_starts(n, pool) for n in size]
    shape = (2, len(starts[0]), len(starts[1]), 4)
    cotangent = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    plain, pooled, expected, unpooled = both(x, cotangent)
    np.testing.assert_array_equal(pooled, plain)
    np.testing.assert_allclose(unpooled, expected, atol=1e-5)

    # <P y, z> = <y, P^T z>, where P picks the pixels that the switches of x name.
    y = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    _, switches = slow.max_pool(x, pool.window, *starts)
    picked = np.zeros(shape)
    for b, i, j, c in np.ndindex(shape):
        dy, dx = divmod(int(switches[b, i, j, c]), pool.window)
        picked[b, i, j, c] = y[b, starts[0][i] + dy, starts[1][j] + dx, c]
    np.testing.assert_allclose((picked * cotangent).sum(), (y * unpooled).sum(), rtol=1e-4)


@pytest.mark.parametrize("overlap", slow.OVERLAP)
@pytest.mark.parametrize(
    ("size", "window", "stride", "padding"), [GEOMETRIES[i] for i in (0, 1, 3, 5, 7, 9)]
)
def test_overlap_rules_match_loops(overlap, size, window, stride, padding):
    """Values with zeros and negatives: every window that names a pixel counts."""
    rng = np.random.default_rng(0)
    rows, columns = _starts(size, window, stride, padding)
    _, switches = slow.max_pool(_permutation((2, *size, 3)), window, rows, columns)
    values = rng.choice([-3, -2, -1, 0, 0, 1, 2, 3], size=switches.shape).astype(np.float32)
    expected = slow.unpool(values, switches, size, window, rows, columns, overlap)
    for shape in (size, (2, *size, 3)):
        result = unpool_jit(values, switches, shape, window, stride, padding, overlap)
        np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("overlap", "expected"), [("sum", -2.0), ("max", 0.0), ("mean", -1.0), ("overwrite", 0.0)]
)
def test_overlap_rules_on_one_pixel(overlap, expected):
    """Two 2-pixel windows name the same middle pixel, with values -2 and then 0."""
    values = np.array([-2, 0], np.float32).reshape(1, 1, 2, 1)
    switches = np.array([1, 0], np.uint8).reshape(1, 1, 2, 1)
    result = np.asarray(unpool_jit(values, switches, (2, 3), 2, 1, 0, overlap))
    np.testing.assert_array_equal(result[0, :, :, 0], [[0, expected, 0], [0, 0, 0]])


@pytest.mark.parametrize("overlap", slow.OVERLAP)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32])
def test_unpool_keeps_the_dtype(overlap, dtype):
    values = jnp.ones((1, 3, 3, 2), dtype)
    result = jax.eval_shape(
        lambda v, s: max_unpool(v, s, (7, 7), 3, 2, 0, overlap), values, values.astype(jnp.uint8)
    )
    assert result.dtype == dtype
    assert result.shape == (1, 7, 7, 2)


@pytest.mark.parametrize("overlap", ["max", "mean", "overwrite"])
@pytest.mark.parametrize("padding", [0, 1])
def test_pooling_again_gives_the_same_maps_and_switches(overlap, padding):
    """For positive maps pool(unpool(pool(x))) = pool(x): every maximum is back in its place."""
    x = _permutation((2, 9, 11, 3))
    x += 1 - x.min()
    pooled, switches = pool_jit(x, 3, 2, padding)
    unpooled = unpool_jit(pooled, switches, x.shape, 3, 2, padding, overlap)
    again, again_switches = pool_jit(unpooled, 3, 2, padding)
    np.testing.assert_array_equal(again, pooled)
    np.testing.assert_array_equal(again_switches, switches)
    kept = np.asarray(unpooled) != 0
    np.testing.assert_array_equal(np.asarray(unpooled)[kept], x[kept])


def test_unpool_of_windows_that_do_not_overlap_is_the_same_under_every_rule():
    x = _permutation((2, 8, 6, 3))
    pooled, switches = pool_jit(x, 2, 2, 0)
    results = [unpool_jit(pooled, switches, x.shape, 2, 2, 0, overlap) for overlap in slow.OVERLAP]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_unpool_rejects_what_does_not_fit():
    values, switches = jnp.zeros((1, 3, 3, 2)), jnp.zeros((1, 3, 3, 2), jnp.uint8)
    with pytest.raises(ValueError, match="do not fit"):
        max_unpool(values, switches, (9, 7), 3, 2, 0)
    with pytest.raises(ValueError, match="do not fit"):
        max_unpool(values, switches[..., :1], (7, 7), 3, 2, 0)
    with pytest.raises(ValueError, match="overlap must be"):
        max_unpool(values, switches, (7, 7), 3, 2, 0, "average")
