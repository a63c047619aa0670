"""The atlas as files: every tile in its place, every photo once, nothing from the data as code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import forked
from tests.fake_mined import CLASSES, CROP, DEAD, FEW, LAYERS, WINNERS, colours, write_mined
from zfnet_jax.names import fit
from zfnet_jax.runs import checkpoint
from zfnet_jax.studies.features import atlas, sprites
from zfnet_jax.studies.features.winners import Winners, load


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_mined(folder, step=10, epoch=1.0)
    write_mined(folder, step=40, epoch=4.0)
    return folder


@pytest.fixture(scope="module")
def page(workdir: Path) -> Path:
    folders = sorted((workdir / "studies" / "features").iterdir())
    atlas.write_atlas(folders, workdir / "report" / "atlas", progress=False)
    return workdir / "report" / "atlas"


def value_of(path: Path, name: str) -> Any:
    """The JSON value that a data file assigns to a name."""
    return json.loads(path.read_text().removeprefix(f"{name}=").removesuffix(";\n"))


@pytest.mark.parametrize("layer", list(LAYERS))
def test_every_tile_lies_where_the_page_looks_for_it(page, layer):
    data = value_of(page / "data" / "atlas.js", "window.ATLAS")
    (entry,) = [one for one in data["layers"] if one["name"] == layer]
    grid, columns, rows = (entry["sheet"][name] for name in ("grid", "columns", "rows"))
    assert entry["maps"] == LAYERS[layer][0]
    side = min(LAYERS[layer][1], sprites.LARGEST_SIDE)
    tolerance = 0 if entry["exact"] else 12
    expected = colours(layer).astype(int)
    for kind in ("patch", "projection"):
        files = sorted((page / "sprites" / "40").glob(f"{layer}-{kind}-*.webp"))
        assert len(files) == -(-entry["maps"] // (columns * rows))
        for number in range(entry["maps"]):
            sheet, place = divmod(number, columns * rows)
            pixels = np.asarray(Image.open(files[sheet]), int)
            assert pixels.shape == (rows * grid * side, columns * grid * side, 3)
            block_y, block_x = divmod(place, columns)
            for k in range(WINNERS):
                y = (block_y * grid + k // grid) * side
                x = (block_x * grid + k % grid) * side
                tile = pixels[y : y + side, x : x + side]
                top, bottom = tile[side // 4, side // 2], tile[-side // 4, side // 2]
                if number == DEAD or (number == FEW and k >= 2):
                    wanted = [(128, 128, 128)] * 2
                elif kind == "patch":
                    wanted = [expected[number, k]] * 2
                else:
                    wanted = [(255, 255, 255), (0, 0, 0)]
                assert np.abs(np.stack([top, bottom]) - wanted).max() <= tolerance, (number, k)


def test_the_data_files_give_back_the_winners_without_the_absent_ones(page, workdir):
    for step in (10, 40):
        winners = load(workdir / "studies" / "features" / f"validation-{step}").winners
        data = value_of(page / "data" / f"{step}.js", f"ATLAS.winners[{step}]")
        for layer, (maps, *_) in LAYERS.items():
            for field in ("value", "image", "label", "position"):
                assert len(data[layer][field]) == maps
                assert data[layer][field][DEAD] == []
                assert len(data[layer][field][FEW]) == 2
                array = winners[f"{layer}/{field}"]
                np.testing.assert_allclose(data[layer][field][5], array[5], rtol=1e-3)
                np.testing.assert_allclose(data[layer][field][FEW], array[FEW, :2], rtol=1e-3)


def test_every_source_photo_is_stored_once(page, workdir):
    folders = sorted((workdir / "studies" / "features").iterdir())
    rows = [set(load(folder).patches["photo_rows"].tolist()) for folder in folders]
    assert rows[0] != rows[1]
    assert rows[0] & rows[1]
    photos = {int(path.stem): path for path in (page / "photos").iterdir()}
    assert set(photos) == rows[0] | rows[1]
    for row, path in photos.items():
        pixels = np.asarray(Image.open(path), int)
        assert pixels.shape == (CROP, CROP, 3)
        assert np.abs(pixels - 5 * row).max() <= 3


def test_many_photos_are_made_smaller_to_keep_the_atlas_small():
    assert atlas.photo_side(100, 224) == 224
    for count in (5_000, 12_384, 50_000):
        side = atlas.photo_side(count, 224)
        size = count * side**2 * atlas.BYTES_PER_PIXEL
        assert 0.9 * atlas.PHOTO_BYTES < size <= atlas.PHOTO_BYTES


def test_grey_data_make_grey_pictures():
    picture = sprites.as_picture(np.arange(6, dtype=np.uint8).reshape(2, 3, 1))
    assert picture.mode == "RGB"
    assert picture.getpixel((2, 1)) == (5, 5, 5)


def test_nothing_from_the_data_is_code(page):
    data = value_of(page / "data" / "atlas.js", "window.ATLAS")
    assert data["classes"] == [fit(name) for name in CLASSES]
    assert data["run"] == "a <run> & 'more'"
    assert "<i>" in next(iter(data["photos"].values()))
    for path in (page / "data").iterdir():
        text = path.read_text(encoding="utf-8")
        assert text.isascii()
        assert "<" not in text
        assert text.count("\n") == 1
    html = (page / "index.html").read_text()
    assert "<title>Feature atlas of a &lt;run&gt; &amp; &#x27;more&#x27;</title>" in html
    assert "<run>" not in html
    for path in page.glob("*.js"):
        for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "fetch("):
            assert unsafe not in path.read_text()


def test_links_name_checkpoints_by_epoch_unless_epochs_do_not_tell(tmp_path):
    def keys(*epochs: float | None) -> list[str]:
        return atlas.checkpoint_keys(
            [Winners(tmp_path, {"epoch": e, "step": s}, {}, {}, {}) for s, e in enumerate(epochs)]
        )

    assert keys(1.0, 2.5, 40) == ["epoch=1", "epoch=2.5", "epoch=40"]
    assert keys(1.0, None) == ["step=0", "step=1"]
    assert keys(1.001, 1.002) == ["step=0", "step=1"]


def test_a_page_that_is_not_of_the_newest_checkpoint_says_so(workdir, monkeypatch):
    names = ("validation-10", "validation-40")
    early, late = (load(workdir / "studies" / "features" / name) for name in names)
    assert atlas._not_newest([early]) == ""  # the run's folder has no other checkpoints
    monkeypatch.setattr(checkpoint, "standing", lambda _, step: "<best>" if step == 10 else "")
    said = '\n    <p class="quiet">Of step 10 (&lt;best&gt;).</p>'
    assert atlas._not_newest([early]) == said
    assert atlas._not_newest([late, early]) == said.replace("Of", "Up to")
    assert atlas._not_newest([early, late]) == ""


def test_folders_that_do_not_belong_together_are_refused(tmp_path):
    first = write_mined(tmp_path, step=1, epoch=1)
    other = write_mined(tmp_path, step=2, epoch=2, split="train")
    with pytest.raises(ValueError, match=r"do not belong in one atlas: they differ in split"):
        atlas.write_atlas([first, other], tmp_path / "atlas", progress=False)
    with pytest.raises(ValueError, match="of the same step"):
        atlas.write_atlas([first, first], tmp_path / "atlas", progress=False)
    with pytest.raises(ValueError, match="at least one folder"):
        atlas.write_atlas([], tmp_path / "atlas", progress=False)
    about = json.loads((first / "about.json").read_text())
    (first / "about.json").write_text(json.dumps(about | {"layers": ["../conv1"]}))
    with pytest.raises(ValueError, match="cannot name a file"):
        atlas.write_atlas([first], tmp_path / "atlas", progress=False)
    assert not (tmp_path / "atlas").exists()


def test_an_atlas_is_replaced_whole_or_not_at_all(tmp_path):
    out = tmp_path / "report" / "atlas"
    first = write_mined(tmp_path, step=1, epoch=1)
    second = write_mined(tmp_path, step=2, epoch=2)
    atlas.write_atlas([first], out, progress=False)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    patches = (second / "patches.npz").read_bytes()
    with np.load(second / "patches.npz") as arrays:
        names = ("photo_rows", "photo_keys")
        np.savez(second / "patches.npz", **{name: arrays[name] for name in names})
    with pytest.raises(KeyError):
        atlas.write_atlas([second], out, progress=False)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert list(out.parent.iterdir()) == [out]

    (second / "patches.npz").write_bytes(patches)
    atlas.write_atlas([second], out, progress=False)
    assert [path.name for path in (out / "sprites").iterdir()] == ["2"]
    assert list(out.parent.iterdir()) == [out]


def test_the_script_says_where_the_page_is_or_what_is_missing(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "scripts.atlas", f"--workdir={tmp_path}", *arguments]
        return forked.run(command)

    nothing = run()
    assert nothing.returncode != 0
    assert nothing.stderr.startswith(f"error: nothing is mined in {tmp_path}")
    write_mined(tmp_path, step=10, epoch=1)
    write_mined(tmp_path, step=10, epoch=1, split="train")
    assert "nothing is mined on test" in run("--split=test").stderr
    made = run()  # a reproduction leaves both splits: the page is of the validation images
    assert made.returncode == 0, made.stderr
    index = tmp_path / "report" / "atlas" / "index.html"
    assert '"split":"validation"' in (index.parent / "data" / "atlas.js").read_text()
    assert str(index) in made.stdout
    assert index.exists()
