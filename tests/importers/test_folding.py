"""Batch norms, scales and biases folded forwards, against what they do as they stand."""

from __future__ import annotations

import numpy as np
import pytest

from tests import slow_reference as slow
from zfnet_jax.importers import importing
from zfnet_jax.importers.chain import Affine, Dropout, Filters, Rectifier, Weights
from zfnet_jax.importers.folding import folded

RNG = np.random.default_rng(0)
FACTOR, SHIFT = np.array([2.0, -1.0, 0.5, 3.0]), np.array([1.0, 0.0, -2.0, 0.25])
AFFINE = Affine("scale", FACTOR, SHIFT)
MAPS = RNG.uniform(0.5, 2, 6), RNG.normal(size=6)
RELU = Rectifier("relu")


def filters(padding: int, groups: int) -> Filters:
    weight = RNG.normal(size=(6, 4 // groups, 3, 3)).astype(np.float32)
    return Filters("conv", weight, np.ones(6, np.float32), 2, padding, groups)


def convolved(link: Filters, x: np.ndarray) -> np.ndarray:
    kernel = link.weight.transpose(2, 3, 1, 0)
    return slow.convolve(x, kernel, 2, link.padding, link.groups) + link.bias


@pytest.mark.parametrize("before", [[], [RELU]], ids=["first of all", "after a relu"])
@pytest.mark.parametrize("groups", [1, 2])
def test_into_a_convolution_without_padding(before, groups):
    x = RNG.normal(size=(2, 7, 8, 4))
    link = filters(0, groups)
    *rest, found = folded([*before, AFFINE, link])
    assert rest == before
    np.testing.assert_allclose(
        convolved(found, x), convolved(link, x * FACTOR + SHIFT), rtol=1e-5, atol=1e-5
    )


def test_into_a_padded_convolution_goes_what_shifts_nothing():
    x = RNG.normal(size=(2, 7, 8, 4))
    link = filters(1, 1)
    assert folded([AFFINE, link]) == [AFFINE, link]
    (found,) = folded([Affine("scale", FACTOR, 0 * SHIFT), link])
    np.testing.assert_allclose(
        convolved(found, x), convolved(link, x * FACTOR), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("channels_last", [False, True])
def test_into_a_dense_layer_that_reads_maps(channels_last):
    """Through dropout that scales in evaluation, with what it leaves of the shift."""
    x = RNG.normal(size=(5, 3, 2, 4))
    order = (0, 1, 2, 3) if channels_last else (0, 3, 1, 2)
    weight = RNG.normal(size=(3, 24)).astype(np.float32)
    link = Weights("fc", weight, np.ones(3, np.float32), channels_last)
    dropout = Dropout("drop", 0.25, scales_training=False)
    *rest, found = folded([RELU, AFFINE, dropout, link])
    assert rest == [RELU, dropout]
    expected = (0.75 * (x * FACTOR + SHIFT)).transpose(order).reshape(5, -1) @ weight.T + 1
    sums = 0.75 * x.transpose(order).reshape(5, -1) @ found.weight.T + found.bias
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-5)


def test_two_become_one():
    one, *rest = folded([RELU, AFFINE, Affine("bias", np.ones(1), np.ones(1)), RELU])[1:]
    assert rest == [RELU]
    np.testing.assert_array_equal((one.factor, one.shift), (FACTOR, SHIFT + 1))
    capped = Rectifier("relu6", 0.5, 6.0)
    assert folded([Rectifier("leaky", 0.5), capped]) == [Rectifier("leaky", 0.25, 6.0)]
    assert folded([capped, RELU]) == [Rectifier("relu6", 0.0, 6.0)]


def test_a_batch_norm_of_images_is_preprocessing():
    """Near zero it subtracts little, which says nothing of pixels from 0 to 1 if a mean was
    subtracted before."""
    scale = Affine("scale", np.full(3, 2.0), np.array([-1.0, 0, 1]))
    chain, known = importing._affine_of_images([scale, RELU], importing._Known(crop=8))
    assert chain == [RELU]
    options = importing.Options(image_size=8)
    mean = np.array([120.0, 110.0, 100.0])
    pixels, *sides = importing._asked(options, mean, known, "rgb")
    found = pixels.together(*sides)
    np.testing.assert_allclose(found.mean, [120.5, 110.0, 99.5])
    assert found.scale == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="it takes pixels from 0 to 1"):
        importing._asked(options, None, known, "rgb")
    turned = [Affine("scale", -scale.factor, scale.shift), RELU]
    assert importing._affine_of_images(turned, known) == (turned, known)


def test_values_for_other_maps_are_named():
    message = r"scale: \[4\] and \[4\] values for 6 maps or units"
    with pytest.raises(ValueError, match=message):
        folded([filters(0, 1), AFFINE])


@pytest.mark.parametrize("before", [[filters(0, 1)], [filters(0, 1), RELU, Affine("maps", *MAPS)]])
def test_those_of_units_stay_apart_from_those_of_maps(before):
    """Batch norms after maps are made flat, and before: the dense layer takes both."""
    x = RNG.normal(size=(5, 3, 2, 6))
    units = Affine("units", RNG.uniform(0.5, 2, 36), RNG.normal(size=36))
    link = Weights("fc", RNG.normal(size=(3, 36)).astype(np.float32), np.ones(3, np.float32))
    *rest, found = folded([*before, units, link])
    assert rest == before[:2]
    factor, shift = MAPS if len(before) > 1 else (1, 0)
    flat = (x * factor + shift).transpose(0, 3, 1, 2).reshape(5, -1)
    expected = (flat * units.factor + units.shift) @ link.weight.T + 1
    sums = x.transpose(0, 3, 1, 2).reshape(5, -1) @ found.weight.T + found.bias
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-5)


def test_one_factor_and_a_shift_of_each_map_into_a_dense_layer():
    link = Weights("fc", np.ones((1, 8), np.float32), np.zeros(1, np.float32))
    (found,) = folded([Affine("scale", np.array([2.0]), SHIFT), link])
    np.testing.assert_array_equal(found.weight, 2 * link.weight)
    np.testing.assert_array_equal(found.bias, [2 * SHIFT.sum()])


def test_before_groups_that_do_not_divide_it_stays():
    """The net that they are put together to says what is wrong."""
    link = Filters("conv", np.ones((3, 2, 1, 1), np.float32), np.ones(3, np.float32), 1, 0, 2)
    assert folded([AFFINE, link]) == [AFFINE, link]
