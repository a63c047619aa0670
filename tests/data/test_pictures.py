from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from zfnet_jax.data.pictures import OBJECTS, TRANSFER, draw
from zfnet_jax.data.pictures.canvas import Canvas, Paint, Sketch, box, ellipse, polygon

EVERY = OBJECTS + TRANSFER


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [32, 81])
def test_masks_and_parts(name: str, size: int) -> None:
    for seed in range(6):
        picture = draw(name, seed, size)
        assert picture.image.shape == (size, size, 3)
        assert picture.image.dtype == np.uint8
        assert picture.mask.shape == (size, size)
        assert picture.mask.dtype == bool
        assert 0.03 < picture.mask.mean() < 0.75
        assert len(picture.parts) >= 4
        for x0, y0, x1, y1 in picture.parts.values():
            assert 0 <= x0 < x1 <= size
            assert 0 <= y0 < y1 <= size
            # Thin parts may cover less than half of every pixel of a tiny picture.
            assert picture.mask[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1].any()


@pytest.mark.parametrize("name", EVERY)
def test_same_arguments_same_picture(name: str) -> None:
    first, again, other = draw(name, 3, 48), draw(name, 3, 48), draw(name, 4, 48)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert first.parts == again.parts
    assert np.abs(first.image.astype(int) - other.image).mean() > 5
    assert (first.mask != other.mask).any()


@pytest.mark.parametrize("name", EVERY)
def test_same_composition_at_any_size(name: str) -> None:
    small, large = draw(name, 7, 64), draw(name, 7, 192)
    share = large.mask.reshape(64, 3, 64, 3).mean((1, 3))
    # Pixels on the outline may fall either way; where the large mask is sure, both agree.
    sure = (share < 0.1) | (share > 0.9)
    assert (small.mask == (share > 0.5))[sure].mean() > 0.99
    reduced = large.image.reshape(64, 3, 64, 3, 3).mean((1, 3))
    assert np.abs(reduced - small.image).mean() < 10
    assert small.parts.keys() == large.parts.keys()
    for part, corners in small.parts.items():
        np.testing.assert_allclose(np.array(large.parts[part]) / 3, corners, atol=1.01)


def test_families_are_disjoint() -> None:
    assert len(set(OBJECTS)) == len(OBJECTS) >= 10
    assert len(set(TRANSFER)) == len(TRANSFER) >= 8
    assert not set(OBJECTS) & set(TRANSFER)


def test_faces_name_their_own_sides() -> None:
    for seed in range(40):
        parts = draw("face", seed, 128).parts
        centre = {p: ((x0 + x1) / 2, (y0 + y1) / 2) for p, (x0, y0, x1, y1) in parts.items()}
        (right_x, right_y), (left_x, left_y) = centre["right_eye"], centre["left_eye"]
        assert right_x < centre["nose"][0] + 10
        assert left_x > centre["nose"][0] - 10
        assert right_x < left_x
        assert (right_y + left_y) / 2 < centre["nose"][1] < centre["mouth"][1]


def test_unknown_class_is_named() -> None:
    with pytest.raises(ValueError, match="no picture class 'dragon'"):
        draw("dragon", 0, 64)


def covered(sketch: Sketch) -> tuple[np.ndarray, np.ndarray]:
    canvas = Canvas(64, 4)
    for shape in sketch.shapes:
        canvas.draw(shape, 0.0)
    return canvas.result()


def test_edges_are_smooth_and_areas_right() -> None:
    disc = Sketch()
    disc.fill(ellipse(0.5, 0.5, 0.4, 0.25, 30), Paint((255, 0, 0)))
    colour, cover = covered(disc)
    assert cover.mean() == pytest.approx(np.pi * 0.4 * 0.25, rel=0.03)
    assert ((cover > 0.2) & (cover < 0.8)).sum() > 30
    np.testing.assert_allclose(colour[..., 0], 255 * cover, atol=1)
    assert not colour[..., 1:].any()


def test_strokes_and_rings_have_their_width() -> None:
    line = Sketch()
    line.stroke(polygon((0.2, 0.3), (0.8, 0.7)), 0.1, Paint((9, 9, 9)))
    expected = 0.1 * np.hypot(0.6, 0.4) + np.pi * 0.05**2
    assert covered(line)[1].mean() == pytest.approx(expected, rel=0.05)
    ring = Sketch()
    ring.ring(0.5, 0.5, 0.3, 0.1, Paint((9, 9, 9)))
    cover = covered(ring)[1]
    assert cover.mean() == pytest.approx(2 * np.pi * 0.3 * 0.1, rel=0.05)
    assert cover[32, 32] == 0


def test_textures_lie_where_the_picture_is() -> None:
    tile = np.zeros((96, 96, 3), np.uint8)
    tile[:, 48:] = 200
    square = Sketch()
    square.fill(box(0.25, 0.25, 0.75, 0.75), Paint((0, 0, 0), tile))
    colour, _ = covered(square)
    assert colour[32, 20].max() == 0
    assert colour[32, 44].min() == 200
    assert colour[32, 60].max() == 0


def reduced_pixels(images: np.ndarray) -> np.ndarray:
    blocks = images.reshape(len(images), 16, 2, 16, 2, 3)
    return blocks.mean((2, 4)).reshape(len(images), -1)


def colour_histograms(images: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(images.reshape(len(images), -1, 3) // 64, -1, 0)
    bins = red * 16 + green * 4 + blue
    return np.sqrt([np.bincount(row, minlength=64) for row in bins])


def test_colours_and_raw_pixels_do_not_give_the_class_away() -> None:
    def pictures(seeds: range) -> tuple[np.ndarray, np.ndarray]:
        images = [draw(name, seed, 32).image for name in OBJECTS for seed in seeds]
        return np.stack(images), np.repeat(np.arange(len(OBJECTS)), len(seeds))

    (train, labels), (held_out, truth) = pictures(range(50)), pictures(range(5000, 5020))
    for features in (reduced_pixels, colour_histograms):
        scale = StandardScaler().fit(features(train))
        fit = LogisticRegression(C=1e-3).fit(scale.transform(features(train)), labels)
        assert fit.score(scale.transform(features(held_out)), truth) < 0.33
