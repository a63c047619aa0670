"""Crops and flips on the device against slices in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import quickstart
from zfnet_jax.data import augment

SIZE, CROP, SCALE = 12, 8, 64.0


# As they are used: each within one program.
image_keys = jax.jit(augment.image_keys)
random_crops = jax.jit(augment.random_crops, static_argnames=("crop", "rule", "scale"))
ten_crops = jax.jit(augment.ten_crops, static_argnames=("crop", "scale"))
centre_crops = jax.jit(augment.centre_crops, static_argnames=("crop", "scale"))


@pytest.mark.parametrize("scale", [0, -1.0, (58.0, 57.0), (58.0, 0.0, 57.0), "16", [1, "2", 3]])
def test_a_scale_that_is_none_is_refused(scale):
    config = quickstart.get_config()
    config.augment.scale = scale
    with pytest.raises(ValueError, match=r"config\.augment\.scale .* such as \(58\.4, 57\.1, 57"):
        augment.check(config)


def test_channels_are_divided_each_by_its_own_scale(images, mean):
    scale = (58.0, 29.0, 116.0)
    found = augment.centre_crops(jnp.asarray(images), jnp.asarray(mean), CROP, scale)
    expected = (images[:, 2:10, 2:10].astype(np.float64) - mean[2:10, 2:10]) / scale
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def mean(images: np.ndarray) -> np.ndarray:
    return images.mean(0).astype(np.float32)


def views(image: np.ndarray, mean: np.ndarray, corners: list[tuple[int, int]]) -> np.ndarray:
    """Every crop at the corners, plain and flipped."""
    centred = (image.astype(np.float32) - mean) / SCALE
    plain = [centred[y : y + CROP, x : x + CROP] for y, x in corners]
    return np.array(plain + [crop[:, ::-1] for crop in plain])


def which(crop: np.ndarray, candidates: np.ndarray) -> int:
    matches = [i for i, c in enumerate(candidates) if np.allclose(c, crop, atol=1e-5)]
    assert len(matches) == 1
    return matches[0]


@pytest.mark.parametrize(
    ("rule", "corners"),
    [
        ("ten", [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]),
        ("random", [(y, x) for y in range(5) for x in range(5)]),
    ],
)
def test_training_crops_are_those_of_the_rule_and_all_occur(images, mean, rule, corners):
    drawn = set()
    for epoch in range(8):
        keys = image_keys(0, epoch, jnp.arange(len(images)))
        crops = np.asarray(random_crops(images, keys, mean, CROP, rule, SCALE))
        assert crops.shape == (len(images), CROP, CROP, 3)
        drawn |= {which(crop, views(image, mean, corners)) for crop, image in zip(crops, images)}
    assert len(drawn) == 2 * len(corners)


def test_a_draw_depends_on_seed_epoch_and_image_alone(images, mean):
    def crops(seed: int, epoch: int, rows: np.ndarray) -> np.ndarray:
        keys = image_keys(seed, epoch, jnp.asarray(rows))
        return np.asarray(random_crops(images[rows], keys, mean, CROP, "random", SCALE))

    rows = np.array([5, 0, 31])
    together = crops(0, 3, np.arange(40))
    np.testing.assert_array_equal(crops(0, 3, rows), together[rows])
    assert not np.array_equal(crops(0, 4, np.arange(40)), together)
    assert not np.array_equal(crops(1, 3, np.arange(40)), together)


def test_ten_crops_and_centre_crop(images, mean):
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    ten = np.asarray(ten_crops(images, mean, CROP, SCALE))
    for crops, image in zip(ten, images):
        np.testing.assert_allclose(crops, views(image, mean, corners), atol=1e-5)
    centre = centre_crops(images, mean, CROP, SCALE)
    np.testing.assert_allclose(centre, ten[:, 4], atol=1e-6)


def test_crops_that_cannot_be_are_refused():
    config = quickstart.get_config()
    augment.check(config)
    for field, value, message in (
        ("augment.crop", config.data.image_size + 1, "config.augment.crop 73: must be between 1"),
        ("augment.crop", 0, "config.augment.crop 0: must be between 1"),
        ("augment.crops", "five", "config.augment.crops 'five': must be ten or random"),
    ):
        other = config.copy_and_resolve_references()
        other.update_from_flattened_dict({field: value})
        with pytest.raises(ValueError, match=message):
            augment.check(other)
