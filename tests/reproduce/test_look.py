"""A look at a net that was brought along: from a tiny ONNX file and six pictures to the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (zfnet_jax[import])")

import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from configs import zfnet
from zfnet_jax.data.pictures import draw
from zfnet_jax.importers import importing
from zfnet_jax.importers.write import Imported
from zfnet_jax.reproduce import looking
from zfnet_jax.reproduce.looking import Look
from zfnet_jax.reproduce.record import read_record
from zfnet_jax.studies import photos
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.step import Step

SIDE = 12
COLOURS = ("red", "green", "blue")


def colour_net(path: Path, *, classes: bool) -> Path:
    """A net that names the colour of its image: the strongest of three channels, blue first; or its
    trunk alone."""
    conv = np.zeros((3, 3, 3, 3), np.float32)
    conv[range(3), range(3), 1, 1] = 1
    dense = np.repeat(np.eye(3, dtype=np.float32)[::-1], (SIDE // 2) ** 2, axis=1)
    tensors = {"conv_w": conv, "dense_w": dense, "dense_b": np.zeros(3, np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "conv_w"], ["conv"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense_w", "dense_b"], ["logits"], transB=1),
    ]
    if not classes:
        nodes, tensors = nodes[:3], {"conv_w": conv}
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", float32, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(nodes[-1].output[0], float32, None)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_net(tmp_path_factory.mktemp("net") / "colours.onnx", classes=True)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of the built-in ones, those of a class tinted, in class folders."""
    folder = tmp_path_factory.mktemp("colours")
    for number, name in enumerate(COLOURS * 2):
        image = draw("face", number, 2 * SIDE).image.astype(float)
        image[..., [n for n in range(3) if COLOURS[n] != name]] *= 0.1
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def imported(
    weights: Path, folder: Path, *, bgr: bool, mean: float = 0.0, classes: bool = True
) -> Imported:
    (folder / "classes.txt").write_text("\n".join(COLOURS))
    options = importing.Options(
        bgr=bgr, mean=np.full(1, mean, np.float32), image_size=SIDE,
        class_names=folder / "classes.txt" if classes else None,
    )  # fmt: skip
    return importing.from_file(weights, options, zfnet.get_config())


def look(out: Path, net: Imported, images: Path) -> Look:
    return looking.look(out, net, zfnet.get_config(), str(images))


def states(found: Look) -> dict[str, str]:
    return {row.step.name: row.state for row in found.rows}


def test_one_call_leaves_all_and_another_makes_nothing_again(weights, colours, tmp_path):
    net, out = imported(weights, tmp_path, bgr=True), tmp_path / "out"
    found = look(out, net, colours)
    assert set(states(found).values()) == {"made"}
    page = found.page.read_text(encoding="utf-8")
    assert found.page == out / "report" / "index.html"
    assert read_record(out / "report", "check")["notes"] == ["100.0% of 6 photos are named right."]
    assert "100.0% of 6 photos are named right." in page
    assert "Photos 1: blue/2.png, 2: green/1.png, 3: red/0.png." in page
    for file in ("figures/layers3.png", "figures/figure7.png", "atlas/index.html"):
        assert (out / "report" / file).exists()
        assert file in page
    assert found.photos.parent == out / "photos"

    before = {path: path.stat().st_mtime_ns for path in (out / "studies").rglob("*")}
    assert set(states(look(out, net, colours)).values()) == {"done"}
    assert before == {path: path.stat().st_mtime_ns for path in (out / "studies").rglob("*")}

    with pytest.raises(FileExistsError, match="other mean: choose another folder"):
        look(out, imported(weights, tmp_path, bgr=True, mean=20), colours)
    with pytest.raises(FileExistsError, match="other layers or weights"):
        look(out, imported(weights, tmp_path, bgr=False), colours)


def steps(
    weights: Path, folder: Path, images: Path, *, classes: bool = True
) -> tuple[Context, dict[str, Step]]:
    """Those of the net with the wrong order of colours."""
    net = imported(weights, folder, bgr=False, classes=classes)
    context = looking.opened(folder / "out", net, zfnet.get_config(), str(images))
    return context, {step.name: step for step in looking.make_plan(context, net.pixels)}


def test_a_wrong_order_of_colours_is_told(weights, colours, tmp_path):
    _, plan = steps(weights, tmp_path, colours)
    made = plan["check"].make()
    assert made.notes == [
        "33.3% of 6 photos are named right, which is near chance (33.3%): wrong preprocessing?"
        " With --order=bgr --mean=0 --scale=1 100.0% are."
    ]
    table = next(path for path in made.files if path.suffix == ".csv").read_text()
    assert len(table.splitlines()) > 10


def test_fewer_winners_are_less_work_and_are_those_shown(weights, colours, tmp_path):
    """For deep nets: the projections of winners are most of a look."""
    net = imported(weights, tmp_path, bgr=True)
    context = looking.opened(tmp_path / "out", net, zfnet.get_config(), str(colours))
    plan, one = (
        {step.name: step for step in looking.make_plan(context, net.pixels, winners)}
        for winners in (9, 1)
    )
    photos = len(context.split("validation"))
    assert one["mine"].images - photos == (plan["mine"].images - photos) / 9
    assert one["mine"].commands[0].split()[4] == "--k=1"
    one["mine"].make()
    (folder,) = (tmp_path / "out" / "studies" / "features").iterdir()
    one["atlas"].make()  # of what is there, with nothing mined again
    assert [folder] == list(folder.parent.iterdir())


def test_photos_need_no_classes(weights, colours, tmp_path):
    snaps = Path(shutil.copytree(colours / "red", tmp_path / "snaps"))
    context, plan = steps(weights, tmp_path, snaps)
    assert plan["check"].missing == (
        "the photos are of snaps, but the net's classes are red, green, blue"
    )
    assert {step.name for step in plan.values() if step.missing} == {"check"}
    plan["photos"].make()
    images, labels, keys = photos.chosen(context).first(3)
    assert (len(images), labels, keys) == (2, (), ("snaps/0.png", "snaps/3.png"))


def test_a_trunk_has_all_but_the_check(colours, tmp_path):
    trunk = colour_net(tmp_path / "trunk.onnx", classes=False)
    context, plan = steps(trunk, tmp_path, colours, classes=False)
    assert {name: step.missing for name, step in plan.items() if step.missing} == {
        "check": "out has no classifier, which this needs"
    }
    plan["photos"].make()
    assert photos.chosen(context).first(3)[1] == ()


def test_classes_without_names_are_asked_for(weights, colours, tmp_path):
    _, plan = steps(weights, tmp_path, colours, classes=False)
    assert "--classes=FILE" in (plan["check"].missing or "")
