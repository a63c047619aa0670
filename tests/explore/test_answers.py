"""What the page is told is what the scripts compute, number by number."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

import zfnet_jax
from tests.explore.conftest import HOST, getter, picture, png
from tests.mined_folder import write_mined
from zfnet_jax import geometry
from zfnet_jax.data import augment
from zfnet_jax.explore.nets import Nets, open_folder
from zfnet_jax.explore.server import Server
from zfnet_jax.report.figures import CONTRAST
from zfnet_jax.report.tiles import part_inside, projection_tile
from zfnet_jax.studies.features import winners
from zfnet_jax.studies.layers import strongest
from zfnet_jax.studies.layers.options import unit_of
from zfnet_jax.studies.occlusion import study
from zfnet_jax.studies.occlusion.measure import occlude
from zfnet_jax.studies.occlusion.options import Options

LAYERS = ("conv1", "conv5")


@pytest.fixture(scope="module")
def expected(run, face):
    """What scripts.visualize finds of all maps."""
    return strongest.strongest_maps(run, face, 99)


def test_what_there_is(get, run):
    (net,) = get("/api/nets")["nets"]
    assert (net["name"], net["step"], net["crop"]) == ("a run", run.step, [56, 56])
    assert [one["step"] for one in net["steps"]] == [4, 8, 12]
    assert [one["label"] for one in net["steps"]] == ["epoch 1", "epoch 2", "epoch 3"]
    assert net["classes"] == list(run.class_titles)
    assert net["samples"] == 30
    usual = study.resolved(run, Options())
    assert net["square"] == {"size": usual.square, "stride": usual.stride}
    shapes = geometry.shapes(run.architecture, (56, 56, 3))
    for layer in net["layers"]:
        assert (layer["rows"], layer["columns"], layer["maps"]) == shapes[layer["name"]]
        assert layer["winners"] == (layer["name"] == "conv1")


def test_answer_and_maps(get, photo, run, expected):
    classes = get("/api/answer", photo=photo)["classes"]
    found = {one["class"]: one["probability"] for one in classes}
    assert found == {n: float(p) for n, p in enumerate(expected["probabilities"])}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert [one["name"] for one in classes] == [run.class_titles[n] for n in found]
    for layer in LAYERS:
        maps = get("/api/strip", photo=photo, layer=layer)["maps"]
        told = {name: [one[name] for one in maps] for name in maps[0]}
        assert told["map"] == expected[f"{layer}/map"].tolist()
        assert told["value"] == expected[f"{layer}/activation"].tolist()
        places = np.stack([told["row"], told["column"]], axis=1)
        np.testing.assert_array_equal(places, expected[f"{layer}/position"])


def test_a_strip_shows_the_maps_in_their_order(get, photo, run, face, expected):
    said = get("/api/strip", photo=photo, layer="conv5")
    shown = picture(get("/api/strip.png", photo=photo, layer="conv5"))
    _, activations = run.forward(run.inputs(face[None]))
    height, width = said["tile"]
    for place, number in enumerate(expected["conv5/map"]):
        row, column = divmod(place, said["columns"])
        tile = shown[row * height :, column * width :][:height, :width]
        pixels = np.asarray(activations["conv5"][0, :, :, number])
        peak = pixels.max()
        np.testing.assert_array_equal(tile, np.round(255 * pixels / (peak if peak > 0 else 1)))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_unit_is_that_of_visualize(layer, get, photo, run, face, expected):
    number = int(expected[f"{layer}/map"][1])
    asked = {"photo": photo, "layer": layer, "map": number}
    unit = get("/api/unit", **asked)
    assert unit["value"] == expected[f"{layer}/activation"][1]
    assert [unit["row"], unit["column"]] == expected[f"{layer}/position"][1].tolist()
    assert unit["field"] == expected[f"{layer}/window"][1].tolist()
    assert unit["rank"] == 1
    projection = zfnet_jax.project(run, face, layer, number)
    whole = picture(get("/api/unit.png", **asked, whole=1))
    drawn = np.asarray(zfnet_jax.picture(projection))
    assert np.abs(whole.astype(int) - drawn).max() <= 1  # of 255, where the last bit differs
    top, left, bottom, right = unit["shown"]
    inside = projection_tile(projection[top:bottom, left:right], CONTRAST)
    shown = picture(get("/api/unit.png", **asked))
    assert np.abs(shown - 255 * inside).max() <= 1.5


def test_a_place_gives_the_units_that_are_centred_there(get, photo, run, face):
    _, activations = run.forward(run.inputs(face[None]))
    for layer, (y, x) in {"conv1": (31, 7), "conv5": (55, 0)}.items():
        found = get("/api/place", photo=photo, layer=layer, y=y, x=x)
        maps = np.asarray(activations[layer][0])
        for axis, (pixel, place) in enumerate(zip((y, x), (found["row"], found["column"]))):
            field = geometry.receptive_field(run.architecture, layer, axis)
            ends = np.array([field.window(unit) for unit in range(maps.shape[axis])])
            distances = np.abs(ends.sum(axis=1) - 1 - 2 * pixel)
            assert distances[place] == distances.min()
        values = maps[found["row"], found["column"]]
        order = np.argsort(-values, kind="stable")
        wanted = [{"map": int(n), "value": float(values[n])} for n in order if values[n] > 0]
        assert found["units"] == wanted[:24]


def test_a_square_and_all_squares_are_those_of_occlusion(get, client, photo, run, face, expected):
    usual = study.resolved(run, Options(stride=11))
    options = {"square": usual.square, "stride": 11, "layer": "conv5", "fill": "grey", "seed": 0}
    whole = occlude(run, face[None], None, **options, batch_size=32, progress=False)
    number = int(whole["map"][0])
    assert number == expected["conv5/map"][0]
    asked = {"photo": photo, "layer": "conv5", "map": number}
    begun, *parts = events(client, **asked, stride=11)
    assert begun["begin"]["rows"] == whole["rows"].tolist()
    assert begun["begin"]["label"]["class"] == whole["label"][0]
    for name in ("activity", "probability", "class"):
        assert begun["begin"]["was"][name] == whole[f"whole_{name}"][0]
        found = [value for part in parts[:-1] for value in part[name]]
        np.testing.assert_array_equal(np.reshape(found, whole[name].shape[1:]), whole[name][0])
    assert parts[-1] == {"end": True}
    assert [part["done"] for part in parts[:-1]][-1] == 1

    for row, column in ((0, 0), (2, 1), (4, 4)):
        y, x = int(whole["rows"][row]), int(whole["columns"][column])
        one = get("/api/square", **asked, y=y, x=x, size=usual.square)
        assert one["value"] == pytest.approx(whole["activity"][0, row, column], rel=1e-4, abs=1e-5)
        assert one["was"] == pytest.approx(whole["whole_activity"][0], rel=1e-5)
        assert one["label"]["class"] == whole["label"][0]
        assert one["label"]["was"] == pytest.approx(whole["whole_probability"][0], rel=1e-5)
        probability = whole["probability"][0, row, column]
        assert one["label"]["probability"] == pytest.approx(probability, rel=1e-4)
        assert one["classes"][0]["class"] == whole["class"][0, row, column]
    outside = get("/api/square", **asked, y=-5, x=999, size=10)
    assert (outside["y"], outside["x"]) == (0, 46)


def test_any_map_can_be_followed(client, get, photo, expected):
    number = int(expected["conv1/map"][3])
    asked = {"photo": photo, "layer": "conv1", "map": number}
    begun, first, *_ = events(client, **asked, stride=11)
    for place in (0, 3):
        x = begun["begin"]["columns"][place]
        one = get("/api/square", **asked, y=0, x=x, size=begun["begin"]["size"])
        assert one["value"] == pytest.approx(first["activity"][place], rel=1e-4)


def test_winners_are_those_that_were_mined(get, photo, workdir):
    found = winners.load(workdir / "studies" / "features" / "validation-x")
    for number in (2, 5):
        unit = get("/api/unit", photo=photo, layer="conv1", map=number)
        there = found.winners["conv1/image"][number] >= 0
        values = found.winners["conv1/value"][number][there]
        assert [one["value"] for one in unit["winners"]] == values.tolist()
        labels = found.winners["conv1/label"][number][there]
        assert [one["label"] for one in unit["winners"]] == [f"class {n}" for n in labels]
        counts = np.bincount(labels)
        assert unit["class"]["share"] == counts.max() / counts.sum()
        assert unit["class"]["name"] in {
            f"class {n}" for n in np.flatnonzero(counts == counts.max())
        }
        sheet = picture(get("/api/winners.png", layer="conv1", map=number))
        patch = found.patches["conv1/patch"][number]
        side = patch.shape[1]
        for place, tile in enumerate(patch):
            row, column = divmod(place, unit["grid"])
            shown = sheet[row * side :, column * side :][:side, :side]
            np.testing.assert_array_equal(shown, tile)
        assert get("/api/winners_projected.png", layer="conv1", map=number)
    assert get("/api/unit", photo=photo, layer="conv5", map=0)["winners"] == []


def test_what_is_mined_anew_is_seen_and_what_is_removed_is_not(get, photo, workdir, run):
    def first() -> list[float]:
        unit = get("/api/unit", photo=photo, layer="conv1", map=2)
        return [one["value"] for one in unit["winners"]]

    before = first()
    newer = workdir / "studies" / "features" / "validation-y"
    images = {"conv1": np.arange(8 * 3).reshape(8, 3)}
    for seed, finished in enumerate(("2026-11-27T12:00:00", "2026-11-27T13:00:00"), 1):
        write_mined(newer, images=images, step=run.step, k=3, seed=seed, finished=finished)
        mined = winners.load(newer).winners["conv1/value"][2]
        assert first() == mined.tolist() != before
        shutil.rmtree(newer)
    assert first() == before


def test_samples_are_the_sets_photos(client, get, split):
    sample = get("/api/samples/4")
    assert sample["label"] == split.class_names[split.labels[4]]
    image = split.rows(np.array([4]))[0]
    np.testing.assert_array_equal(
        picture(get("/api/photo.png", photo=sample["photo"])), augment.centre(image, (56, 56))
    )
    whole = get("/api/photo.png", photo=sample["photo"], whole=1)
    np.testing.assert_array_equal(picture(whole), image)
    assert client.post("/api/photos", content=png(image)).json()["photo"] == sample["photo"]
    assert client.get("/api/samples/30").status_code == 404


def test_a_view_is_saved_and_opened_and_made_again_in_a_shell(
    client, get, photo, run, face, workdir
):
    asked = {"photo": photo, "layer": "conv5", "map": 3, "rule": "guided", "overlap": "max"}
    asked |= {"row": 1, "column": 0, "square": {"y": 3, "x": 4, "size": 20}}
    before = {path for path in workdir.rglob("*") if "explore" not in path.parts}
    name, again = (client.post("/api/views", json=asked).json()["view"] for _ in range(2))
    assert name == again
    folder = workdir / "explore" / name
    files = {"arrays.npz", "crop.png", "photo.png", "unit.png", "view.json"}
    assert {path.name for path in folder.iterdir()} == files
    assert {path for path in workdir.rglob("*") if "explore" not in path.parts} == before
    expected = strongest.one_unit(run, face, "conv5", 3, (1, 0), "guided", "max")
    with np.load(folder / "arrays.npz") as arrays:
        projection = expected["conv5/projection"][0]
        scale = np.abs(projection).max()
        np.testing.assert_allclose(arrays["projection"], projection, atol=1e-5 * scale)
        np.testing.assert_array_equal(arrays["window"], expected["conv5/window"][0])
        np.testing.assert_array_equal(arrays["probabilities"], expected["probabilities"])
    shown = picture((folder / "unit.png").read_bytes())
    drawn = get("/api/unit.png", **{name: asked[name] for name in asked if name != "square"})
    np.testing.assert_array_equal(shown, picture(drawn))

    from starlette.testclient import TestClient

    with TestClient(Server(Nets([open_folder(workdir)]), warm=False).app, base_url=HOST) as later:
        view = getter(later)(f"/api/views/{name}")
        assert {field: view[field] for field in asked} == asked
        assert view["value"] == expected["conv5/activation"][0]
        assert getter(later)("/api/answer", photo=view["photo"])["classes"] == view["answer"]
        assert [one["view"] for one in getter(later)("/api/views")["views"]] == [name]
        with zipfile.ZipFile(io.BytesIO(getter(later)(f"/api/views/{name}.zip"))) as archive:
            assert {path.partition("/")[2] for path in archive.namelist()} == files
        other = workdir / "explore" / "other"
        shutil.copytree(folder, other)
        (other / "view.json").write_text(json.dumps(view | {"step": 5}))
        answer = later.get("/api/views/other")
        assert answer.status_code == 404
        assert "is of step 5, which is not there any more" in answer.json()["error"]
        for damaged in ("{", "[]", "{}"):
            (other / "view.json").write_text(damaged)
            assert [one["view"] for one in getter(later)("/api/views")["views"]] == [name]
        shutil.rmtree(other)
        for wrong in ("..", "%2e%2e", "nix", ".hidden", "a%2Fb"):
            assert later.get(f"/api/views/{wrong}").status_code in (404, 307), wrong
    of_unit, of_square = (shlex.split(command) for command in view["commands"])
    assert of_unit[:3] == ["python", "-m", "scripts.visualize"]
    assert of_square[2:] == [
        "scripts.occlusion",
        *(f"--workdir={workdir}", f"--step={run.step}", f"--image={folder / 'photo.png'}"),
        *("--square=20", "--layer=conv5"),
    ]
    given = dict(one.removeprefix("--").split("=", 1) for one in of_unit[3:])
    assert unit_of(given["unit"]) == ("conv5", 3, (1, 0))
    assert (given["rectify"], given["overlap"]) == ("guided", "max")
    np.testing.assert_array_equal(zfnet_jax.runs.run.load_photo(given["image"], 64), face)


def test_forward_masks_and_means_project_as_the_whole_deconvnet(get, photo, run, face, expected):
    number = int(expected["conv5/map"][0])
    one = strongest.one_unit(run, face, "conv5", number, None, "forward_mask", "mean")
    asked = {"photo": photo, "layer": "conv5", "map": number}
    drawn = get("/api/unit.png", **asked, rule="forward_mask", overlap="mean")
    window, projection = one["conv5/window"][0], one["conv5/projection"][0]
    inside = projection_tile(projection[_inside(window)], CONTRAST)
    assert np.abs(picture(drawn) - 255 * inside).max() <= 1.5
    assert part_inside(projection, np.array([0, 0, 56, 56]), (56, 56)).shape == projection.shape


def _inside(window: np.ndarray) -> tuple[slice, slice]:
    from zfnet_jax.report.tiles import moved_inside

    top, left, bottom, right = moved_inside(window, (56, 56))
    return slice(top, bottom), slice(left, right)


def events(client, **asked) -> list:
    answer = client.get("/api/occlusion", params=asked)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]


def test_photos_are_drawn_whole(face):
    np.testing.assert_array_equal(picture(png(face)), np.asarray(Image.fromarray(face)))
