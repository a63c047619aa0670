"""A net whose images are not square, with windows of unequal sides, through the whole programme."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (zfnet_jax[import])")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (zfnet_jax[import])")

import onnx

import zfnet_jax
from configs import zfnet
from tests import foreign, onnx_chains
from zfnet_jax import deconvnet
from zfnet_jax.command import import_flags
from zfnet_jax.cropped import Units, project_units
from zfnet_jax.data import augment
from zfnet_jax.exporters import onnx as exporter
from zfnet_jax.exporters import safetensors
from zfnet_jax.importers import importing, write
from zfnet_jax.report import figures
from zfnet_jax.report.tiles import window_of
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies import fields
from zfnet_jax.studies.correspondence import study as correspondence
from zfnet_jax.studies.correspondence.options import Options as CorrespondenceOptions
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.features import atlas
from zfnet_jax.studies.features.figure import figure2
from zfnet_jax.studies.invariance import transforms
from zfnet_jax.studies.layers.figure3 import figure3
from zfnet_jax.studies.layers.strongest import strongest_maps
from zfnet_jax.studies.layers.strongest_figure import figure_strongest
from zfnet_jax.studies.occlusion.figure import figure7
from zfnet_jax.studies.occlusion.measure import occlude

SIZE, SIDES = 64, (40, 56)
CHAIN = [
    ("Conv", {"maps": 6, "kernel": (5, 3), "strides": [2, 2]}), ("Relu", {"name": "conv1"}),
    ("MaxPool", {"name": "pool1", "kernel_shape": [2, 3], "strides": [2, 2]}),
    ("Conv", {"maps": 8, "kernel": 3, "pads": [1] * 4}), ("Relu", {"name": "conv2"}),
    ("MaxPool", {"name": "pool2", "kernel_shape": [2, 2], "strides": [2, 2]}),
    ("Flatten", {}), ("Gemm", {"units": 10}),
]  # fmt: skip
OPTIONS = importing.Options(bgr=True, mean=np.array((120, 110, 100), np.float32), scale=60.0)


def imported(path: Path, folder: Path, options: importing.Options, **data: str) -> Run:
    base = zfnet.get_config()
    base.data.update(data)
    read = importing.from_pytorch if path.suffix == ".safetensors" else importing.from_onnx
    write.write_workdir(folder, read(path, options, base), base)
    return open_run(folder)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx_chains.build(CHAIN, SIDES)


@pytest.fixture(scope="module")
def oblong(model, prepared_pictures, split, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("oblong")
    onnx.save(model, folder / "net.onnx")
    (folder / "names").write_text("\n".join(split.class_names))
    options = dataclasses.replace(OPTIONS, image_size=SIZE, class_names=folder / "names")
    there = str(prepared_pictures)
    return imported(folder / "net.onnx", folder / "run", options, prepared_dir=there)


def test_it_answers_alike_and_comes_back_identical(oblong, model, tmp_path):
    assert oblong.input_size == SIDES
    photos = foreign.images(SIZE, 1)
    inputs = oblong.inputs(photos)
    logits, activations = oblong.forward(inputs)
    x = photos[:, 12:52, 4:60].astype(np.float32)
    x = ((x - OPTIONS.mean) / np.float32(60))[..., ::-1].transpose(0, 3, 1, 2)
    theirs = onnx_chains.answers(model, SIDES, 3, np.ascontiguousarray(x))
    names = ("conv1", "pool1", "conv2", "pool2", "logits")
    foreign.same(dict(activations) | {"logits": logits}, {name: theirs[name] for name in names})
    for exporting, file in ((exporter, "again.onnx"), (safetensors, "again.safetensors")):
        assert exporting.export(oblong, tmp_path / file) < 1e-5
        again = imported(tmp_path / file, tmp_path / file[6:], importing.Options())
        assert again.input_size == SIDES
        np.testing.assert_array_equal(again.forward(again.inputs(photos))[0], logits)


def test_crops_of_unequal_sides():
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
    mean = rng.uniform(0, 255, (16, 16, 3)).astype(np.float32)
    plain = (photos - mean) / np.float32(2)
    ten_crops = jax.jit(augment.ten_crops, static_argnums=(2, 3))
    centre_crops = jax.jit(augment.centre_crops, static_argnums=(2, 3))
    random_crops = jax.jit(augment.random_crops, static_argnums=(3, 4, 5))
    ten = np.asarray(ten_crops(photos, mean, (7, 12), 2.0))
    assert ten.shape == (3, 10, 7, 12, 3)
    for place, (y, x) in enumerate(((0, 0), (0, 4), (9, 0), (9, 4), (4, 2))):
        np.testing.assert_array_equal(ten[:, place], plain[:, y : y + 7, x : x + 12])
    np.testing.assert_array_equal(ten[:, 5:], ten[:, :5, :, ::-1])
    np.testing.assert_array_equal(ten[:, 4], centre_crops(photos, mean, (7, 12), 2.0))
    keys = jax.jit(augment.image_keys, static_argnums=0)(0, 0, np.arange(3))
    found = np.asarray(random_crops(photos, keys, mean, (7, 12), "random", 2.0))
    every = np.stack([plain[:, y : y + 7, x : x + 12] for y in range(10) for x in range(5)], 1)
    every = np.concatenate([every, every[:, :, :, ::-1]], axis=1)
    assert (np.abs(every - found[:, None]).max((2, 3, 4)) == 0).any(axis=1).all()
    # A pair of equal numbers is that number, to the last bit.
    for rule in ("random", "ten"):
        one, two = (random_crops(photos, keys, mean, crop, rule, 2.0) for crop in (9, (9, 9)))
        np.testing.assert_array_equal(one, two)


def test_projections_cropped_are_windows_of_full_ones(oblong):
    photos = foreign.images(SIZE, 1)
    inputs = oblong.inputs(photos)
    _, activations = oblong.forward(inputs)
    net, params = oblong.architecture, oblong.params
    maps = np.asarray(activations["conv2"])
    row, column, index = np.argwhere(maps[0] > 0)[:: max(1, (maps[0] > 0).sum() // 5)].T
    value = maps[0, row, column, index]
    chosen = Units(np.zeros(len(row), int), index, row, column, value)
    cropped = project_units(net, params, activations, "conv2", chosen, SIDES)
    windows = fields.seen_by(net, "conv2", np.stack([row, column], 1))
    for n, window in enumerate(windows):
        seed = np.zeros_like(maps)
        seed[0, row[n], column[n], index[n]] = value[n]
        full = np.asarray(deconvnet.project(net, params, activations, "conv2", seed, SIDES))[0]
        assert full.shape == (*SIDES, 3)
        np.testing.assert_allclose(cropped[n], window_of(full, window, 0), atol=1e-5)


def test_it_is_mined_and_drawn(oblong, tmp_path):
    mined = zfnet_jax.mine(oblong, k=4)
    assert mined.about["receptive_fields"]["conv1"] == [[5, 2, 0], [3, 2, 0]]
    assert mined.about["crop"] == list(SIDES)
    assert mined.patches["photos"].shape[1:] == (*SIDES, 3)
    with figures.use("screen"):
        texts = [text.get_text() for text in figure2(mined, {"conv2": np.arange(4)}).axes[0].texts]
        figure3(oblong.architecture, oblong.input_size, channels=3)
    assert any("each unit sees 15 x 15 pixels" in text for text in texts)
    atlas.write_atlas([mined.folder], tmp_path / "atlas", progress=False)


def test_covered_in_windows_it_answers_as_covered_whole(oblong, split):
    shared = {"square": 12, "stride": 7, "layer": "pool2", "fill": "noise", "seed": 0}
    fast, plain = (
        occlude(oblong, split.rows(np.arange(2)), None, **shared, batch_size=32, form=form,
                progress=False)
        for form in ("fast", "plain")
    )  # fmt: skip
    assert (len(fast["rows"]), len(fast["columns"])) == (5, 8)
    for name, expected in plain.items():
        np.testing.assert_allclose(fast[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    fast |= {"projection": fast["photo"].astype(np.float32), "names": np.array(["a", "b"])}
    fast |= {"window": np.array([[0, 0, 9, 5]] * 2), "layer": np.array("pool2")}
    fast |= {"class_names": np.array(oblong.class_names)}
    with figures.use("screen"):
        image = figure7(fast, None).axes[0].images[0]
    left, right, bottom, top = image.get_extent()
    np.testing.assert_allclose((right - left) / (bottom - top), 56 / 40)


def test_layers_picture(oblong):
    arrays = strongest_maps(oblong, foreign.images(SIZE, 1)[0], 2)
    assert arrays["conv1/projection"].shape == (2, *SIDES, 3)
    with figures.use("screen"):
        texts = [text.get_text() for text in figure_strongest(arrays).axes[0].texts]
    assert any("a unit sees 5 x 3 pixels" in text for text in texts)


def test_moved_and_turned_in_view(split):
    photos = split.rows(np.arange(2))
    plain = photos[:, 12:52, 4:60]
    outside = np.zeros((*SIDES, 3), np.float32)
    transform = jax.jit(transforms.transform, static_argnums=(1, 3))
    for kind, amount in transforms.IDENTITY.items():
        found = transform(photos, kind, amount, SIDES, outside)
        np.testing.assert_allclose(found, plain, atol=1e-3)
    moved = transform(photos, "horizontal", 3, SIDES, outside)
    np.testing.assert_allclose(moved, photos[:, 12:52, 1:57], atol=1e-3)
    half = np.asarray(transform(photos, "rotation", 180, SIDES, outside))
    np.testing.assert_allclose(half, plain[:, ::-1, ::-1], atol=1e-3)
    with pytest.raises(ValueError, match="choose shifts from -51 to 51"):
        transforms.check_amounts("vertical", np.array([52]), SIZE, SIDES)
    transforms.check_amounts("horizontal", np.array([52]), SIZE, SIDES)


def test_ten_crops_are_evaluated(oblong, split):
    found = predict(oblong, split, crops=10, batch_size=30, probabilities=False, progress=False)
    assert found["predicted"].shape == (30,)


def test_faces_are_squares(oblong):
    with pytest.raises(ValueError, match=r"^run sees 40 x 56 pixels: faces are cut as squares$"):
        correspondence.read_images(oblong, CorrespondenceOptions(pictures="face"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a"], "--crop=a: expected pixels, N or ROWS,COLUMNS"),
        (["4", "5", "6"], "--crop=4,5,6: expected pixels, N or ROWS,COLUMNS"),
    ],
)
def test_what_crop_may_be(given, message):
    assert import_flags.sides(["224"]) == import_flags.sides(["224", "224"]) == 224
    assert import_flags.sides(["40", "56"]) == (40, 56)
    with pytest.raises(ValueError, match=message):
        import_flags.sides(given)
