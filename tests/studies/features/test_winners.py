"""Winners projected alone: cropped against full size, and the folder that mining leaves."""

from __future__ import annotations

import dataclasses
import os

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests import slow_reference as slow
from zfnet_jax import deconvnet, geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.cropped import Units, project_layers, project_units
from zfnet_jax.layer_specs import Affine
from zfnet_jax.model import from_config
from zfnet_jax.report.tiles import moved_inside, projection_tile, window_of
from zfnet_jax.runs.run import Run
from zfnet_jax.stages.stage import Down
from zfnet_jax.studies.features import mining, study
from zfnet_jax.studies.features.options import Options
from zfnet_jax.studies.features.winners import load

NETS = slow.narrow_nets()
SIZE = (96, 75)
RULES = (
    Down("deconvnet", "sum"),
    Down("forward_mask", "max"),
    Down("guided", "mean"),
    Down("forward_mask", "overwrite"),
)


# 'small' is the padded zfnet here: no projection passes the contrast norm that tells them apart. Of
# the net without layers 3 and 4 only what differs from alexnet is looked at. Layers 3 and 4 are
# alike but for groups.
CROPPED = {
    "zfnet": ("conv1", "conv2", "pool2", "conv3", "conv5"),
    "zfnet_padded": ("conv1", "conv2", "pool2", "conv4", "conv5"),
    "zf_within_map": ("conv1", "conv2", "pool2", "conv5"),
    "alexnet": ("conv1", "conv2", "pool2", "conv3", "conv5"),
    "alexnet_grouped": ("conv2", "conv4", "conv5"),
    "alexnet_without_3_4": ("conv5",),
}


# In minutes, every layer by every rule: ZFNET_CROPPED=every python -m pytest -n 0 -k cropped FILE
EVERY = os.environ.get("ZFNET_CROPPED") == "every"


@pytest.mark.parametrize("rules", RULES if EVERY else [None])
@pytest.mark.parametrize("name", CROPPED)
def test_cropped_projections_are_windows_of_full_ones(name, rules):
    """For layers of maps, by one of the rules: the four corners, where the window leaves the image,
    and units between; the full ones are those of loops. Over the nets layers 1, 2 and 5 and pool 2
    meet every rule."""
    net = NETS[name]
    layers = sorted(net.map_layers if EVERY else CROPPED[name])
    rules = rules or RULES[list(CROPPED).index(name) % len(RULES)]
    params, activations = of_noise(net, images=2)
    rng = np.random.default_rng(1)
    for layer in layers:
        _, height, width, _ = activations[layer].shape
        # Among the units are active ones: the rules that mask by activation let these through.
        active = np.argwhere(activations[layer] > 0)
        image, row, column, index = active[rng.integers(0, len(active), 8)].T
        row[:4], column[:4] = [0, 0, height - 1, height - 1], [0, width - 1, 0, width - 1]
        units = Units(image, index, row, column, rng.uniform(0.5, 2, 8).astype(np.float32))
        cropped = project_units(
            net,
            params,
            activations,
            layer,
            units,
            SIZE,
            rectify=rules.rectify,
            overlap=rules.overlap,
        )
        check_windows(net, params, activations, layer, units, rules, cropped)


def of_noise(net: Architecture, images: int) -> tuple[dict, dict[str, np.ndarray]]:
    """Parameters, and the activations of some images, drawn at random."""
    params = slow.random_params(slow.exact_model(net), (images, *SIZE, 3))
    noise = np.random.default_rng(1).normal(size=(images, *SIZE, 3))
    return params, {
        name: maps if name.startswith("switches") else maps.astype(np.float32)
        for name, maps in slow.forward(net, params, noise).items()
    }


def check_windows(net, params, activations, layer, units: Units, rules: Down, cropped) -> None:
    """Projections of units are what loops have of them on whole maps, where the units see."""
    image, index, row, column, value = units
    seed = np.zeros((len(image), *activations[layer].shape[1:]), np.float32)
    seed[np.arange(len(image)), row, column, index] = value
    each = {name: array[image] for name, array in activations.items()}
    full = slow.reconstructions(net, params, each, layer, seed, SIZE, rules.rectify, rules.overlap)[
        "layer1"
    ]
    field = geometry.receptive_field(net, layer)
    assert cropped.shape == (len(image), field.size, field.size, 3)
    assert np.abs(cropped).max(axis=(1, 2, 3)).min() > 0 or rules.overlap != "sum"
    for one, whole, *place in zip(cropped, full, row, column, strict=True):
        rows, columns = (field.window(int(n)) for n in place)
        window = window_of(whole, (rows[0], columns[0], rows[1], columns[1]), 0)
        np.testing.assert_allclose(one, window, atol=1e-5 * np.abs(window).max(), err_msg=layer)


def test_layers_of_one_scale_are_projected_by_one_program():
    """At the corners too, where units lie in tiles of others."""
    net = NETS["alexnet_grouped"]
    layers = [conv.name for conv in net.convs]
    groups = geometry.of_one_scale(net, layers, SIZE)
    assert groups == [("conv1",), ("conv2",), ("conv3", "conv4", "conv5")]
    params, activations = of_noise(net, images=1)
    units = {}
    for layer in groups[-1]:
        _, height, width, maps = activations[layer].shape
        row, column = np.array([0, 0, height - 1, 1]), np.array([0, width - 1, width - 1, 2])
        value = np.arange(1, 5, dtype=np.float32)
        units[layer] = Units(np.zeros(4, int), np.arange(4) % maps, row, column, value)
    found = project_layers(net, params, activations, units, SIZE)
    for layer in groups[-1]:
        check_windows(net, params, activations, layer, units[layer], Down(), found[layer])


@pytest.fixture(scope="module")
def run(run) -> Run:
    """Of three layers of maps: what units of the last see is larger than the photos."""
    config = ConfigDict(run.config)
    config.model.layers = ("conv1", "conv2", "conv5")
    net = from_config(config.model, classes=10)
    params = slow.random_params(net, (1, *run.input_size, 3))
    return dataclasses.replace(run, config=config, net=net, params=params)


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
    assert present > 80
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
    assert about["layers"] == ["conv1", "conv2", "conv5"]
    assert about["data"] == {"fingerprint": split.fingerprint}
    assert about["class_names"] == list(run.class_names)
    assert about["receptive_fields"]["conv5"] == [75, 16, -27]
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
    for layer in ("conv1", "conv5"):
        for number in (0, 5):
            value = recorded.winners[f"{layer}/value"][number][:, None, None, None]
            a, b = recorded.projection(layer, number), ones.projection(layer, number) * value
            np.testing.assert_allclose(a, b, atol=2e-3 * max(np.abs(a).max(), 1e-9))


def test_a_projection_beyond_float32_is_told_and_drawn_grey(run, split, tmp_path):
    loud = dataclasses.replace(run, params=jax.tree.map(lambda weights: 100 * weights, run.params))
    with pytest.raises(
        FloatingPointError, match=r"conv\d: the projection of map .* beyond float32"
    ):
        make(loud, split, tmp_path, unit_value=3e38)
    assert not list(tmp_path.rglob("projections.npz"))
    tile = np.ones((4, 4, 3), np.float32)
    tile[1, 2] = np.inf
    assert (projection_tile(tile, 99.5) == 0.5).all()


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
