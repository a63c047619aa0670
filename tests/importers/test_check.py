"""The check of a net's preprocessing, on a net that needs one and is given another."""

from __future__ import annotations

import numpy as np
import pytest

from zfnet_jax.importers import check
from zfnet_jax.importers.preprocessing import Pixels

LEVELS = np.linspace(10, 245, 8)  # of red, a class each


@pytest.fixture(scope="module")
def photos() -> tuple[np.ndarray, np.ndarray]:
    """[40, 6, 6, 3] uint8 and their classes: as red as the class, as green and blue as chance."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % len(LEVELS)
    images = rng.integers(0, 256, (40, 1, 1, 3)).astype(float)
    images[..., 0] = LEVELS[labels][:, None, None]
    return np.broadcast_to(images, (40, 6, 6, 3)).round().astype(np.uint8), labels


def net_of(truth: Pixels, order: str) -> check.Answer:
    """A net that tells the levels of red apart in images as `truth` makes them, and was imported
    with an order of colours."""
    target = (LEVELS - np.asarray(truth.mean)[0]) / np.broadcast_to(truth.scale, 3)[0]
    target = (target - truth.graph_mean) / truth.graph_scale
    red = 0 if order == truth.order else 2

    def answer(images: np.ndarray) -> np.ndarray:
        assert images.shape[1:] == (4, 4, 3)
        return -np.abs(images[..., red].mean(axis=(1, 2))[:, None] - target)

    return answer


def pixels(order, mean, scale, **graph) -> Pixels:
    return Pixels(order, np.broadcast_to(np.array(mean, float), 3), scale, **graph)


GIVEN = pixels("rgb", 0, 1)


@pytest.mark.parametrize(
    ("truth", "given", "told"),
    [
        (pixels("rgb", 0, 255), GIVEN, "--order=rgb --mean=0 --scale=255"),
        (pixels("rgb", 127.5, 127.5), GIVEN, "--order=rgb --mean=127.5 --scale=127.5"),
        (
            pixels("rgb", *check.IMAGENET),
            GIVEN,
            "--order=rgb --mean=123.675,116.28,103.53 --scale=58.395,57.12,57.375",
        ),
        (GIVEN, pixels("bgr", 0, 1), "--order=rgb --mean=0 --scale=1"),
        (
            pixels("bgr", 90, 40),
            pixels("rgb", 90, 40),
            "--order=bgr --mean=90 --scale=40",
        ),
        (
            pixels("bgr", check.IMAGENET[0], 255),
            GIVEN,
            "--order=bgr --mean=123.675,116.28,103.53 --scale=255",
        ),
        # The graph's own comes after what is tried.
        (
            pixels("rgb", 0, 255, graph_mean=0.4, graph_scale=0.2),
            pixels("rgb", 0, 1, graph_mean=0.4, graph_scale=0.2),
            "--order=rgb --mean=0 --scale=255",
        ),
    ],
    ids=["scale", "mean and scale", "imagenet", "order", "order alone", "all", "graph"],
)
def test_a_wrong_preprocessing_is_noticed_and_the_right_one_told(truth, given, told, photos):
    images, labels = photos
    answer = net_of(truth, given.order)
    right = check.named_right(answer, images, labels, given, 4, given.order)
    assert check.is_near_chance(right, len(labels), len(LEVELS))
    tried = check.likely_mends(answer, images, labels, given, 4)
    assert tried[0] == check.Tried(told, len(labels))
    assert check.Tried(check.flags_of(given), right) in tried
    assert told in check.advice(tried, len(labels), len(LEVELS))


def test_a_right_preprocessing_is_not_near_chance(photos):
    images, labels = photos
    right = check.named_right(net_of(GIVEN, "rgb"), images, labels, GIVEN, 4, "rgb")
    assert right == len(labels)
    assert not check.is_near_chance(right, len(labels), len(LEVELS))


def test_where_nothing_does_better_no_flags_are_told(photos):
    images, labels = photos
    tried = check.likely_mends(lambda x: np.eye(8)[:1].repeat(len(x), 0), images, labels, GIVEN, 4)
    assert len(tried) == len({one.flags for one in tried})
    assert "--order" not in check.advice(tried, len(labels), len(LEVELS))


def test_a_net_of_grey_images_is_given_one_mean_and_no_order(photos):
    images, labels = photos
    given = Pixels("grey", np.zeros(1), 1.0)
    tried = check.likely_mends(lambda x: np.eye(8)[labels[: len(x)]], images, labels, given, 4)
    assert "--mean=33.3184 --scale=78.5655" in {one.flags for one in tried}
    assert not any("--order" in one.flags or "," in one.flags for one in tried)


@pytest.mark.parametrize(
    ("right", "photos", "classes", "near"),
    [(10, 100, 10, True), (20, 100, 10, False), (3, 10, 2, True), (2, 100, 1000, True)],
)
def test_near_chance(right, photos, classes, near):
    assert check.is_near_chance(right, photos, classes) == near
