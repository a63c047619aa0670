"""Winners projected alone: cropped against full size, and the folder that mining leaves."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from tests import slow_reference as slow
from zfnet_jax import deconvnet, geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.cropped import Units, project_units
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.layer_specs import Affine
from zfnet_jax.report.tiles import moved_inside, window_of
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies.features import mining, study
from zfnet_jax.studies.features.options import Options
from zfnet_jax.studies.features.winners import load

NETS = slow.narrow_nets()
RULES = (
    ("deconvnet", "sum"),
    ("forward_mask", "max"),
    ("guided", "mean"),
    ("forward_mask", "overwrite"),
)


# 'small' is the padded zfnet here: no projection passes the contrast norm that tells them apart. Of
# the net without layers 3 and 4 only what differs from alexnet is looked at.
CROPPED = {name: 0 for name in NETS if name != "small"} | {"alexnet_without_3_4": 2}


@pytest.mark.parametrize("name", CROPPED)
def test_cropped_projections_are_windows_of_full_ones(name):
    """For every layer, by one of the rules: the four corners, where the window leaves the image,
    and units between. Over the nets every layer meets every rule."""
    net, size = NETS[name], (96, 75)
    rules = itertools.islice(itertools.cycle(RULES), list(CROPPED).index(name), None)
    model = slow.exact_model(net)
    params = slow.random_params(model, (2, *size, 3))
    rng = np.random.default_rng(1)
    images = rng.normal(size=(2, *size, 3)).astype(np.float32)
    activations = jax.jit(model.apply)({"params": params}, images)[1]
    for conv, (rectify, overlap) in zip(net.convs[CROPPED[name] :], rules):
        _, height, width, maps = activations[conv.name].shape
        # Among the units are active ones: the rules that mask by activation let these through.
        active = np.argwhere(np.asarray(activations[conv.name]) > 0)
        chosen = active[rng.integers(0, len(active), 8)]
        image, row, column, index = chosen.T
        row[:4], column[:4] = [0, 0, height - 1, height - 1], [0, width - 1, 0, width - 1]
        value = rng.uniform(0.5, 2, 8).astype(np.float32)
        units = Units(image, index, row, column, value)
        seed = np.zeros((8, height, width, maps), np.float32)
        seed[np.arange(8), row, column, index] = value
        each = {name: array[image] for name, array in activations.items()}
        field = geometry.receptive_field(net, conv.name)
        rule = {"rectify": rectify, "overlap": overlap}
        full = deconvnet.project(net, params, each, conv.name, seed, size, **rule)
        cropped = project_units(net, params, activations, conv.name, units, size, **rule)
        assert cropped.shape == (8, field.size, field.size, 3)
        assert np.abs(cropped).max(axis=(1, 2, 3)).min() > 0 or overlap != "sum"
        for n in range(8):
            rows, columns = field.window(int(row[n])), field.window(int(column[n]))
            window = (rows[0], columns[0], rows[1], columns[1])
            expected = window_of(np.asarray(full[n]), window, 0)
            np.testing.assert_allclose(
                cropped[n], expected, atol=1e-5 * np.abs(expected).max(), err_msg=conv.name
            )


@pytest.mark.parametrize("overlap", slow.OVERLAP)
def test_units_of_a_pool_are_projected_alone_too(overlap):
    net, size = NETS["zfnet"], (96, 75)
    model = slow.exact_model(net)
    params = slow.random_params(model, (1, *size, 3))
    images = np.random.default_rng(1).normal(size=(1, *size, 3)).astype(np.float32)
    activations = jax.jit(model.apply)({"params": params}, images)[1]
    maps = np.asarray(activations["pool2"])
    _, row, column, index = np.unravel_index(maps.argmax(), maps.shape)
    seed = np.zeros_like(maps)
    seed[0, row, column, index] = 1.5
    full = deconvnet.project(net, params, activations, "pool2", seed, size, overlap=overlap)
    units = Units(*(np.array([n]) for n in (0, index, row, column)), np.array([1.5], np.float32))
    cropped = project_units(net, params, activations, "pool2", units, size, overlap=overlap)
    rows, columns = (geometry.receptive_field(net, "pool2").window(int(n)) for n in (row, column))
    expected = window_of(np.asarray(full[0]), (rows[0], columns[0], rows[1], columns[1]), 0)
    assert np.abs(expected).max() > 0 or overlap == "overwrite"
    np.testing.assert_allclose(cropped[0], expected, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(scope="module")
def run(deep_run) -> Run:
    return open_run(deep_run)


@pytest.fixture(scope="module")
def split(prepared_pictures):
    return open_prepared(prepared_pictures, "validation")


def make(run, split, directory, **options):
    """What mining leaves in a run's folder `directory`."""
    here = dataclasses.replace(run, directory=directory)
    chosen = Options(**{"k": 4, **options})
    return study.measured(here, split, chosen, batch_size=16, progress=False).folder


@pytest.fixture(scope="module")
def folder(run, split, tmp_path_factory):
    return make(run, split, tmp_path_factory.mktemp("mined"))


def test_every_winner_has_its_projection_and_its_patch(run, split, folder):
    mined = load(folder)
    photos = np.asarray(split.images[:, 4:60, 4:60])
    absent = present = 0
    for conv in run.architecture.convs:
        layer = conv.name
        arrays = {n: mined.winners[f"{layer}/{n}"] for n in ("image", "value", "position")}
        windows = mined.winners[f"{layer}/window"]
        for number, slot in np.ndindex(arrays["image"].shape):
            projection = mined.projection(layer, number)[slot]
            patch = mined.patches[f"{layer}/patch"][number, slot]
            image, value = arrays["image"][number, slot], arrays["value"][number, slot]
            if image < 0:
                absent += 1
                assert not projection.any()
                assert mined.projections[f"{layer}/scale"][number, slot] == 1
                assert (patch == 128).all()
                continue
            present += 1
            window, shape = windows[number, slot], photos[image].shape
            top, left, bottom, right = moved_inside(window, shape)
            sides = [min(high - low, n) for low, high, n in zip(window, window[2:], shape)]
            assert [bottom - top, right - left] == sides
            inside = np.s_[top:bottom, left:right]
            np.testing.assert_array_equal(patch, photos[image][inside])
            if number % 4 or slot % 2:
                continue
            row, column = arrays["position"][number, slot]
            _, activations = run.forward(run.inputs(split.images[image][None]))
            maps = np.asarray(activations[layer])
            assert maps[0, row, column, number] == pytest.approx(value, rel=1e-5)
            seed = np.zeros_like(maps)
            seed[0, row, column, number] = value
            full = deconvnet.project(
                run.architecture, run.params, activations, layer, seed, run.input_size
            )
            expected = np.asarray(full[0])[inside]  # where the unit is blind it is zero
            np.testing.assert_allclose(
                projection, expected, atol=1e-3 * np.abs(expected).max(), err_msg=layer
            )
    assert present > 100
    assert mined.patches["photos"].shape == (len(mined.patches["photo_rows"]), 56, 56, 3)
    np.testing.assert_array_equal(mined.patches["photos"], photos[mined.patches["photo_rows"]])
    assert (np.diff(mined.patches["photo_rows"]) > 0).all()


def test_the_folder_says_what_it_was_made_from(run, split, folder):
    about = load(folder).about
    assert [about[name] for name in ("step", "images")] == [12, 30]
    assert about["options"] == {
        "split": "validation",
        "k": 4,
        "all_positions": False,
        "unit_value": None,
        "rectify": "deconvnet",
        "overlap": "sum",
    }
    assert about["layers"] == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert about["data"] == {"fingerprint": split.fingerprint}
    assert about["class_names"] == list(run.class_names)
    assert about["receptive_fields"]["conv3"] == [75, 16, -27]
    assert about["crop"] == [56, 56]
    rows = load(folder).patches["photo_rows"].tolist()
    assert load(folder).keys == {row: split.keys[row] for row in rows}
    assert about["config"]["augment"]["crop"] == 56
    assert about["command"].endswith(" --step=12 --k=4")
    assert folder.name.startswith("validation-12-")


def test_arrays_mapped_from_the_disk_are_those_that_numpy_loads(folder):
    mined = load(folder)
    for file in ("projections", "patches"):
        with np.load(folder / f"{file}.npz") as arrays:
            mapped = getattr(mined, file)
            assert set(mapped) == set(arrays.files)
            for name in arrays.files:
                np.testing.assert_array_equal(mapped[name], arrays[name], err_msg=name)


def test_projections_may_start_from_one(run, split, folder, tmp_path):
    """The deconvnet is linear in one unit's activation, as long as it is positive."""
    recorded, ones = load(folder), load(make(run, split, tmp_path, unit_value=1.0))
    assert ones.options["unit_value"] == 1.0
    for layer in ("conv1", "conv4"):
        for number in (0, 5):
            value = recorded.winners[f"{layer}/value"][number][:, None, None, None]
            a, b = recorded.projection(layer, number), ones.projection(layer, number) * value
            np.testing.assert_allclose(a, b, atol=2e-3 * max(np.abs(a).max(), 1e-9))


def test_a_scale_between_layers_is_projected_through(run, split, folder, tmp_path):
    """One that doubles what the next filters halve, in the net's first two layers."""
    first, second = run.architecture.convs[:2]
    scaled = dataclasses.replace(first, then=(*first.then, Affine()))
    trunk = Architecture((scaled, second), (), classes=0, dropout=0.0, classifier="none")
    params = {
        "conv1": run.params["conv1"],
        "affine1": {"scale": np.full(first.maps, 2, np.float32), "bias": np.zeros(first.maps)},
        "conv2": run.params["conv2"] | {"kernel": run.params["conv2"]["kernel"] / 2},
    }
    net = slow.exact_model(trunk)
    same = dataclasses.replace(run, net=net, params=params, class_names=())
    found, expected = load(make(same, split, tmp_path, k=1)), load(folder)
    for layer in ("conv1", "conv2"):
        for number in (0, 5):
            a, b = (winners.projection(layer, number)[0] for winners in (found, expected))
            np.testing.assert_allclose(a, b, atol=2e-3 * max(np.abs(b).max(), 1e-9))


def test_an_interrupted_projection_leaves_nothing_but_the_pass(run, split, tmp_path):
    blocks = []

    class Broken(type(split)):
        def rows(self, index):
            if len(index) > 16:  # no batch of the pass, but images of winners
                blocks.append(index)
            if len(blocks) == 2:  # they were located and are now projected
                raise KeyboardInterrupt
            return super().rows(index)

    broken = Broken(*(getattr(split, field.name) for field in dataclasses.fields(split)))
    with pytest.raises(KeyboardInterrupt):
        make(run, broken, tmp_path)
    (kept,) = (tmp_path / "studies" / "features").iterdir()
    assert kept.name.startswith("validation-12-")
    assert kept.name.endswith(".pass.npz")
    folder = make(run, split, tmp_path)  # and the pass that was made is not lost
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert load(folder).winners["conv1/value"].shape == (8, 4)


def test_nothing_mined_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run python -m scripts\.mine first"):
        load(tmp_path)
    (tmp_path / "about.json").write_text('{"study": "occlusion"}')
    with pytest.raises(ValueError, match="holds no winners but a result of occlusion"):
        load(tmp_path)


def test_dead_maps_have_no_pictures(run, split, tmp_path):
    params = jax.tree.map(np.array, run.params)
    params["conv5"]["bias"][:] = -1e6
    dead = dataclasses.replace(run, params=params)
    mined = load(make(dead, split, tmp_path, k=2))
    assert len(mining.dead_maps(mined.winners, "conv5")) == 12
    assert not mined.projections["conv5/projection"].any()
