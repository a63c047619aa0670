"""The maximum of whole maps: against a search, its way down the adjoint, one unit alone as all."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests import slow_reference as slow
from zfnet_jax import deconvnet, geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.cropped import Units, project_units
from zfnet_jax.global_pooling import global_max_pool, global_max_unpool
from zfnet_jax.layer_specs import RELU, Conv, Pool
from zfnet_jax.report.tiles import window_of


def test_it_is_a_search_and_its_way_down_is_the_adjoint():
    """Of maps larger than a byte counts; ties go to the first, a NaN is the largest."""
    rng = np.random.default_rng(0)
    for size in ((17, 18), (18, 17)):
        x = rng.integers(0, 5, size=(2, *size, 3)).astype(np.float32)  # so that there are ties
        x[0, 3, 4, 1] = x[0, 16, 16, 1] = np.nan
        pooled, switches = jax.jit(global_max_pool)(x)
        for b, c in np.ndindex(2, 3):
            values = x[b, :, :, c].ravel().tolist()
            first = next((n for n, v in enumerate(values) if v != v), values.index(max(values)))
            assert switches[b, 0, 0, c] == first
            np.testing.assert_array_equal(pooled[b, 0, 0, c], values[first])
        y = rng.normal(size=(2, 1, 1, 3)).astype(np.float32)
        spread = global_max_unpool(jnp.asarray(y), switches, size)
        _, pullback = jax.vjp(lambda x: global_max_pool(x)[0], jnp.asarray(x))
        np.testing.assert_array_equal(spread, pullback(jnp.asarray(y))[0])
        finite = np.nan_to_num(x)
        taken = finite.reshape(2, -1, 3)[np.arange(2)[:, None], switches[:, 0, 0], np.arange(3)]
        np.testing.assert_allclose(np.vdot(spread, finite), np.vdot(y, taken), rtol=1e-5)


def test_in_a_net_a_unit_alone_is_projected_as_among_all():
    net = Architecture(
        convs=(Conv(1, 3, 3, 1, 1), Conv(2, 4, 3, 1, 1, then=(RELU, Pool(20, 20)))),
        dense=(),
        classes=2,
        dropout=0.0,
    )
    model, size = slow.exact_model(net), (20, 20)
    images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
    params = slow.random_params(model, images.shape)
    _, activations = slow.answers(model, params, images)
    largest = np.asarray(activations["conv2"]).max(axis=(1, 2))
    np.testing.assert_array_equal(activations["pool2"][:, 0, 0], largest)
    index, none = np.array([1, 3]), np.zeros(2, int)
    value = np.asarray(activations["pool2"])[np.arange(2), 0, 0, index]
    seed = np.zeros((2, 1, 1, 4), np.float32)
    seed[np.arange(2), 0, 0, index] = value
    whole = np.asarray(deconvnet.project(net, params, activations, "pool2", seed, size))
    units = Units(np.arange(2), index, none, none, value)
    alone = project_units(net, params, activations, "pool2", units, size)
    first, end = geometry.receptive_field(net, "pool2").window(0)
    for n in range(2):
        assert np.abs(whole[n]).max() > 0
        expected = window_of(whole[n], (first, first, end, end), 0)
        np.testing.assert_allclose(alone[n], expected, atol=1e-5)
