"""From a run and a photo to arrays, and from arrays to a picture."""

from __future__ import annotations

import dataclasses
import sys

import jax
import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from tests import forked
from zfnet_jax import deconvnet
from zfnet_jax.cropped import project_layers
from zfnet_jax.data.pictures import draw
from zfnet_jax.report import figures
from zfnet_jax.report.tiles import GREY, moved_inside, projection_tile, window_of
from zfnet_jax.runs.run import Run, load_photo, open_run
from zfnet_jax.studies.layers import strongest, study
from zfnet_jax.studies.layers.deconv_layer import deconv_layer
from zfnet_jax.studies.layers.options import Options
from zfnet_jax.studies.layers.strongest_figure import figure_strongest


@pytest.fixture(scope="module")
def run(deep_run) -> Run:
    return open_run(deep_run)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return draw("face", 3, 64).image


@pytest.fixture(scope="module")
def nine(run, photo) -> dict[str, np.ndarray]:
    """Of every layer."""
    return strongest.strongest_maps(run, photo, count=9)


def test_each_projection_is_that_of_its_units_activation_alone(run, photo, nine):
    arrays = nine
    _, activations = run.forward(run.inputs(photo[None]))
    np.testing.assert_array_equal(arrays["photo"], photo[4:60, 4:60])
    assert arrays["probabilities"].sum() == pytest.approx(1, abs=1e-5)
    for layer in ("conv1", "conv3", "conv5"):
        maps = np.asarray(activations[layer][0])
        strengths = maps.max(axis=(0, 1))
        np.testing.assert_array_equal(
            arrays[f"{layer}/map"], np.argsort(-strengths, kind="stable")[:9]
        )
        for k in range(3):
            number = arrays[f"{layer}/map"][k]
            row, column = np.unravel_index(maps[..., number].argmax(), maps.shape[:2])
            assert tuple(arrays[f"{layer}/position"][k]) == (row, column)
            assert arrays[f"{layer}/activation"][k] == maps[row, column, number]
            seed = np.zeros((1, *maps.shape), np.float32)
            seed[0, row, column, number] = maps[row, column, number]
            projection = deconvnet.project(
                run.architecture, run.params, activations, layer, seed, run.input_size
            )
            np.testing.assert_allclose(arrays[f"{layer}/projection"][k], projection[0], atol=1e-6)
            # All of it lies inside the unit's receptive field.
            outside = arrays[f"{layer}/projection"][k].copy()
            top, left, bottom, right = np.clip(arrays[f"{layer}/window"][k], 0, 56)
            outside[top:bottom, left:right] = 0
            assert not outside.any()


def test_what_goes_beyond_float32_is_projected_from_one(run, photo):
    """A net without biases, and the same with filters 2^14 times as strong: all it sees is a
    multiple, on the way up of 2^14 for each layer and on the way down once more."""
    quiet = dataclasses.replace(
        run, params={name: one | {"bias": 0 * one["bias"]} for name, one in run.params.items()}
    )
    strong = {name: one | {"kernel": 2**14 * one["kernel"]} for name, one in quiet.params.items()}
    loud = dataclasses.replace(run, params=strong)
    expected, found = (strongest.strongest_maps(one, photo, count=3) for one in (quiet, loud))
    for layer in expected["layers"]:
        np.testing.assert_array_equal(found[f"{layer}/map"], expected[f"{layer}/map"])
        for one, other in zip(found[f"{layer}/projection"], expected[f"{layer}/projection"]):
            np.testing.assert_allclose(one / one.max(), other / other.max(), atol=1e-5)
    number, place = found["conv5/map"][0], tuple(found["conv5/position"][0])
    alone = strongest.one_unit(loud, photo, "conv5", number, place, "deconvnet", "sum")
    of_all = found["conv5/projection"][0]
    np.testing.assert_allclose(
        alone["conv5/projection"][0] / of_all.max(), of_all / of_all.max(), atol=1e-5
    )


def test_few_programs_are_compiled_for_a_photo(run, photo, monkeypatch):
    """One for the layers of each scale, of which the net has three: compiling is most of what the
    first picture of a deep net takes."""
    compiled = []
    monkeypatch.setattr(
        strongest, "project_layers", lambda *args: compiled.append(args[3]) or project_layers(*args)
    )
    strongest.strongest_maps(run, photo, count=9)  # as `nine`, whose programs are there
    assert [tuple(units) for units in compiled] == [
        ("conv1",), ("conv2",), ("conv3", "conv4", "conv5")
    ]  # fmt: skip


def test_windows_keep_one_size_and_align_with_the_image():
    image = np.arange(5 * 6 * 3).reshape(5, 6, 3)
    np.testing.assert_array_equal(window_of(image, np.array([1, 2, 4, 5]), 0), image[1:4, 2:5])
    tile = window_of(image, np.array([-2, 4, 2, 9]), fill=-1)
    assert tile.shape == (4, 5, 3)
    np.testing.assert_array_equal(tile[2:, :2], image[:2, 4:])
    assert (tile[:2] == -1).all()
    assert (tile[:, 2:] == -1).all()
    assert (window_of(image, np.array([9, 9, 11, 11]), fill=-1) == -1).all()


def test_windows_moved_inside_lose_their_padding_and_keep_their_size():
    shape = (10, 8, 3)
    for window, expected in [
        ((2, 1, 5, 4), (2, 1, 5, 4)),
        ((-2, 6, 1, 9), (0, 5, 3, 8)),
        ((9, -4, 12, -1), (7, 0, 10, 3)),
        ((-5, -5, 8, 8), (0, 0, 10, 8)),
    ]:
        assert tuple(moved_inside(np.array(window), shape)) == expected


def test_tiles_are_symmetric_about_grey_and_never_black_by_accident():
    projection = np.random.default_rng(0).normal(0, 1e-7, (8, 8, 3))
    tile = projection_tile(projection, 99.5)
    np.testing.assert_allclose(tile - GREY, -(projection_tile(-projection, 99.5) - GREY))
    assert np.abs(tile - GREY).max() == pytest.approx(0.5)
    assert (projection_tile(np.zeros((4, 4, 3)), 99.5) == GREY).all()


def test_the_script_writes_a_picture_that_can_be_drawn_again(tiny_run, photo, tmp_path):
    path, out = tmp_path / "a photo <1>.png", tmp_path / "out" / "layers.png"
    Image.fromarray(photo).save(path)
    command = [sys.executable, "-m", "scripts.visualize", f"--workdir={tiny_run}"]
    result = forked.run([*command, f"--image={path}", f"--out={out}", "--maps=4"])
    assert result.returncode == 0, result.stderr
    assert str(out) in result.stdout
    with np.load(out.with_suffix(".npz")) as arrays:
        probabilities = arrays["probabilities"]
        answer = f"{arrays['class_names'][probabilities.argmax()]} {probabilities.max():.1%}, "
    assert f"the net's answer: {answer}" in result.stdout
    pixels = imread(out)
    assert pixels.shape[0] > 400
    assert pixels.std() > 0.1
    with np.load(out.with_suffix(".npz")) as arrays, figures.use("screen"):
        figures.save(figure_strongest(arrays), tmp_path / "again.png")
    np.testing.assert_array_equal(imread(tmp_path / "again.png"), pixels)


def test_the_picture_of_a_deep_net_is_no_tower(nine):
    arrays = dict(nine)
    names = [f"conv{n}" for n in range(1, 17)]
    for name in names:  # of five layers make sixteen
        arrays |= {f"{name}/{k[6:]}": v for k, v in list(arrays.items()) if k[:6] == "conv2/"}
    with figures.use("screen"):
        figure = figure_strongest(arrays | {"layers": np.array(names)})
    width, height = figure.get_size_inches()
    assert 0.7 < width / height < 1.4
    active = int((arrays["conv2/activation"] > 0).sum())
    images = figure.axes[0].images
    assert len(images) == 1 + 2 * 16 * active
    photo_wide, tile_wide = (x[1] - x[0] for x in (images[0].get_extent(), images[1].get_extent()))
    assert tile_wide > 0.35 * photo_wide
    assert photo_wide > 0.09 * width


def test_layers_can_be_chosen(run, photo, nine):
    some = strongest.strongest_maps(run, photo, 9, ("conv5", "conv2"))
    assert some["layers"].tolist() == ["conv2", "conv5"]
    assert not any(name.startswith("conv1/") for name in some)
    np.testing.assert_array_equal(some["conv5/projection"], nine["conv5/projection"])
    with pytest.raises(ValueError, match="no layer 'conv9': the net has conv1, conv2"):
        strongest.strongest_maps(run, photo, 9, ("conv9",))


def test_fig_1_of_other_layers_and_photos_lies_beside_and_is_measured_once(
    run, photo, tmp_path, monkeypatch
):
    here = dataclasses.replace(run, directory=tmp_path)
    for name, pixels in (("face", photo), ("flipped", photo[:, ::-1])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    first = Options(str(tmp_path / "face.png"))
    others = [
        dataclasses.replace(first, layer="conv2"),
        dataclasses.replace(first, maps=2),
        Options(str(tmp_path / "flipped.png")),
    ]
    results = [study.measured(here, options) for options in (first, *others)]
    assert len({one.folder for one in results}) == 4
    assert [str(one.arrays["layer"]) for one in results] == ["conv1", "conv2", "conv1", "conv1"]
    assert [len(one.arrays["map"]) for one in results] == [4, 4, 2, 4]
    expected = deconv_layer(run, photo, "conv1", 4)
    for name, array in results[0].arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    monkeypatch.setattr(study, "deconv_layer", None)  # would fail
    assert study.measured(here, first).about == results[0].about
    assert "scripts.figures --figure=1 " in results[1].about["command"]
    assert " --layer=conv2 " in results[1].about["command"]


def test_a_run_opens_at_any_kept_step_and_refuses_others(deep_run, tmp_path):
    first, last = open_run(deep_run, 4), open_run(deep_run)
    assert (first.step, last.step) == (4, 12)
    differing = jax.tree.map(lambda a, b: bool((a != b).any()), first.params, last.params)
    assert all(jax.tree.leaves(differing["conv1"]))
    with pytest.raises(ValueError, match=r"no step 5, only \[4, 8, 12\]"):
        open_run(deep_run, 5)
    with pytest.raises(FileNotFoundError):
        open_run(tmp_path)


def test_a_photo_that_cannot_be_read_says_why(tmp_path):
    (tmp_path / "x.jpg").write_text("not a photo")
    with pytest.raises(ValueError, match=r"cannot read the photo .*x\.jpg"):
        load_photo(tmp_path / "x.jpg", 64)
    with pytest.raises(ValueError, match=r"cannot read the photo .*none\.jpg"):
        load_photo(tmp_path / "none.jpg", 64)
