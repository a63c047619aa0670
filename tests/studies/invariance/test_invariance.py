"""Transformed photos, distances of features and Fig. 5, against slow loops, Pillow and SciPy."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from ml_collections import ConfigDict
from PIL import Image
from scipy import ndimage

from configs import architectures
from tests.conftest import copied, run_script, start_script
from zfnet_jax import architecture
from zfnet_jax.data.images import Photos, evenly_spread
from zfnet_jax.data.prepared import PreparedSplit
from zfnet_jax.report import figures
from zfnet_jax.report.table import markdown
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.invariance import measure as invariance
from zfnet_jax.studies.invariance import statistics as invariance_statistics
from zfnet_jax.studies.invariance import study, transforms
from zfnet_jax.studies.invariance.figure import figure5, figure5_summary
from zfnet_jax.studies.invariance.intervals import Bootstrap, with_intervals
from zfnet_jax.studies.invariance.measure import measure
from zfnet_jax.studies.invariance.options import (
    Options,
    PhotoOptions,
    SplitOptions,
    paper_ranges,
    sweeps,
)
from zfnet_jax.studies.invariance.table import invariance_tables
from zfnet_jax.studies.photos import class_numbers

SIZES = [(16, 16), (20, 14), (17, 11), (18, 13)]  # of photo and crop
SWEEPS = {
    "vertical": np.array([-9.0, -4, 0, 3]),
    "horizontal": np.array([2.0, -50]),
    "scale": np.array([1, 1.25, 0.5]),
    "rotation": np.array([0.0, 30, 90, 200]),
}


def noise(size: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def outside_of(crop: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(90, 160, (crop, crop, 3)).astype(np.float32)


# As it is used: one program for all amounts.
jitted = jax.jit(transforms.transform, static_argnames=("kind", "crop"))


def transform(photos: np.ndarray, kind: str, amount: float, crop: int) -> np.ndarray:
    return np.asarray(jitted(photos, kind, np.float32(amount), crop, outside_of(crop)))


def cut(photos: np.ndarray, crop: int) -> np.ndarray:
    top = (photos.shape[1] - crop) // 2
    return photos[:, top : top + crop, top : top + crop]


def shifted(photos: np.ndarray, down: int, right: int, crop: int, outside: np.ndarray):
    """Pixel by pixel: where the photo ends, `outside` [crop, crop, C]."""
    size = photos.shape[1]
    top = (size - crop) // 2
    result = np.tile(outside, (len(photos), 1, 1, 1)).astype(np.float32)
    for y in range(crop):
        for x in range(crop):
            row, column = top + y - down, top + x - right
            if 0 <= row < size and 0 <= column < size:
                result[:, y, x] = photos[:, row, column]
    return result


def keys_filter(x: float) -> float:
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0


def turned(photo: np.ndarray, degrees: float, crop: int, outside: np.ndarray) -> np.ndarray:
    """[S, S, C] to [crop, crop, C], every pixel a sum over the whole photo, edges repeated."""
    size = photo.shape[0]
    far = np.pad(photo.astype(np.float64), ((2, 2), (2, 2), (0, 0)), mode="edge")
    places = np.arange(-2, size + 2)
    middle, half = (size - crop) // 2 + (crop - 1) / 2, (crop - 1) / 2
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    result = outside.astype(np.float64).copy()
    for y in range(crop):
        for x in range(crop):
            row = middle + cosine * (y - half) + sine * (x - half)
            column = middle - sine * (y - half) + cosine * (x - half)
            if min(row, column) >= -0.5 and max(row, column) <= size - 0.5:
                rows = np.array([keys_filter(row - place) for place in places])
                columns = np.array([keys_filter(column - place) for place in places])
                pixel = np.einsum("y,x,yxc->c", rows, columns, far)
                result[y, x] = np.clip(pixel, 0, 255)
    return result


@pytest.mark.parametrize(("size", "crop"), SIZES)
@pytest.mark.parametrize("kind", list(transforms.IDENTITY))
def test_no_transformation_changes_nothing(size, crop, kind):
    photos = noise(size)
    found = transform(photos, kind, transforms.IDENTITY[kind], crop)
    np.testing.assert_array_equal(found, cut(photos, crop))


@pytest.mark.parametrize(("size", "crop"), SIZES)
@pytest.mark.parametrize("shift", [-14, -3, 1, 8])
def test_whole_pixels_are_moved_exactly(size, crop, shift):
    photos = noise(size)
    for kind, (down, right) in {"vertical": (shift, 0), "horizontal": (0, shift)}.items():
        expected = shifted(photos, down, right, crop, outside_of(crop))
        np.testing.assert_array_equal(transform(photos, kind, shift, crop), expected)


@pytest.mark.parametrize(("size", "crop"), SIZES)
def test_quarter_turns_are_exact(size, crop):
    photos = noise(size)
    for turns in (-5, 1, 2, 3, 4):
        found = transform(photos, "rotation", 90 * turns, crop)
        expected = np.rot90(cut(photos, crop), turns, axes=(1, 2))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("size", "crop"), SIZES)
@pytest.mark.parametrize("degrees", [1.5, 45, 100, 233, -17])
def test_rotation_is_that_of_a_loop_over_pixels(size, crop, degrees):
    photos = noise(size)
    found = transform(photos, "rotation", degrees, crop)
    for photo, image in zip(photos, found):
        expected = turned(photo, degrees, crop, outside_of(crop))
        np.testing.assert_allclose(image, expected, atol=0.01)


@pytest.mark.parametrize(
    ("kind", "amount"), [("scale", 0.6), ("scale", 1.3), ("scale", 1.8), ("rotation", 25)]
)
def test_smooth_pictures_agree_with_splines(kind, amount):
    """SciPy's third-order splines, where nothing of the outside is in view."""
    photo = noise(64, 1)[0].astype(float)
    photo = np.clip(3 * ndimage.gaussian_filter(photo, (5, 5, 0)) - 255, 0, 255)
    photo = photo.round().astype(np.uint8)
    crop = 30
    half, middle = (crop - 1) / 2, (64 - 1) / 2
    y, x = np.mgrid[:crop, :crop] - half
    angle, zoom = (np.deg2rad(amount), 1) if kind == "rotation" else (0, amount)
    rows = middle + (np.cos(angle) * y + np.sin(angle) * x) / zoom
    columns = middle + (np.cos(angle) * x - np.sin(angle) * y) / zoom
    expected = np.stack(
        [ndimage.map_coordinates(photo[..., c].astype(float), [rows, columns]) for c in range(3)], 2
    )
    found = transform(photo[None], kind, amount, crop)[0]
    assert expected.std() > 10
    np.testing.assert_allclose(found, expected, atol=2.5)


def test_shrinking_is_that_of_pillow_and_leaves_no_aliases():
    photos = noise(40, 1) // 4 + 90  # or Pillow would clip between rows and columns
    small = Image.fromarray(photos[0]).resize((20, 20), Image.Resampling.BICUBIC)
    found = transform(photos, "scale", 0.5, 40)[0]
    np.testing.assert_allclose(found[10:30, 10:30], np.asarray(small), atol=1.01)
    np.testing.assert_array_equal(found[:10], outside_of(40)[:10])
    np.testing.assert_array_equal(found[:, 30:], outside_of(40)[:, 30:])
    stripes = np.zeros((1, 40, 40, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = transform(stripes, "scale", 0.3, 10)[0]
    np.testing.assert_allclose(inner, 127.5, atol=4)


def slow_measure(run: Run, split, sweeps, layers) -> dict[str, np.ndarray]:
    """One photo at a time; shifts by loops, the rest by `transform` of the one photo."""
    size, crop = split.image_size, run.input_size[0]
    top, scale = (size - crop) // 2, run.config.augment.scale
    mean = run.mean[top : top + crop, top : top + crop]

    def look(photo):
        logits, activations = run.forward((photo - mean) / scale)
        odds = np.exp(np.asarray(logits[0], np.float64))
        return {n: np.asarray(activations[n], np.float64) for n in layers}, odds / odds.sum()

    result = {}
    for index, label in enumerate(split.labels):
        photo = split.rows(np.array([index]))
        reference, _ = look(cut(photo, crop))
        for kind, amounts in sweeps.items():
            for place, amount in enumerate(amounts):
                if kind in ("vertical", "horizontal"):
                    down, right = (amount, 0) if kind == "vertical" else (0, amount)
                    view = shifted(photo, int(down), int(right), crop, mean)
                else:
                    view = np.asarray(jitted(photo, kind, np.float32(amount), crop, mean))
                features, probabilities = look(view)
                shape = (len(split.labels), len(amounts))
                for layer in layers:
                    distance = np.sqrt(((features[layer] - reference[layer]) ** 2).sum())
                    norm = np.sqrt((reference[layer] ** 2).sum())
                    for name, value in (("distance", distance), ("relative", distance / norm)):
                        array = result.setdefault(f"{kind}/{name}/{layer}", np.zeros(shape))
                        array[index, place] = value
                    result.setdefault(f"norm/{layer}", np.zeros(shape[0]))[index] = norm
                for name, value in (
                    ("probability", probabilities[label]),
                    ("class", probabilities.argmax()),
                ):
                    result.setdefault(f"{kind}/{name}", np.zeros(shape))[index, place] = value
    return result


def test_distances_and_answers_are_those_of_a_loop_over_photos(run, split):
    layers = ("pool1", "conv5", "fc7")
    few = evenly_spread(split, 4)
    found = measure(run, few, SWEEPS, layers, batch_size=3, progress=False)
    images = Photos(few.rows(np.arange(4)), few.labels)
    expected = slow_measure(
        run, PreparedSplit(images.images, images.labels, (), (), None, ""), SWEEPS, layers
    )
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    for kind in SWEEPS:
        np.testing.assert_array_equal(found[f"{kind}/amount"], SWEEPS[kind].astype(np.float32))
    # A photo left as it is has no distance at all, whatever the transformation.
    for kind, place in {"vertical": 2, "scale": 0, "rotation": 0}.items():
        for layer in layers:
            distances = found[f"{kind}/distance/{layer}"]
            assert (distances[:, place] == 0).all()
            assert (np.delete(distances, place, axis=1) > 0).all()
    np.testing.assert_array_equal(found["probability"], found["vertical/probability"][:, 2])
    np.testing.assert_array_equal(found["class"], found["rotation/class"][:, 0])


# The loop over photos has seen every transformation, in batches of three.
FEW_SWEEPS = {"rotation": np.array([0.0, 20])}


@pytest.fixture(scope="module")
def measured(run, split) -> dict[str, np.ndarray]:
    return measure(run, split, FEW_SWEEPS, ("pool1", "fc7"), batch_size=30, progress=False)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_batch_size_does_not_matter(run, split, measured, batch_size):
    layers = ("pool1", "fc7")
    found = measure(run, split, FEW_SWEEPS, layers, batch_size=batch_size, progress=False)
    assert measured.keys() == found.keys()
    for name in measured:
        compare(found[name], measured[name], name)


def compare(found: np.ndarray, expected: np.ndarray, name: str) -> None:
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=name)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.fixture(scope="module")
def measured_at_once(run, split) -> dict[str, np.ndarray]:
    """On the one device of this process, what the test below asks of several."""
    sweeps = {"scale": np.array([1, 1.25, 1.5])}
    few = evenly_spread(split, 13)
    return measure(run, few, sweeps, ("pool1", "fc7"), batch_size=13, progress=False)


@pytest.mark.slow
def test_two_processes_find_the_same(measured_at_once, tiny_run, tmp_path):
    """For other numbers of devices and processes see tests/test_passes.py."""
    workdir = copied(tiny_run, tmp_path / "run")
    command = ["--vertical=", "--scale=1:1.5:0.25", "--rotation=", "--summary=13"]
    run_script("invariance", f"--workdir={workdir}", *command, processes=2, devices=2)
    (result,) = saved.find(workdir, "invariance")
    np.testing.assert_array_equal(result.arrays["rows"], np.arange(13) * 30 // 13)
    for name, values in measured_at_once.items():
        compare(result.arrays[name], values, name)


@pytest.fixture
def files(split, tmp_path) -> list[str]:
    """Three validation pictures, evenly spread, each in a folder of its class."""
    paths = []
    for index in (0, 10, 20):
        folder = tmp_path / split.class_names[split.labels[index]]
        folder.mkdir(exist_ok=True)
        paths.append(folder / f"{index}.png")
        Image.fromarray(split.rows(np.array([index]))[0]).save(paths[-1])
    return [str(path) for path in paths]


def test_from_photos_to_tables_and_pictures(tiny_run, split, files, tmp_path):
    workdir = copied(tiny_run, tmp_path / "run")
    asked = Options(images=tuple(files), count=3, horizontal="-4:4:2")
    net = open_run(workdir)
    few = study.of_photos(net, asked.of_photos(), progress=False)
    many = study.of_split(net, split, asked.of_split(), prepared_dir=None, progress=False)
    # What is printed of each makes it again; the script takes both at once.
    (of_few, *words), (of_many, *more) = (
        command_words(result.about["command"]) for result in (few, many)
    )
    assert not any("summary" in word for word in words)
    assert not any("image" in word for word in more)
    assert of_few == of_many == "invariance"
    (output,) = run_script("invariance", *dict.fromkeys([*words, *more]))
    assert {one.folder for one in saved.find(workdir, "invariance")} == {few.folder, many.folder}
    assert f"step 12: {few.folder}, 3 images" in output
    assert f"step 12: {many.folder}, 3 images" in output
    assert "| horizontal | 2 of 4 | 50.0% |" in output
    assert "| rotation | 180 |" in output
    chosen, summary = few.arrays, many.arrays
    assert chosen["kinds"].tolist() == ["vertical", "horizontal", "scale", "rotation"]
    np.testing.assert_array_equal(chosen["labels"], split.labels[[0, 10, 20]])
    np.testing.assert_array_equal(summary["rows"], [0, 10, 20])
    np.testing.assert_array_equal(chosen["vertical/amount"], np.arange(-15, 16))
    np.testing.assert_array_equal(chosen["rotation/amount"], np.arange(0, 360, 10))
    # Photos that are also in the split have the same curves there.
    for name in ("vertical/distance/pool1", "scale/relative/fc7", "rotation/probability"):
        np.testing.assert_allclose(chosen[name], summary[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        chosen["scale/photo"][:, 0], cut(split.rows(np.array([0, 10, 20])), 56)
    )
    assert few.about["options"]["images"] == files
    assert few.about["options"]["labels"] == [Path(file).parent.name for file in files]
    assert few.about["options"]["vertical"] == "-15:15:1"
    assert many.about["options"]["horizontal"] == "-4:4:2"
    assert many.about["options"]["count"] == 3
    assert many.about["data"] == {"fingerprint": split.fingerprint}

    for style in ("screen", "paper"):
        with figures.use(style):
            first, second = figure5(chosen), figure5_summary(summary)
            check_axes(first)
            check_axes(second)
    curves = first.axes[1].lines
    assert len(curves) == 3
    for curve, values in zip(curves, chosen["vertical/relative/pool1"]):
        np.testing.assert_array_equal(curve.get_xdata(), np.arange(-15, 16))
        np.testing.assert_array_equal(curve.get_ydata(), values)
    mean, right = second.axes[-1].lines
    np.testing.assert_allclose(mean.get_ydata(), summary["rotation/probability"].mean(axis=0))
    hits = summary["rotation/class"] == summary["labels"][:, None]
    np.testing.assert_allclose(right.get_ydata(), hits.mean(axis=0))
    band = second.axes[0].collections[1].get_paths()[0].vertices
    low, high = np.percentile(summary["vertical/relative/pool1"][:, 4], (25, 75))
    at = band[np.isclose(band[:, 0], summary["vertical/amount"][4]), 1]
    np.testing.assert_allclose([at.min(), at.max()], [low, high], rtol=1e-5)


def command_words(command: str) -> list[str]:
    """The script and its arguments."""
    python, _, script, *arguments = shlex.split(command)
    assert python == "python"
    return [script.removeprefix("scripts."), *arguments]


COARSE = PhotoOptions(vertical="-6:6:6", scale="1.5", rotation="")


@pytest.mark.slow
def test_photos_one_after_the_other_stand_side_by_side(tiny_run, split, files, tmp_path):
    """Nothing replaces another's result, what is there is not measured again, and all are drawn."""
    workdir = copied(tiny_run, tmp_path / "run")
    net = open_run(workdir)
    files = files[:2]
    asked = [dataclasses.replace(COARSE, images=(file,)) for file in files]
    results = [study.of_photos(net, one, progress=False) for one in asked]
    elsewhere = dataclasses.replace(net, directory=tmp_path / "together")
    together = study.of_photos(
        elsewhere, dataclasses.replace(COARSE, images=tuple(files)), progress=False
    )
    assert len({result.folder.name for result in (*results, together)}) == 3
    for number, (result, file) in enumerate(zip(results, files, strict=True)):
        assert saved.load(result.folder).arrays["names"] == "/".join(Path(file).parts[-2:])
        # Each is what a run without the others has, and what it is among them.
        alone = dataclasses.replace(net, directory=tmp_path / f"alone{number}")
        expected = study.of_photos(alone, asked[number], progress=False)
        assert expected.folder.name == result.folder.name
        for name, array in expected.arrays.items():
            np.testing.assert_array_equal(result.arrays[name], array, err_msg=name)
        for name in ("vertical/distance/pool1", "scale/relative/fc7", "vertical/probability"):
            np.testing.assert_allclose(
                result.arrays[name][0], together.arrays[name][number], rtol=1e-4, atol=1e-5
            )
    scale = figure5(results[0].arrays).axes[5:8]  # of one amount, which no line shows
    assert [axis.lines[0].get_marker() for axis in scale] == ["o"] * 3
    many = SplitOptions(count=4, vertical="6", scale="", rotation="")
    summary = study.of_split(net, split, many, prepared_dir=None, progress=False)
    out = tmp_path / "figures"
    damaged = shutil.copytree(results[0].folder, results[0].folder.with_name("damaged-01234567"))
    (damaged / "arrays.npz").write_bytes(b"PK")  # one that cannot be drawn does not stop the others
    (told,) = run_script("figures", "--figure=5", f"--workdir={workdir}", f"--out={out}")
    assert f"left out: {damaged}: {damaged} is damaged" in told
    drawn = {f"figure5-{one.folder.name}" for one in results}
    assert {path.stem for path in out.glob("*.png")} == drawn | {"figure5_summary"}
    run_script("figures", "--figure=5", f"--arrays={results[0].folder}", f"--out={out}")
    assert (out / "figure5.pdf").exists()
    assert summary.folder.name.startswith("4_validation_images-pool1-fc7-")


def test_what_is_measured_is_not_measured_again(run, split, files, tmp_path, monkeypatch):
    net = dataclasses.replace(run, directory=tmp_path)
    one = dataclasses.replace(COARSE, images=(files[0],))
    many = SplitOptions(count=1000, vertical="6", scale="", rotation="")
    first = study.of_photos(net, one, progress=False)
    summary = study.of_split(net, split, many, prepared_dir="elsewhere", progress=False)
    assert "--prepared_dir=elsewhere" in shlex.split(summary.about["command"])
    assert summary.about["options"]["count"] == 30  # all that there are
    monkeypatch.setattr(study, "measure", None)
    # Saying what the folder, the net or the paper says makes no other result.
    said = dataclasses.replace(
        one, labels=(Path(files[0]).parent.name,), layers=("pool1", "fc7"), horizontal=""
    )
    assert study.of_photos(net, said, progress=False).about == first.about
    for count in (1000, 30):
        many = dataclasses.replace(many, count=count)
        again = study.of_split(net, split, many, prepared_dir=None, progress=False)
        assert again.about == summary.about
    for other in ({"vertical": "-6:6:3"}, {"layers": ("conv5",)}, {"labels": ("cat",)}):
        with pytest.raises(TypeError, match="NoneType"):  # it would measure
            study.of_photos(net, dataclasses.replace(one, **other), progress=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1:2", "--scale=1:2: a range is FIRST:LAST:STEP, such as 1:1.8:0.05"),
        ("a", "a range is FIRST:LAST:STEP"),
        ("2:1:0.1", "--scale=2:1:0.1 is empty"),
        ("1:2:0", "STEP be above 0"),
        ("1:2:1e-9", "more than 10000: enlarge STEP"),
    ],
)
def test_a_range_that_is_none_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        sweeps(SplitOptions(scale=text))


def check_axes(figure) -> None:
    """It is drawn; every axis lies on the page with its labels, and panels do not overlap."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert np.asarray(canvas.buffer_rgba())[..., :3].std() > 0.05 * 255
    boxes = [axis.get_tightbbox(canvas.get_renderer()) for axis in figure.axes]
    for number, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        for other in boxes[:number]:
            apart = (
                box.x0 >= other.x1 - 1
                or other.x0 >= box.x1 - 1
                or box.y0 >= other.y1 - 1
                or other.y0 >= box.y1 - 1
            )
            assert apart


def curves(kind: str, amounts: np.ndarray, distances: np.ndarray) -> dict[str, np.ndarray]:
    """What `measure` returns, made up: of one layer, always half sure and right but where moved."""
    moved = transforms.deviation(kind, amounts) > 0
    return {
        "kinds": np.array([kind]),
        "layers": np.array(["fc7"]),
        "labels": np.zeros(len(distances), np.int32),
        "probability": np.full(len(distances), 0.5),
        "class": np.zeros(len(distances), np.int32),
        f"{kind}/amount": amounts,
        f"{kind}/relative/fc7": distances,
        f"{kind}/probability": np.tile(np.where(moved, 0.25, 0.5), (len(distances), 1)),
        f"{kind}/class": np.tile(moved.astype(np.int32), (len(distances), 1)),
    }


def test_statistics_tell_a_straight_line_from_a_jump():
    amounts = np.arange(-60, 61, 5.0)
    straight = np.abs(amounts) / 50
    leap = np.where(amounts == 0, 0, 1 - 0.2 * np.exp(-np.abs(amounts) / 10))
    for distances, jump, linear, late in (
        (straight, 1 / 12, 1.0, 1.0),
        (leap, 0.882, None, 0.0),
    ):
        one = np.stack([distances, 3 * distances, 0.1 * distances])
        (found,) = invariance_statistics.statistics(curves("vertical", amounts, one))
        assert (found["step"], found["last"]) == (5, 60)
        assert found["proportional"] == pytest.approx(1 / 12)
        assert found["jump"]["fc7"] == pytest.approx(jump, abs=0.01)
        assert found["late_rise"]["fc7"] == pytest.approx(late, abs=0.02)
        if linear:
            assert found["linearity"]["fc7"] == pytest.approx(linear)
        else:
            assert found["linearity"]["fc7"] < 0.75
    points = found["points"]
    assert [point["deviation"] for point in points] == [0, 30, 60]
    assert [point["probability"] for point in points] == [0.5, 0.25, 0.25]
    assert [point["top1"] for point in points] == [1, 0, 0]
    assert points[1]["distance"]["fc7"] == pytest.approx(one[:, 6].mean())


def test_statistics_of_turns_look_at_both_sides():
    amounts = np.arange(0, 360, 10.0)
    distances = np.sin(np.deg2rad(amounts / 2))[None] ** 2
    (found,) = invariance_statistics.statistics(curves("rotation", amounts, distances))
    assert (found["step"], found["last"]) == (10, 180)
    assert [point["deviation"] for point in found["points"]] == [0, 45, 90, 135, 180]
    # 45 degrees lie between 40 and 50.
    between = (np.sin(np.deg2rad([20, 25])) ** 2).mean()
    assert found["points"][1]["distance"]["fc7"] == pytest.approx(between)
    (short,) = invariance_statistics.statistics(
        curves("rotation", amounts[:5], np.zeros((2, 5), np.float32))
    )
    assert [point["deviation"] for point in short["points"]] == [0, 20, 40]
    assert short["jump"] == short["linearity"] == short["late_rise"] == {"fc7": None}
    (none,) = invariance_statistics.statistics(curves("scale", np.ones(1), np.zeros((1, 1))))
    assert [point["deviation"] for point in none["points"]] == [0]
    text = markdown(invariance_tables([found, short, none], level=0.95))
    assert "| rotation | 10 of 40 | 25.0% | - | - | - |" in text
    assert text.count("| none |") == 1


def test_intervals_are_those_of_photos_drawn_anew():
    rng = np.random.default_rng(0)
    amounts = np.arange(-60, 61, 5.0)
    slopes = rng.lognormal(0, 0.5, (200, 1))
    arrays = curves("vertical", amounts, slopes * np.abs(amounts) ** rng.uniform(0.3, 1, (200, 1)))
    # A few amounts are kept as photos, too; fewer than there are photos.
    arrays |= {
        "vertical/shown": amounts[:5],
        "vertical/photo": np.zeros((200, 5, 1, 1, 3), np.uint8),
    }
    options = Bootstrap(level=0.9, resamples=200)
    (found,) = with_intervals(arrays, options)
    (plain,) = invariance_statistics.statistics(arrays)
    jumps = invariance_statistics.jump(np.abs(amounts), arrays["vertical/relative/fc7"])
    drawn = np.median(rng.choice(jumps, (4000, 200)), axis=1)
    low, high = np.quantile(drawn, [0.05, 0.95])
    jump = found["jump"]["fc7"]
    assert jump.value == plain["jump"]["fc7"]
    assert (jump.low, jump.high) == pytest.approx((low, high), abs=0.2 * (high - low))
    # What photos do not decide stays as it is.
    assert (found["step"], found["kind"]) == (5, "vertical")
    assert found["points"][1]["probability"] == 0.25
    assert with_intervals(arrays, options) == [found]
    text = markdown(invariance_tables([found], level=options.level))
    assert f"{jump.value:.1%} [{jump.low:.1%}, {jump.high:.1%}]" in text
    assert "90% intervals over photos" in text


def test_a_layer_counts_with_its_output():
    nets = {name: architecture.from_config(net, 10) for name, net in every_net().items()}
    paper = ("norm1", "norm2", "conv3", "conv4", "pool5", "fc6", "fc7")
    assert nets["paper"].outputs == dict(enumerate(paper, start=1))
    assert invariance.first_and_last(nets["paper"]) == ("norm1", "fc7")
    assert nets["alexnet"].outputs[1] == "pool1"  # normalised before it is pooled
    assert invariance.first_and_last(nets["small"]) == ("pool1", "fc7")


def every_net() -> dict[str, ConfigDict]:
    return {
        "paper": architectures.zfnet(),
        "alexnet": architectures.alexnet(),
        "small": architectures.small(),
    }


def paper_sweeps(crop: int) -> dict[str, np.ndarray]:
    return sweeps(SplitOptions(**paper_ranges(crop)))


def test_the_papers_ranges():
    found = paper_sweeps(224)
    assert list(found) == ["vertical", "scale", "rotation"]
    np.testing.assert_array_equal(found["vertical"], np.arange(-60, 61, 5))
    scales = np.linspace(1, 1.8, 17, dtype=np.float32)
    np.testing.assert_array_equal(found["scale"].astype(np.float32), scales)
    np.testing.assert_array_equal(found["rotation"], np.arange(0, 351, 10))
    np.testing.assert_array_equal(paper_sweeps(112)["vertical"], np.arange(-30, 31, 2))
    np.testing.assert_array_equal(paper_sweeps(200)["vertical"], np.arange(-52, 53, 4))


def test_images_that_are_chosen_lie_evenly(split):
    assert np.bincount(evenly_spread(split, 10).labels).tolist() == [1] * 10
    np.testing.assert_array_equal(evenly_spread(split, 99).chosen, np.arange(30))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": np.array([10])}, "there is no class 10: the net tells 10 apart"),
        ({"images": np.zeros((0, 64, 64, 3), np.uint8), "labels": np.zeros(0, int)}, "one image"),
        ({"sweeps": {}}, "at least one transformation"),
        ({"sweeps": {"rotation": np.array([])}}, "rotation: the range is empty"),
        ({"sweeps": {"scale": np.array([1, 0, -2.5])}}, "scale: 0, -2.5 leaves nothing to see"),
        ({"sweeps": {"scale": np.array([1e-3])}}, "choose factors from 0.015625 to 56"),
        ({"sweeps": {"vertical": np.array([60.0])}}, "choose shifts from -59 to 59"),
        ({"sweeps": {"rotation": np.array([np.inf])}}, "amounts must be finite, got inf"),
        ({"layers": ("norm1",)}, "no activation 'norm1': the net has conv1, conv5"),
    ],
)
def test_what_cannot_be_measured_says_so(run, changed, message):
    given = {
        "images": noise(64, 1),
        "labels": np.array([0]),
        "sweeps": {"vertical": np.array([1.0])},
        "layers": ("fc7",),
    } | changed
    photos = Photos(given["images"], given["labels"])
    with pytest.raises(ValueError, match=message):
        measure(run, photos, given["sweeps"], given["layers"], batch_size=1, progress=False)


def test_photos_need_a_class_that_exists(run, tmp_path):
    def numbers(*labels: str, count: int = 2) -> list[int]:
        return class_numbers(run, paths[:count], labels).tolist()

    paths = [tmp_path / run.class_names[3] / "a.png", tmp_path / "b.png"]
    assert [run.class_names[number] for number in numbers("car", "cat")] == ["car", "cat"]
    assert numbers(count=1) == [3]
    with pytest.raises(ValueError, match="2 photos but 1 classes"):
        numbers("car")
    with pytest.raises(ValueError, match=r"a\.png: there is no class 'unicorn', only face, cat"):
        numbers("unicorn", "car")
    with pytest.raises(ValueError, match=r"b\.png: there is no class .* \(the name of its folder"):
        numbers()
    with pytest.raises(ValueError, match="at least one image"):
        study.of_photos(run, PhotoOptions(), progress=False)


def test_the_script_ends_with_one_line(tiny_run, tmp_path):
    workdir = copied(tiny_run, tmp_path / "run")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    cases = {
        (): "give --image or --summary",
        (f"--image={broken}", "--label=face"): f"cannot read the photo {broken}: not a JPEG",
        ("--summary=1", "--scale=-1:2:0.5"): "scale: -1, -0.5, 0 leaves nothing to see",
        ("--summary=1", "--scale=2:1:0.1"): "--scale=2:1:0.1 is empty",
        ("--summary=1", "--vertical=up"): "a range is FIRST:LAST:STEP",
        ("--summary=1", "--rotation=0:350:1e-9"): "more than 10000: enlarge STEP",
    }
    for arguments, message in cases.items():
        process = start_script("invariance", f"--workdir={workdir}", *arguments)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 2
        assert errors.startswith("error: ")
        assert len(errors.splitlines()) == 1
        assert message in errors
    assert saved.find(workdir, "invariance") == []
    process = start_script("figures", "--figure=5", f"--workdir={workdir}", f"--out={tmp_path}")
    _, errors = process.communicate(timeout=300)
    assert "nothing is measured in" in errors
    assert "run python -m scripts.invariance --workdir=" in errors
