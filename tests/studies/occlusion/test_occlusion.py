"""Occlusion against one covered photo at a time through the net; fast against plain."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from scipy import special

from tests import slow_reference as slow
from tests.conftest import copied, run_script
from tests.mined_folder import write_mined
from tests.report.test_paper_figures import check_labels
from zfnet_jax import geometry
from zfnet_jax.data.pictures import draw
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.report import figures
from zfnet_jax.runs import run
from zfnet_jax.studies import options, saved
from zfnet_jax.studies.features.winners import load
from zfnet_jax.studies.occlusion import study as occlusion_study
from zfnet_jax.studies.occlusion.figure import cell_edges, covered, figure7
from zfnet_jax.studies.occlusion.masks import against_masks, object_shares, pictures_and_masks
from zfnet_jax.studies.occlusion.measure import occlude
from zfnet_jax.studies.occlusion.options import Options
from zfnet_jax.studies.occlusion.plan import Grid
from zfnet_jax.studies.occlusion.recompute import Squares, occluded, unoccluded

OPTIONS = {
    "square": 14,
    "stride": 13,
    "layer": "conv5",
    "fill": "grey",
    "seed": 0,
    "batch_size": 16,
    "progress": False,
}


@pytest.fixture(scope="module")
def tiny(tiny_run) -> run.Run:
    return run.open_run(tiny_run)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.stack([draw(name, 3, 64).image for name in ("face", "car", "cat")])


@pytest.fixture(scope="module")
def found(tiny, photos) -> dict[str, np.ndarray]:
    return occlude(tiny, photos, None, **OPTIONS)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        if array.dtype == np.float32:
            close(found[name], array)
        else:
            np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.fixture(scope="module")
def answers(tiny):
    """Logits and activations of one photo, each computed once."""

    @functools.cache
    def computed(pixels: bytes):
        logits, activations = tiny.forward(
            tiny.inputs(np.frombuffer(pixels, np.uint8).reshape(1, 64, 64, 3))
        )
        return jax.device_get((logits, activations))

    return lambda photo: computed(photo.tobytes())


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv5"])
def test_every_square_is_one_covered_photo_through_the_net(tiny, photos, answers, layer):
    labels = np.array([4, 0, 9])
    found = occlude(tiny, photos, labels, **OPTIONS | {"layer": layer})
    assert found["rows"].tolist() == found["columns"].tolist() == [0, 13, 26, 39, 42]
    for n, photo in enumerate(photos):
        logits, activations = answers(photo)
        maps = activations[layer][0]
        number = maps.max(axis=(0, 1)).argmax()
        assert found["map"][n] == number
        assert maps[(*found["position"][n], number)] == maps.max()
        close(found["whole_activity"][n], maps[:, :, number].sum())
        assert found["whole_class"][n] == np.argmax(logits)
        squares = itertools.product(enumerate(found["rows"]), enumerate(found["columns"]))
        for (i, top), (j, left) in squares:
            covered = photo.copy()
            covered[4 + top : 18 + top, 4 + left : 18 + left] = 128
            logits, activations = answers(covered)
            probabilities = special.softmax(logits[0])
            activity = activations[layer][0, :, :, number].sum()
            np.testing.assert_allclose(
                found["activity"][n, i, j], activity, atol=1e-5 * found["whole_activity"][n]
            )
            np.testing.assert_allclose(
                found["probability"][n, i, j], probabilities[labels[n]], atol=1e-5
            )
            assert found["class"][n, i, j] == probabilities.argmax()


def test_without_a_class_it_is_the_most_probable_one(found):
    np.testing.assert_array_equal(found["label"], found["whole_class"])
    assert (found["whole_probability"] >= 0.1).all()


@pytest.mark.parametrize("fill", ["grey", "mean", "blur", "noise"])
def test_both_forms_agree_for_every_fill(tiny, photos, fill):
    options = OPTIONS | {"fill": fill}
    fast, plain = (occlude(tiny, photos, None, **options, form=f) for f in ("fast", "plain"))
    same(fast, plain)
    assert np.ptp(fast["probability"]) > 0


def test_fills_are_what_they_say(tiny, photos):
    fills = {
        fill: occlude(tiny, photos, None, **OPTIONS | {"fill": fill})["fill"]
        for fill in ("grey", "mean", "blur", "noise")
    }
    seen = photos[:, 4:60, 4:60]
    assert (fills["grey"] == 128).all()
    np.testing.assert_array_equal(fills["mean"][0], tiny.mean[4:60, 4:60].round())
    assert fills["blur"].std() < seen.std()
    np.testing.assert_allclose(fills["blur"].mean(), seen.mean(), atol=4)
    assert (fills["noise"][0] != fills["noise"][1]).any()
    among_others = photos[[0, 2, 1]]
    again = occlude(tiny, among_others, None, **OPTIONS | {"fill": "noise"})
    np.testing.assert_array_equal(again["fill"][0], fills["noise"][0])
    other = occlude(tiny, among_others, None, **OPTIONS | {"fill": "noise", "seed": 1})
    assert (other["fill"][0] != fills["noise"][0]).any()


@pytest.mark.parametrize(("batch_size", "form"), [(1, "fast"), (7, "plain"), (200, "fast")])
def test_chunks_do_not_matter(tiny, photos, found, batch_size, form):
    same(occlude(tiny, photos, None, **OPTIONS | {"batch_size": batch_size}, form=form), found)


def test_groups_of_photos_do_not_matter(tiny, photos, found, monkeypatch):
    monkeypatch.setattr("zfnet_jax.studies.occlusion.measure._PHOTOS", 2)
    same(occlude(tiny, photos, None, **OPTIONS), found)


def test_a_square_as_large_as_the_photo_leaves_nothing_of_it(tiny, photos):
    found = occlude(tiny, photos, np.zeros(3, int), **OPTIONS | {"square": 56})
    assert found["probability"].shape == (3, 1, 1)
    assert np.ptp(found["probability"]) < 1e-6


NETS = slow.narrow_nets()
# Table 3 also has nets of every number of dense layers.
DENSE = {
    "zfnet": (5, 5),
    "alexnet_grouped": (5,),
    "alexnet_without_3_4": (),
    "zfnet_padded": (),
}
# Whose activity is summed.
LAYERS = {
    "zfnet": "pool1",
    "zfnet_padded": "conv2",
    "zf_within_map": "pool2",
    "alexnet_grouped": "conv1",  # and alexnet but for the groups, which those beside it lack
    "alexnet_without_3_4": "conv5",
    "small": "conv1",
}


@pytest.mark.parametrize("name", LAYERS)
def test_recomputing_windows_is_exact(name):
    """On a wide photo, with squares at all edges, one of them in two photos."""
    net = dataclasses.replace(NETS[name], dense=DENSE.get(name, (5,)))
    layer, size, square = LAYERS[name], (131, 100), 21
    exact = slow.exact_model(net)
    params = slow.random_params(exact, (1, *size, 3))
    rng = np.random.default_rng(1)
    inputs, fill = rng.normal(scale=50, size=(2, 2, *size, 3)).astype(np.float32)
    grid = Grid(size, (0, 1, 8, 57, 110), (0, 31, 78, 79), square)
    places = np.stack(np.mgrid[:2, :5, :4]).reshape(3, -1)[:, 3:]
    number = np.array([1, 3])

    photos = unoccluded(exact, params, inputs, fill, grid, layer, number)
    logits, activity = occluded(exact, params, photos, grid, layer, Squares(*places))
    covered = inputs[places[0]]
    for one, photo, row, column in zip(covered, *places, strict=True):
        window = np.s_[grid.rows[row] :, grid.columns[column] :]
        one[window][:square, :square] = fill[photo][window][:square, :square]
    both = np.concatenate([covered, inputs])
    answers, activations = slow.answers(exact, params, both)
    expected, whole = np.split(np.asarray(answers), [len(covered)])
    maps = np.asarray(activations[layer])[: len(covered)]
    sums = maps[np.arange(len(maps)), :, :, number[places[0]]].sum(axis=(1, 2))
    close(logits, expected)
    close(activity, sums)
    close(photos.logits, whole)
    assert np.abs(expected - whole[places[0]]).max() > 1e-3


@pytest.mark.parametrize("name", ["zfnet", "zfnet_padded", "alexnet", "small"])
@pytest.mark.parametrize("square", [1, 2, 20])
def test_only_the_units_in_the_span_change(name, square):
    """A stripe is turned on in an image: with filters of ones, the units that see it fire."""
    net, size = NETS[name], 97
    starts = geometry.square_starts(size, square, 6)
    images = np.zeros((len(starts), size, 64, 1), np.float32)
    for image, start in zip(images, starts):
        image[start : start + square] = 1
    random = slow.random_params(slow.exact_model(net), images.shape)
    params = jax.tree.map(np.zeros_like, random)
    for conv in net.convs:
        params[conv.name]["kernel"] += 1
    activations = slow.forward(net, params, images)
    spans = geometry.changed(net, square, starts)
    assert spans["image"] == geometry.Span(square, starts)
    for layer in net.map_layers:
        fires = np.asarray(activations[layer]).max(axis=(2, 3)) > 0
        lengths = []
        for start, unit in zip(spans[layer].starts, fires):
            changed = np.flatnonzero(unit)
            if len(changed):
                assert start <= changed[0], layer
                assert changed[-1] < start + spans[layer].size, layer
                if start >= 0:
                    assert start == changed[0], layer
                lengths.append(changed[-1] - start + 1)
        assert max(lengths) <= spans[layer].size
        if spans[layer].size < fires.shape[1] // 2:
            assert max(lengths) == spans[layer].size, layer  # no unit too many


def test_squares_cover_every_pixel():
    assert geometry.square_starts(224, 48, 8) == tuple(range(0, 177, 8))
    assert geometry.square_starts(20, 6, 4) == (0, 4, 8, 12, 14)
    assert geometry.square_starts(6, 6, 4) == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"square": 57}, "a square of 57 pixels is larger than the 56 that the net sees"),
        ({"square": 0}, "at least 1 pixel, got 0"),
        ({"stride": 0}, "at least 1 pixel, got 14 and 0"),
        ({"layer": "conv9"}, "no layer 'conv9': the net has conv1"),
        ({"fill": "black"}, "fill must be one of grey, mean, blur, noise"),
    ],
)
def test_mistakes_are_named(tiny, photos, options, message):
    with pytest.raises(ValueError, match=message):
        occlude(tiny, photos, None, **OPTIONS | options)


def test_classes_and_photos_that_are_not_there(tiny, photos):
    with pytest.raises(ValueError, match="classes are 0 to 9"):
        occlude(tiny, photos, np.array([0, 1, 10]), **OPTIONS)
    with pytest.raises(ValueError, match="at least one photo"):
        occlude(tiny, photos[:0], None, **OPTIONS)


def test_weights_that_are_no_numbers_stop_it(tiny, photos):
    params = jax.tree.map(np.array, tiny.params)
    params["fc6"]["bias"][:] = np.nan
    with pytest.raises(FloatingPointError, match="probability is not finite"):
        occlude(dataclasses.replace(tiny, params=params), photos, None, **OPTIONS)


@pytest.fixture
def files(tmp_path, photos) -> list[str]:
    """The photos as files whose centre squares at 64 pixels they are."""
    paths = [tmp_path / f"{name}.png" for name in ("face", "car", "cat")]
    for path, photo in zip(paths, photos, strict=True):
        Image.fromarray(photo).save(path)
    return [str(path) for path in paths]


@pytest.mark.slow
def test_eight_devices_leave_the_same_arrays_and_a_figure(tiny_run, found, files, tmp_path):
    workdir = copied(tiny_run, tmp_path / "run")
    (output,) = run_script(
        "occlusion",
        f"--workdir={workdir}",
        "--square=14",
        "--stride=13",
        *(f"--image={file}" for file in files),
        devices=8,
    )
    assert "projections from other images are left out: nothing is mined on validation" in output
    (result,) = saved.find(workdir, "occlusion")
    assert f"step 12: {result.folder}" in output
    for kind in (".png", ".pdf"):
        assert (result.folder / f"figure7{kind}").stat().st_size > 10_000
    assert result.about["step"] == 12
    assert result.about["options"]["square"] == 14
    assert result.about["options"]["images"] == files
    arrays = result.arrays
    same({name: arrays[name] for name in found}, found)
    names = [name.split("/")[1] for name in arrays["names"]]
    assert names == ["face.png", "car.png", "cat.png"]
    projection, window = arrays["projection"], arrays["window"]
    assert np.abs(projection).max() > 0
    for pixels, (top, left, bottom, right) in zip(projection, window, strict=True):
        outside = pixels.copy()
        outside[max(top, 0) : bottom, max(left, 0) : right] = 0
        assert not outside.any()


def test_photos_one_after_the_other_stand_side_by_side(tiny_run, files, tmp_path):
    """Nothing replaces another's result, what is there is not measured again, and all are drawn."""
    workdir = copied(tiny_run, tmp_path / "run")
    net = run.open_run(workdir)
    coarse = Options(square=20, stride=22)
    asked = [dataclasses.replace(coarse, images=(file,)) for file in files[:2]]
    results = [occlusion_study.measured(net, one, progress=False) for one in asked]
    assert len({result.folder for result in results}) == 2
    before = {result.folder: result.about for result in results}
    again = occlusion_study.measured(net, asked[0], progress=False)
    assert again.about == before[again.folder]
    blurred = occlusion_study.measured(
        net, dataclasses.replace(asked[0], fill="blur"), progress=False
    )
    assert blurred.folder not in before
    plain = occlusion_study.measured(net, dataclasses.replace(asked[0], plain=True), progress=False)
    assert plain.folder not in before
    assert "--plain" in plain.about["command"]
    same(plain.arrays, again.arrays)
    for result, file in zip(results, files):
        assert saved.load(result.folder).arrays["names"] == options.short_name(file)
    shutil.rmtree(plain.folder)  # of three figures it is seen that all are drawn
    # Of an earlier checkpoint, though measured later.
    earlier = shutil.copytree(again.folder, again.folder.with_name("earlier-01234567"))
    about = json.dumps(again.about | {"step": 4, "finished": "2999"})
    (earlier / "about.json").write_text(about)
    out = tmp_path / "figures"
    (told,) = run_script("figures", "--figure=7", f"--workdir={workdir}", f"--out={out}")
    assert "projections from other images are left out: " in told
    shutil.rmtree(earlier)
    drawn = {path.stem for path in out.glob("*.png")}
    assert drawn == {f"figure7-{one.folder.name}" for one in saved.find(workdir, "occlusion")}
    assert len(drawn) == 3


def test_what_comes_to_the_same_is_one_result(tiny, files):
    """A class said once for all photos; a seed where no noise is drawn."""
    once, each = (
        occlusion_study.resolved(tiny, Options(tuple(files), labels))
        for labels in (("cat",), ("cat",) * 3)
    )
    assert once == each
    seeds = [occlusion_study.resolved(tiny, Options(seed=seed)) for seed in (0, 7)]
    assert seeds[0] == seeds[1]
    noise = [occlusion_study.resolved(tiny, Options(fill="noise", seed=seed)) for seed in (0, 7)]
    assert noise[0] != noise[1]


def test_photos_and_classes_by_name(tiny, files, tmp_path):
    def measure(images, labels=()):
        occlusion_study.measured(tiny, Options(tuple(images), tuple(labels)), progress=False)

    with pytest.raises(ValueError, match="there is no class 'dog', only face, cat, fish"):
        measure(files, ["dog"])
    with pytest.raises(ValueError, match="3 photos but 2 classes"):
        measure(files, ["cat", "car"])
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    for name, message in (("broken.jpg", "not a JPEG"), ("none.jpg", "No such file")):
        with pytest.raises(ValueError, match=rf"cannot read the photo .*{name}: .*{message}"):
            measure([str(tmp_path / name)])
    assert occlusion_study.class_numbers(tiny, ["cat"], 3).tolist() == [1, 1, 1]
    assert occlusion_study.class_numbers(tiny, ["car", "face"], 2).tolist() == [6, 0]


@pytest.mark.parametrize("style", ["screen", "paper"])
def test_figure7_shows_the_arrays(tmp_path, style):
    """Two rows of positions, three columns; map 1 has winners in other photos, map 2 has none."""
    rng = np.random.default_rng(0)
    keys = np.arange(8 * 9).reshape(8, 9)
    keys[2] = -1
    mined = load(write_mined(tmp_path / "validation-4", images={"conv1": keys}))
    arrays = {
        "photo": rng.integers(0, 256, (2, 64, 64, 3), np.uint8),
        "fill": np.full((2, 64, 64, 3), 128, np.uint8),
        "rows": np.array([0, 44]),
        "columns": np.array([0, 30, 44]),
        "square": np.array(20),
        "activity": np.arange(12.0).reshape(2, 2, 3),
        "probability": np.linspace(1, 0, 12).reshape(2, 2, 3),
        "class": np.array([[[0, 0, 1], [2, 3, 4]], [[0, 0, 0], [0, 0, 0]]]),
        "whole_activity": np.array([12.0, 13.0]),
        "whole_probability": np.array([0.5, 1.0]),
        "map": np.array([1, 2]),
        "label": np.array([0, 1]),
        "layer": np.array("conv1"),
        "class_names": np.array([f"a long name of class {n}" for n in range(10)]),
        "names": np.array(["a/one with a long name.jpg", "b/two.jpg"]),
        "projection": rng.normal(size=(2, 64, 64, 3)).astype(np.float32),
        "window": np.array([[-1, -1, 6, 6], [10, 20, 17, 27]]),
    }
    with figures.use(style):
        figure = figure7(arrays, mined)
        texts = check_labels(figure)
        without = check_labels(figure7(arrays, None))
    assert texts.count("in other photos") == 1
    assert "in other photos" not in without
    assert {"map 1 of conv1", "map 2 of conv1", "50.0% uncovered", "12 uncovered"} <= set(texts)
    meshes = [m for m in figure.axes[0].collections if hasattr(m, "get_coordinates")]
    values = [np.asarray(mesh.get_array()).reshape(2, 3) for mesh in meshes]
    for n in range(2):
        np.testing.assert_array_equal(values[3 * n], arrays["activity"][n])
        np.testing.assert_array_equal(values[3 * n + 1], arrays["probability"][n])
    np.testing.assert_array_equal(values[2], [[0, 0, 1], [2, 3, 4]])
    # The square is where the probability is lowest: the last row and column.
    shown = covered(arrays, 0)
    assert (shown[44:, 44:] == 128).all()
    np.testing.assert_array_equal(shown[:44], arrays["photo"][0][:44])
    np.testing.assert_allclose(cell_edges(arrays["columns"], 20), [-5, 25, 47, 61])


def test_masks_are_those_of_the_pictures(prepared_pictures):
    split = open_prepared(prepared_pictures, "validation")
    photos, masks = pictures_and_masks(split, np.array([0, 13]))
    np.testing.assert_array_equal(photos, split.rows(np.array([0, 13])))
    assert masks.shape == (2, 64, 64)
    assert 0.05 < masks.mean() < 0.8
    shares = object_shares(masks, np.array([0, 7]), np.array([3, 50, 54]), 10)
    for n, i, j in np.ndindex(2, 2, 3):
        top, left = (0, 7)[i], (3, 50, 54)[j]
        assert shares[n, i, j] == pytest.approx(masks[n, top : top + 10, left : left + 10].mean())


def test_drops_are_told_apart_by_the_mask():
    """The left half is object: covering it costs 0.4 in the first photo, nothing in the second."""
    masks = np.zeros((2, 8, 8), bool)
    masks[:, :, :4] = True
    probability = np.full((2, 2, 2), 0.9, np.float32)
    probability[0, :, 0], probability[1, :, 1] = 0.5, 0.7
    activity = np.ones((2, 2, 2), np.float32)
    activity[0, 1, 0] = activity[1, 0, 1] = 0
    found = {
        "rows": np.array([0, 4]),
        "columns": np.array([0, 4]),
        "square": np.array(4),
        "probability": probability,
        "whole_probability": np.array([0.9, 0.9], np.float32),
        "activity": activity,
    }
    numbers = against_masks(found, masks)
    assert numbers.pop("images") == numbers.pop("compared") == 2
    assert {name: value for name, (value, _, _) in numbers.items()} == pytest.approx(
        {
            "drop_covered": 0.2,
            "drop_missed": 0.1,
            "share_larger": 0.5,
            "strongest_on_object": 0.5,
            "by_chance": 0.5,
            "object_share_at_strongest": 0.5,
            "object_share": 0.5,
        }
    )


def test_the_check_against_masks_leaves_its_numbers(tiny_run, prepared_pictures, tmp_path):
    for name in ("checkpoints", "config.json", "run.json"):
        (tmp_path / name).symlink_to(tiny_run / name)
    how = (f"--prepared_dir={prepared_pictures}", "--images=6", "--square=20", "--stride=12")
    (output,) = run_script("occlusion_check", f"--workdir={tmp_path}", *how)
    (result,) = saved.find(tmp_path, "occlusion_check")
    assert str(result.folder) in output
    assert how[0] in result.about["command"].split()
    numbers = json.loads((result.folder / "numbers.json").read_text(encoding="utf-8"))
    value, low, high = numbers["object_share"]
    assert low < value < high
    assert f"object_share                 {value:.3f} [{low:.3f}, {high:.3f}]" in output
