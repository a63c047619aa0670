"""Layers whose units see more columns than rows, or fewer: what is mined of them, as pictures."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from tests.mined_folder import write_mined
from zfnet_jax import geometry
from zfnet_jax.report import figures
from zfnet_jax.report.mosaic import mosaic, shrink
from zfnet_jax.studies.features import atlas, chosen
from zfnet_jax.studies.features.figure import figure2
from zfnet_jax.studies.features.winners import load

ROWS, COLUMNS = [7, 2, -1], [3, 1, 0]  # size, jump, start of conv1


def narrowed(folder):
    """A mined folder whose conv1 sees three columns of its seven."""
    winners = write_mined(folder, images={name: np.arange(18).reshape(2, 9) for name in FIELDS})
    for file in ("projections", "patches"):
        with np.load(winners / f"{file}.npz") as found:
            arrays = dict(found)
        for name in ("conv1/projection", "conv1/patch"):
            if name in arrays:
                arrays[name] = arrays[name][:, :, :, :3]
        np.savez(winners / f"{file}.npz", **arrays)
    about = json.loads((winners / "about.json").read_text())
    about["receptive_fields"]["conv1"] = [ROWS, COLUMNS]
    (winners / "about.json").write_text(json.dumps(about))
    return load(winners)


FIELDS = ("conv1", "conv2")


def test_both_sides_are_told_and_drawn(tmp_path):
    mined = narrowed(tmp_path / "studies" / "features" / "validation-4")
    assert mined.fields("conv1") == (
        geometry.ReceptiveField(*ROWS), geometry.ReceptiveField(*COLUMNS)
    )  # fmt: skip
    assert mined.field_sides("conv2") == (27, 27)  # as folders of before have it
    with figures.use("screen"):
        maps = {name: np.array([0, 1]) for name in FIELDS}
        axis = figure2(mined, maps).axes[0]
    texts = [text.get_text() for text in axis.texts]
    assert "Layer 1: 2 of 2 maps, each unit sees 7 x 3 pixels" in texts
    image = axis.images[1]  # the patches of conv1's first map
    left, right, bottom, top = image.get_extent()
    height, width = image.get_array().shape[:2]
    np.testing.assert_allclose((right - left) / (bottom - top), width / height)
    np.testing.assert_allclose(image.get_array(), mosaic(chosen.patches(mined, "conv1", [0])[0]))
    atlas.write_atlas([mined.folder], tmp_path / "atlas", progress=False)
    text = (tmp_path / "atlas" / "data" / "atlas.js").read_text()
    layers = json.loads(text.removeprefix("window.ATLAS=").removesuffix(";\n"))["layers"]
    sides = [[layer[name] for name in ("size", "jump", "start")] for layer in layers]
    assert sides == [[[7, 3], [2, 1], [-1, 0]], [[27, 27], [8, 8], [-5, -5]]]
    with Image.open(tmp_path / "atlas" / "sprites" / "4" / "conv1-patch-0.webp") as sheet:
        tile = np.asarray(sheet)[:7, :7]
    np.testing.assert_array_equal(tile[:, 2:5], mined.patches["conv1/patch"][0, 0])
    assert (tile[:, [0, 1, 5, 6]] == 128).all()


def test_tiles_of_unequal_sides():
    tiles = np.random.default_rng(0).uniform(size=(6, 10, 25, 3))
    image = mosaic(tiles, columns=3, finest=25)
    assert image.shape == (2 * 10 + 1, 3 * 25 + 2, 3)
    np.testing.assert_array_equal(image[11:, 26:51], tiles[4])
    np.testing.assert_allclose(
        shrink(tiles[0], 5), tiles[0].reshape(2, 5, 5, 5, 3).mean((1, 3)), atol=1e-6
    )
