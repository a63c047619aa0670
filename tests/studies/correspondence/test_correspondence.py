"""Correspondence against double loops, planted examples, and photos and pictures end to end."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from tests import forked
from tests.conftest import copied, run_script
from tests.report.test_paper_figures import check_labels, images_of
from zfnet_jax.data.landmarks import PartPhotos, draw_pictures, read_photos
from zfnet_jax.report import figures
from zfnet_jax.report.table import Number, markdown
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies import paper, saved
from zfnet_jax.studies.correspondence import study
from zfnet_jax.studies.correspondence.figure import figure8
from zfnet_jax.studies.correspondence.measure import measure
from zfnet_jax.studies.correspondence.options import Options
from zfnet_jax.studies.correspondence.permutation import (
    holm,
    mean_over_pairs,
    p_value,
    permute_in_images,
)
from zfnet_jax.studies.correspondence.sign_hamming import ZERO_RULES, compare
from zfnet_jax.studies.correspondence.squares import GREY, cover, mask_side, place_squares
from zfnet_jax.studies.correspondence.table import table1

# Of the small net.
OUTPUTS = {1: "pool1", 2: "pool2", 3: "conv3", 4: "conv4", 5: "pool5", 6: "fc6", 7: "fc7"}
PARTS = ("right_eye", "left_eye", "nose")
OPTIONS = {"mask": 0.2, "draws": 7, "permutations": 199, "seed": 3, "progress": False}


def slow_distance(a: np.ndarray, b: np.ndarray, rule: str) -> float:
    """One sign vector against another, feature by feature."""
    differing = compared = 0
    for x, y in zip(a, b):
        if rule == "left_out" and (x == 0 or y == 0):
            continue
        compared += 1
        if rule == "equal" and (x == 0 or y == 0):
            continue
        differing += x != y
    return differing / compared if compared else np.nan


@pytest.mark.parametrize("rule", ZERO_RULES)
@pytest.mark.parametrize("zeros", [0, 0.5, 0.97])
def test_distances_are_those_of_a_double_loop(rule, zeros):
    rng = np.random.default_rng(0)
    shares = [(1 - zeros) / 2, zeros, (1 - zeros) / 2]
    a, b = (rng.choice(np.array([-1, 0, 1], np.int8), (n, 40), p=shares) for n in (4, 6))
    expected = [[slow_distance(x, y, rule) for y in b] for x in a]
    np.testing.assert_allclose(compare(a, b).distance(rule), expected, rtol=1e-6)
    aligned = compare(a[:, None], b[:4, None]).distance(rule)
    np.testing.assert_allclose(aligned[:, 0, 0], np.diag(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "distances"),
    # Against (1, 1, 0, 0): one opposite sign and one zero in one of them; one sign alone; no sign.
    [("three_valued", [2 / 4, 2 / 4, 2 / 4]), ("left_out", [1 / 1, 0, np.nan])]
    + [("equal", [1 / 4, 0, 0])],
)
def test_what_a_zero_counts(rule, distances):
    signs = np.array([[-1, 0, 0, 0], [1, 0, -1, 0], [0, 0, 0, 0]], np.int8)
    found = compare(np.array([[1, 1, 0, 0]], np.int8), signs).distance(rule)
    np.testing.assert_allclose(found[0], distances)


def test_an_unknown_rule_is_refused():
    signs = np.ones((1, 3), np.int8)
    with pytest.raises(ValueError, match="zero rule must be one of three_valued, left_out, equal"):
        compare(signs, signs).distance("ignored")


@pytest.fixture(scope="module")
def faces() -> PartPhotos:
    return draw_pictures("face", PARTS, 6, 56)


@pytest.mark.parametrize("seed", range(5))
def test_random_squares_stay_in_the_object_and_off_its_parts(faces, seed):
    side = mask_side(0.2, 56)
    corners = place_squares(faces, side, draws=40, seed=seed)
    parts = np.zeros((6, 56, 56), bool)
    for centre, own in zip(faces.parts.values(), corners["part"]):
        assert (abs(own + side / 2 - centre) <= 0.5).all()
        for number, (row, column) in enumerate(own):
            parts[number, row : row + side, column : column + side] = True
    for name in ("random", "same_place"):
        for draw in corners[name]:
            for number, (row, column) in enumerate(draw):
                square = parts[number, row : row + side, column : column + side]
                assert square.shape == (side, side)
                assert not square.any()
                top, left, bottom, right = faces.boxes[number]
                assert top <= row <= bottom - side
                assert left <= column <= right - side
    assert (corners["same_place"] == corners["same_place"][:, :1]).all()
    assert (np.ptp(corners["random"], axis=1) > 0).any()


def test_random_squares_reach_every_free_place():
    photos = hand_made(size=12, box=(0, 0, 12, 8))
    corners = place_squares(photos, 4, draws=2000, seed=0)
    # The part's square covers rows and columns 4 to 7; free are rows 0 and 8, columns 0 to 4,
    # and column 0 of the rows between.
    free = {(row, column) for row in range(9) for column in range(5) if row in (0, 8) or not column}
    for name in ("random", "same_place"):
        assert {tuple(corner) for corner in corners[name].reshape(-1, 2).tolist()} == free


def test_a_part_at_the_edge_has_its_square_moved_inside():
    photos = hand_made(size=12, box=(0, 0, 12, 12), centre=(0.5, 11.5))
    corners = place_squares(photos, 5, draws=1, seed=0)["part"]
    np.testing.assert_array_equal(corners, [[[0, 7], [0, 7]]])


def test_no_room_for_random_squares_is_said():
    with pytest.raises(ValueError, match="photo0 has no room for a square of 5 pixels"):
        place_squares(hand_made(size=12, box=(0, 0, 12, 8)), 5, draws=1, seed=0)
    halves = hand_made(size=12, box=(0, 0, 12, 12))
    halves.boxes[:] = [[0, 0, 3, 12], [9, 0, 12, 12]]
    with pytest.raises(ValueError, match="no place for a square of 3 pixels is free in all"):
        place_squares(halves, 3, draws=1, seed=0)
    for mask in (0, 0.01, 1):
        with pytest.raises(ValueError, match="its side must be from 1 to 11"):
            mask_side(mask, 12)


def hand_made(size: int, box: tuple[int, ...], centre: tuple[float, float] = (6, 6)) -> PartPhotos:
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    part = {"dot": np.array([centre, centre])}
    return PartPhotos(images, ("photo0", "photo1"), np.array([box, box]), part)


def test_a_cover_is_grey_inside_and_nothing_outside():
    images = hand_made(size=12, box=(0, 0, 12, 12)).images
    covered = cover(images, np.array([[1, 2], [9, 0]]), 3)
    changed = np.zeros((2, 12, 12), bool)
    changed[0, 1:4, 2:5] = changed[1, 9:12, 0:3] = True
    assert (covered[changed] == GREY).all()
    np.testing.assert_array_equal(covered[~changed], images[~changed])


PAIRS = np.array([(i, j) for i in range(6) for j in range(i + 1, 6)])


def planted(agreement: float, seed: int, draws: int = 20, features: int = 60) -> np.ndarray:
    """Distances [pairs, 1 + R, 1 + R] of six images' random signs; of the first square, which is
    the part, a share of the features has one pattern in all images."""
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.array([-1, 1], np.int8), (6, 1 + draws, features))
    shared = rng.random((6, features)) < agreement
    signs[:, 0] = np.where(shared, rng.choice([-1, 1], features), signs[:, 0])
    return np.stack([compare(signs[i], signs[j]).distance("three_valued") for i, j in PAIRS])


def test_the_test_in_images_finds_a_planted_correspondence():
    assert permute_in_images(planted(0.6, seed=0), PAIRS, 0, 1, 999, 0) == pytest.approx(2 / 1000)


def test_the_test_in_images_is_exact_where_there_is_none():
    p_values = [permute_in_images(planted(0, seed), PAIRS, 0, 1, 99, seed) for seed in range(300)]
    # Each p-value is at most alpha in a share alpha of all data sets: 30 of 300 at 0.1, with a
    # standard deviation of 5; 150 at 0.5.
    assert 15 <= np.sum(np.array(p_values) <= 0.1) <= 45
    assert 120 <= np.sum(np.array(p_values) <= 0.5) <= 180


def test_many_tests_are_corrected_together():
    # Worked by hand: sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, each at least the one before.
    found = holm(np.array([0.04, 0.01, np.nan, 0.03, 0.02]))
    np.testing.assert_allclose(found, [0.06, 0.04, np.nan, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])).max() == 1
    # With nothing to be found, one or more of ten are below 0.1 in at most a tenth of all sets.
    sets = np.random.default_rng(0).random((2000, 10))
    assert np.mean([holm(one).min() <= 0.1 for one in sets]) < 0.12


def test_the_test_in_images_permutes_what_it_says():
    table = planted(0.3, seed=1, draws=3)[PAIRS.max(axis=1) < 3]
    pairs = PAIRS[PAIRS.max(axis=1) < 3]
    every = [
        np.mean([table[n, taken[i], taken[j]] for n, (i, j) in enumerate(pairs)])
        for taken in np.ndindex(4, 4, 4)
    ]
    observed = every[0]
    exact = 2 * min(np.mean(every <= observed + 1e-9), np.mean(every >= observed - 1e-9))
    found = permute_in_images(table, pairs, 0, 1, 20000, 0)
    assert found == pytest.approx(min(1, exact), abs=0.02)


def test_p_values_by_hand():
    null = np.arange(1, 20.0)  # 19 values
    assert p_value(0, null) == pytest.approx(2 / 20)
    assert p_value(20, null) == pytest.approx(2 / 20)
    assert p_value(1.0, null) == pytest.approx(4 / 20)
    assert p_value(10, null) == 1
    assert p_value(0, np.array([np.nan, 1])) == 1
    assert np.isnan(p_value(np.nan, null))
    assert np.isnan(p_value(1, np.array([np.nan])))
    np.testing.assert_allclose(
        mean_over_pairs(np.array([[1, np.nan, 2], [np.nan] * 3])), [1.5, np.nan]
    )


@pytest.fixture(scope="module")
def run(deep_run) -> Run:
    return open_run(deep_run)


@pytest.fixture(scope="module")
def arrays(run, faces) -> dict[str, np.ndarray]:
    return measure(run, faces, ["conv5", "fc7"], **OPTIONS, batch_size=4)


def test_the_measure_against_plain_loops(run, faces, arrays):
    side = int(arrays["side"])
    assert side == 11

    def features(image: np.ndarray, layer: str) -> np.ndarray:
        inputs = (image.astype(np.float32) - run.mean[4:60, 4:60]) / run.config.augment.scale
        return np.asarray(run.forward(inputs[None])[1][layer][0]).ravel()

    for layer in ("conv5", "fc7"):
        whole = [features(image, layer) for image in faces.images]
        # What this way of forwarding rounds differently is zero.
        tiny = 1e-5 * np.max(whole)
        for name, draw in (("part", 2), ("random", 4), ("same_place", 6)):
            signs = []
            for number, image in enumerate(faces.images):
                row, column = arrays[f"corner/{name}"][draw, number]
                masked = image.copy()
                masked[row : row + side, column : column + side] = 128
                eps = whole[number] - features(masked, layer)
                signs.append(np.where(abs(eps) < tiny, 0, np.sign(eps)))
            share = np.mean(np.array(signs) == 0)
            assert arrays[f"zero/{layer}/{name}"][draw] == pytest.approx(share, abs=2e-3)
            for rule in ZERO_RULES:
                expected = [slow_distance(signs[i], signs[j], rule) for i, j in arrays["pairs"]]
                found = arrays[f"{layer}/{rule}/{name}"][draw]
                np.testing.assert_allclose(found, expected, atol=0.01)


def test_what_a_square_cannot_reach_is_exactly_zero(run, faces):
    found = measure(run, faces, ["conv1"], **OPTIONS, batch_size=4)
    # A unit of conv1 sees 7 x 7 pixels at a stride of 2: a square of 11 is seen by at most 9 x 9.
    units = run.forward(run.inputs(np.zeros((1, 64, 64, 3), np.uint8)))[1]["conv1"].shape[1] ** 2
    for name in ("part", "random", "same_place"):
        assert (found[f"zero/conv1/{name}"] >= 1 - 81 / units).all()


def test_a_repetition_gives_the_same_and_another_seed_does_not(run, faces, arrays):
    again = measure(run, faces, ["fc7", "conv5"], **OPTIONS, batch_size=5)
    for name, array in arrays.items():
        if name == "layers":
            continue
        if array.dtype.kind == "f":  # another batch size may round differently
            np.testing.assert_allclose(again[name], array, atol=0.02, err_msg=name)
        else:
            np.testing.assert_array_equal(again[name], array, err_msg=name)
    exact = measure(run, faces, ["conv5", "fc7"], **OPTIONS, batch_size=4)
    for name, array in arrays.items():
        np.testing.assert_array_equal(exact[name], array, err_msg=name)
    other = measure(run, faces, ["conv5", "fc7"], **(OPTIONS | {"seed": 4}), batch_size=4)
    np.testing.assert_array_equal(other["corner/part"], arrays["corner/part"])
    for name in ("random", "same_place"):
        assert (other[f"corner/{name}"] != arrays[f"corner/{name}"]).any()


def test_parts_that_are_the_same_pixels_correspond_and_random_places_do_not(run, faces):
    """All images are one photo: a part's changes agree entirely, those at own places do not."""
    one = PartPhotos(
        np.repeat(faces.images[:1], 5, axis=0),
        faces.keys[:5],
        np.repeat(faces.boxes[:1], 5, axis=0),
        {name: np.repeat(centres[:1], 5, axis=0) for name, centres in faces.parts.items()},
    )
    found = measure(run, one, ["conv5", "fc7"], **(OPTIONS | {"draws": 20}), batch_size=4)
    for rule in ZERO_RULES:
        assert (found[f"conv5/{rule}/part"] == 0).all()
        assert (found[f"conv5/{rule}/same_place"] == 0).all()
        assert found[f"conv5/{rule}/random"].mean() > 0
        # Five images and 20 draws: the part alone is as low, and the 200 permutations find that.
        np.testing.assert_allclose(found[f"conv5/{rule}/p_random"], 2 / 200, atol=1e-9)
        np.testing.assert_array_equal(found[f"conv5/{rule}/p_same_place"], 1)


def test_what_cannot_be_measured_is_said(run, faces):
    alone = PartPhotos(
        faces.images[:1], faces.keys[:1], faces.boxes[:1], {"nose": faces.parts["nose"][:1]}
    )
    larger = PartPhotos(np.zeros((6, 64, 64, 3), np.uint8), faces.keys, faces.boxes, faces.parts)
    for photos, layers, options, message in (
        (alone, ["fc7"], {}, "at least two images, not 1"),
        (larger, ["fc7"], {}, r"images are \(64, 64\), the net sees \(56, 56\)"),
        (faces, ["fc9"], {}, "no activation 'fc9': the net has conv1"),
        (faces, ["fc7"], {"draws": 0}, "draws and permutations must be positive"),
        (faces, ["fc7"], {"mask": 0.6}, "no room for a square of 34 pixels"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(run, photos, layers, **(OPTIONS | options), batch_size=4)


def test_drawn_faces_fill_their_image_and_have_their_parts(faces):
    assert faces.images.shape == (6, 56, 56, 3)
    assert faces.keys[:2] == ("face/1", "face/3")
    height, width = (faces.boxes[:, 2:] - faces.boxes[:, :2]).T
    assert (np.maximum(height, width) == 56).all()
    for centres in faces.parts.values():
        assert ((centres > faces.boxes[:, :2]) & (centres < faces.boxes[:, 2:])).all()
    # The viewer's left is the face's right, and the nose lies below the eyes' middle.
    right, left, nose = (faces.parts[name] for name in PARTS)
    assert (right[:, 1] < left[:, 1]).all()
    assert (nose[:, 0] > (right[:, 0] + left[:, 0]) / 2).all()
    assert faces.fingerprint == draw_pictures("face", PARTS, 6, 56).fingerprint
    assert faces.fingerprint != draw_pictures("face", PARTS, 5, 56).fingerprint
    with pytest.raises(ValueError, match="picture face/1 has no part 'wing', only hair, head"):
        draw_pictures("face", ["wing"], 2, 56)
    with pytest.raises(ValueError, match="1 photos, but correspondence needs at least two"):
        draw_pictures("face", PARTS, 1, 56)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three noisy photos of 60 x 50 pixels; their faces are the 40 pixels from (10, 5) on."""
    folder = tmp_path / "faces"
    folder.mkdir()
    records = {}
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (50, 60, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        places = {"right_eye": [20, 18], "left_eye": [40, 18], "nose": [30 + number, 30]}
        records[f"{number}.png"] = {"size": [60, 50], "face_box": [10, 5, 40], **places}
    (folder / "landmarks.json").write_text(json.dumps({"images": records}))
    return folder


def test_photos_are_cut_to_their_faces(folder):
    photos = read_photos(folder, PARTS, 40)
    for number, image in enumerate(photos.images):
        whole = np.asarray(Image.open(folder / f"{number}.png"))
        np.testing.assert_array_equal(image, whole[5:45, 10:50])
    np.testing.assert_array_equal(photos.boxes, [[0, 0, 40, 40]] * 3)
    np.testing.assert_allclose(photos.parts["nose"], [[25.5, 20.5], [25.5, 21.5], [25.5, 22.5]])
    half = read_photos(folder, ["nose"], 20)
    np.testing.assert_allclose(half.parts["nose"], photos.parts["nose"] / 2)
    assert list(half.parts) == ["nose"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nose": [60, 30]}, "1.png: nose at x 60.5, y 30.5 lies outside the object's box"),
        ({"nose": [30, 2]}, "nose at x 30.5, y 2.5 lies outside the object's box"),
        (
            {"face_box": [25, 5, 40]},
            r"1.png: face_box \[25, 5, 40\] .* leaves the photo of 60 x 50",
        ),
        ({"face_box": [10, -1, 40]}, "leaves the photo"),
        ({"face_box": [10, 5, 0]}, "leaves the photo"),
        ({"face_box": [10, 5]}, "1.png: face_box must be 3 numbers"),
        ({"nose": None}, "1.png: nose must be 2 numbers, got None"),
        ({"nose": ["a", 1]}, "1.png: nose must be 2 numbers"),
        ({"size": [50, 60]}, r"1.png has size \[50, 60\], but the photo \[60, 50\]"),
    ],
)
def test_wrong_landmarks_are_named(folder, change, message):
    edit(folder, lambda images: images["1.png"].update(change))
    with pytest.raises(ValueError, match=message):
        read_photos(folder, PARTS, 40)


def test_an_incomplete_folder_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="says where the parts of each photo are"):
        read_photos(tmp_path, PARTS, 40)
    with pytest.raises(ValueError, match=r"0\.png has no 'mouth', only size, face_box"):
        read_photos(folder, ["mouth"], 40)
    edit(folder, lambda images: images["2.png"].pop("face_box"))
    with pytest.raises(ValueError, match=r"2\.png has no 'face_box'"):
        read_photos(folder, PARTS, 40)
    edit(folder, lambda images: images.pop("2.png"))
    with pytest.raises(ValueError, match=r"does not mention 2\.png"):
        read_photos(folder, PARTS, 40)
    (folder / "2.png").unlink()
    (folder / "1.png").write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"cannot read the photo .*1\.png"):
        read_photos(folder, PARTS, 40)
    (folder / "1.png").unlink()
    with pytest.raises(ValueError, match=r"cannot read the photo .*1\.png"):
        read_photos(folder, PARTS, 40)
    edit(folder, lambda images: images.pop("1.png"))
    with pytest.raises(ValueError, match="1 photos, but correspondence needs at least two"):
        read_photos(folder, PARTS, 40)
    for text in ("no json", "[]", '{"photos": {}}', '{"images": []}'):
        (folder / "landmarks.json").write_text(text)
        with pytest.raises(ValueError, match=r"landmarks\.json is not"):
            read_photos(folder, PARTS, 40)


def edit(folder: Path, change) -> None:
    path = folder / "landmarks.json"
    record = json.loads(path.read_text())
    change(record["images"])
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("style", ["screen", "paper"])
def test_figure_8_shows_every_square_where_it_is(arrays, style):
    with figures.use(style):
        figure = figure8(arrays, rows=4, draws=2)
        texts = check_labels(figure)
    assert texts == ["original", "right eye", "left eye", "nose", "random", "random, one place"]
    images = images_of(figure)
    assert len(images) == 4 * (1 + 3 + 2 + 2)
    squares = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert len(squares) == 4 * 7
    # The first four images are the originals; then a column for each of the squares' draws.
    corners = [*arrays["corner/part"], *arrays["corner/random"][:2]]
    corners = np.concatenate(
        [column[:4] for column in [*corners, *arrays["corner/same_place"][:2]]]
    )
    for image, square, corner in zip(images[4:], squares, corners):
        left, right, bottom, top = image.get_extent()
        scale = (right - left) / 56
        np.testing.assert_allclose(square.get_x(), left + corner[1] * scale)
        np.testing.assert_allclose(square.get_y(), top + corner[0] * scale)
        assert square.get_width() == pytest.approx(11 * scale)
        assert bottom > top


def test_table_1_has_the_papers_numbers_beside_ours(arrays):
    text = markdown(table1(arrays, OUTPUTS))
    mean, std = arrays["conv5/three_valued/part"][2].mean(), arrays["conv5/equal/random"].std()
    (nose,) = (line for line in text.splitlines() if line.startswith("| Nose | 0.079 ± 0.017 |"))
    assert f"| {mean:.3f} ± " in nose
    (random,) = (line for line in text.splitlines() if line.startswith("| Random | 0.107 ± 0.017"))
    assert f"{arrays['conv5/equal/random'].mean():.3f} ± {std:.3f} |" in random
    p = arrays["fc7/left_out/p_same_place"][0]
    tests = text.split("Layer 7 (fc7)")[1]
    (line,) = (x for x in tests.splitlines() if x.startswith("| Right eye against random, one"))
    assert f"| {p:.2g} |" in line
    pooled = {name.replace("fc7", "pool2"): array for name, array in arrays.items()}
    pooled["layers"] = np.array(["pool2"])
    assert "| Nose | - |" in markdown(table1(pooled, OUTPUTS))  # the paper has no layer 2
    deeper = {**OUTPUTS, 6: "pool6"}  # its conv5 and fc7 are others than the paper's
    assert markdown(table1(arrays, deeper)).count("| Nose | - |") == 2


def test_published_tables_are_whole():
    assert paper.table(1).cell("Nose", "Mean Feature Sign Change Layer 7") == Number(0.069, 0.011)
    assert paper.table(2).cell("1 convnet as per Fig. 3", "Val Top-1") == Number(38.4)
    assert paper.table(2).cell("Gunji et al. 2012", "Val Top-1") is None
    assert paper.table(2).value("1 convnet as per Fig. 3", "Val Top-1") == 38.4
    with pytest.raises(KeyError, match="has nothing in 'Val Top-1'"):
        paper.table(2).value("Gunji et al. 2012", "Val Top-1")
    rows = {1: 4, 2: 13, 3: 12, 4: 4, 5: 4, 6: 21, 7: 8}
    for number, count in rows.items():
        table = paper.table(number)
        assert len(table.rows) == count
        assert {len(cells) for _, cells in table.rows} == {len(table.columns) - 1}
    for row in ("Adjust layers 6,7: 2048 units", "Nobody"):  # twice, never
        with pytest.raises(KeyError):
            paper.table(3).cell(row, "Val Top-1")


@pytest.mark.slow
def test_the_script_measures_faces_and_pictures(tiny_run, folder, tmp_path):
    workdir = copied(tiny_run, tmp_path / "net")
    outputs = {1: "pool1", 5: "pool5", 6: "fc6", 7: "fc7"}
    few = ["--draws=5", "--permutations=99", "--mask=0.2"]
    result = script(f"--workdir={workdir}", "--pictures=face", "--count=4", *few)
    assert result.returncode == 0, result.stderr
    (drawn,) = saved.find(workdir, "correspondence")
    assert drawn.folder.name.startswith("pictures-face-conv5-fc7-")
    assert len(drawn.arrays["images"]) == 4
    assert result.stdout.strip().endswith(markdown(table1(drawn.arrays, outputs)))
    assert study.outputs_of(drawn) == outputs
    asked = {"layers": ["conv5", "fc7"], "draws": 5, "seed": 0, "mask": 0.2, "permutations": 99}
    assert drawn.about["step"] == 12
    assert drawn.about["options"] == asked | {"parts": ",".join(PARTS)}
    assert drawn.about["data"]["fingerprint"] == draw_pictures("face", PARTS, 4, 56).fingerprint
    assert drawn.about["pictures"] == "face"

    given = (f"--workdir={workdir}", f"--faces={folder}", "--layer=pool5", "--parts=nose")
    result = script(*given, *few)
    assert result.returncode == 0, result.stderr
    photos = saved.find(workdir, "correspondence")[-1]
    assert photos.folder.name.startswith("faces-pool5-")
    assert photos.about["data"]["keys"] == ["0.png", "1.png", "2.png"]
    assert photos.arrays["parts"].tolist() == ["nose"]
    # The command of the result finds it, where the folder lies does not count.
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "faces")
    words = shlex.split(photos.about["command"].replace(str(folder), str(moved)))
    result = script(*words[3:])
    assert str(photos.folder) in result.stdout, result.stderr
    assert len(saved.find(workdir, "correspondence")) == 2

    out = tmp_path / "figures"
    run_script("figures", "--figure=8", f"--workdir={workdir}", f"--out={out}")
    run_script("figures", "--figure=8", f"--arrays={photos.folder}", f"--out={out}")
    assert {path.stem for path in out.glob("*.png")} == {
        "figure8",
        f"figure8-{drawn.folder.name}",
        f"figure8-{photos.folder.name}",
    }
    result = script(f"--workdir={workdir}")
    assert result.stderr.splitlines() == ["error: give either --faces=FOLDER or --pictures=CLASS"]
    result = script(f"--workdir={workdir}", "--pictures=unicorn")
    assert result.stderr.startswith("error: no picture class 'unicorn': choose from ['aeroplane', ")


def test_it_is_another_result_where_anything_differs(run, faces, tmp_path, monkeypatch):
    net = dataclasses.replace(run, directory=tmp_path)
    options = Options(pictures="face", count=6, draws=7, permutations=199, seed=3)
    first = study.measured(net, options, faces, batch_size=4, progress=False)
    expected = measure(run, faces, ["conv5", "fc7"], **OPTIONS, batch_size=4)
    for name, array in expected.items():
        np.testing.assert_array_equal(first.arrays[name], array, err_msg=name)
    monkeypatch.setattr(study, "measure", None)
    named = dataclasses.replace(options, layers=("conv5", "fc7"))
    assert study.measured(net, named, faces, progress=False).about == first.about
    moved = dataclasses.replace(faces, boxes=faces.boxes + 1)
    renamed = dataclasses.replace(faces, keys=("another", *faces.keys[1:]))
    others = [(options, moved), (options, renamed)]
    for change in ({"mask": 0.3}, {"draws": 8}, {"permutations": 9}, {"seed": 4}):
        others.append((dataclasses.replace(options, **change), faces))
    others.append((dataclasses.replace(options, layers=("fc7",)), faces))
    for other, images in others:
        with pytest.raises(TypeError, match="NoneType"):  # it would measure
            study.measured(net, other, images, progress=False)


def script(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "scripts.correspondence", *arguments]
    return forked.run(command)


def test_dog_faces(run, photos):
    dogs = read_photos(photos / "dog_faces", PARTS, 56)
    assert len(dogs) == 15
    right, left, nose = (dogs.parts[name] / 56 for name in PARTS)
    # All are alike: a twelfth of the face is the farthest that a part strays sideways.
    for centres, column in ((right, 0.375), (left, 0.625), (nose, 0.5)):
        assert (abs(centres[:, 1] - column) < 1 / 12).all()
    found = measure(run, dogs, ["conv5", "fc7"], **OPTIONS, batch_size=4)
    assert found["conv5/three_valued/part"].shape == (3, 105)
    assert all(
        np.isfinite(found[f"conv5/three_valued/p_{n}"]).all() for n in ("random", "same_place")
    )
