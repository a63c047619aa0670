"""Figures 1, 2, 3, 4 and 6: their arrays are right, and their pictures show them, unclipped."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shutil
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage, imread
from ml_collections import ConfigDict
from PIL import Image

from configs import architectures
from tests import forked
from tests.mined_folder import write_mined
from zfnet_jax import architecture, deconvnet, model
from zfnet_jax.architecture import Architecture
from zfnet_jax.data.pictures import draw
from zfnet_jax.report import figures
from zfnet_jax.report.mosaic import even_columns, mosaic, shrink
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies.evolution.figure import MARK, figure4
from zfnet_jax.studies.evolution.measure import evolution
from zfnet_jax.studies.evolution.options import Options
from zfnet_jax.studies.features import chosen
from zfnet_jax.studies.features.figure import figure2
from zfnet_jax.studies.features.options import FigureOptions
from zfnet_jax.studies.features.winners import Winners, load
from zfnet_jax.studies.first_layers.figure import _settings, figure6
from zfnet_jax.studies.first_layers.filters import first_layer
from zfnet_jax.studies.layers.deconv_layer import deconv_layer
from zfnet_jax.studies.layers.diagram import deconvnet_diagram
from zfnet_jax.studies.layers.figure1 import figure1
from zfnet_jax.studies.layers.figure3 import figure3


def deep(layers: int) -> ConfigDict:
    """A net of many 3 x 3 convolutions, a pool after every third: Simonyan and Zisserman's kind."""
    model = architectures.small()
    model.layers = tuple(f"conv{n}" for n in range(1, layers + 1))
    for n, name in enumerate(model.layers, start=1):
        model[name] = ConfigDict(architectures.small().conv3)
        if n % 3 == 0:
            model[name].pool = architectures.small().conv1.pool
    return model


reconstructions = jax.jit(deconvnet.reconstructions, static_argnames=("net", "layer", "image_size"))
NETS = {**architectures.table3(), "small": architectures.small(), "deep": deep(16)}
STYLES = ["screen", "paper"]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return draw("face", 3, 64).image


@pytest.fixture
def winners(tmp_path) -> Winners:
    """Made-up winners of two layers: of layer 1, map 2 is dead and map 4 has only one winner."""
    first = np.arange(8 * 9).reshape(8, 9)
    first[2], first[4, 1:] = -1, -1
    images = {"conv1": first, "conv2": np.arange(20 * 9).reshape(20, 9)}
    return load(write_mined(tmp_path / "validation-4", images=images))


def check_labels(figure: Figure) -> list[str]:
    """Texts of a figure, none of which is cut off or touches another."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # to lay it out, which takes no pixels
    page = figure.bbox
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    for text, box in zip(texts, boxes):
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.width and box.y1 <= page.height
        assert inside, f"{text.get_text()!r} is cut off"
    for (a, one), (b, other) in itertools.combinations(zip(texts, boxes), 2):
        # Lines of text may touch; a pixel of overlap is the room for accents.
        apart = (
            one.x1 <= other.x0 + 1
            or other.x1 <= one.x0 + 1
            or one.y1 <= other.y0 + 1
            or other.y1 <= one.y0 + 1
        )
        assert apart, f"{a.get_text()!r} lies over {b.get_text()!r}"
    return [text.get_text() for text in texts]


def images_of(figure: Figure) -> list[AxesImage]:
    return list(figure.axes[0].images)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv5"])
def test_a_layers_two_ways_fit_together(tiny_run, photo, layer):
    run = open_run(tiny_run)
    arrays = deconv_layer(run, photo, layer, count=5)
    _, activations = run.forward(run.inputs(photo[None]))
    strengths = np.asarray(activations[layer][0]).max(axis=(0, 1))
    np.testing.assert_array_equal(arrays["map"], np.argsort(-strengths, kind="stable")[:5])
    np.testing.assert_allclose(np.maximum(arrays["filtered"], 0), arrays["rectified"], atol=1e-5)
    np.testing.assert_array_equal(arrays["rectified"], arrays["before_pool"])
    assert arrays["filtered"].min() < 0
    for index in range(5):
        rows, columns = np.moveaxis(arrays["switches"][index], 2, 0)
        # A switch names the pixel that was the maximum; unpooling puts values there and nowhere
        # else, adding where two windows name one pixel.
        found = arrays["before_pool"][index][rows, columns]
        np.testing.assert_array_equal(found, arrays["pooled"][index])
        expected = np.zeros_like(arrays["unpooled"][index])
        np.add.at(expected, (rows, columns), arrays["from_above"][index])
        np.testing.assert_allclose(arrays["unpooled"][index], expected, atol=1e-5)
    np.testing.assert_array_equal(np.maximum(arrays["unpooled"], 0), arrays["unpooled_rectified"])


def test_the_reconstruction_is_that_of_the_deconvnet(tiny_run, photo):
    run = open_run(tiny_run)
    _, activations = run.forward(run.inputs(photo[None]))

    def stages(layer: str) -> dict:
        return reconstructions(
            run.architecture, run.params, activations, layer, activations[layer], run.input_size
        )

    first = deconv_layer(run, photo, "conv1", count=2)
    assert first["above"] == "conv2"
    np.testing.assert_allclose(first["reconstruction"], stages("conv2")["layer1"][0], atol=1e-5)
    np.testing.assert_array_equal(first["input"], photo[4:60, 4:60])
    second = deconv_layer(run, photo, "conv2", count=2)
    expected = np.moveaxis(np.asarray(stages("conv3")["layer2"][0]), 2, 0)[second["input_map"]]
    np.testing.assert_allclose(second["reconstruction"], expected, atol=1e-5)
    last = deconv_layer(run, photo, "conv5", count=2)
    assert last["above"] == ""
    np.testing.assert_array_equal(last["from_above"], last["pooled"])
    for wrong in ("conv3", "pool1", "conv9"):
        with pytest.raises(ValueError, match=r"Fig\. 1 needs|no layer"):
            deconv_layer(run, photo, wrong, count=2)


def test_a_layer_that_pools_first_and_goes_on_after_it(photo):
    """Its relu, scale and second pool come before what is unpooled by the first."""
    then = (
        {"kind": "max_pool", "window": 3, "stride": 2},
        {"kind": "relu"},
        {"kind": "affine"},
        {"kind": "average_pool", "window": 2, "stride": 1},
    )
    net = architectures.small()
    net.layers, net.dense = ("conv1", "conv2"), ()
    net.conv1 = ConfigDict({"maps": 6, "kernel": 5, "stride": 3, "then": then})
    run = _untrained(net, size=64)
    arrays = deconv_layer(run, photo, "conv1", count=6)
    assert not arrays["rectifies"]
    np.testing.assert_array_equal(arrays["filtered"], arrays["rectified"])
    assert arrays["pooled"].min() == 0
    assert arrays["from_above"].shape == arrays["pooled"].shape
    assert arrays["from_above"].min() == 0 > arrays["filtered"].min()
    np.testing.assert_array_equal(arrays["unpooled"], arrays["unpooled_rectified"])
    _, activations = run.forward(run.inputs(photo[None]))
    expected = reconstructions(
        run.architecture, run.params, activations, "conv2", activations["conv2"], (64, 64)
    )["layer1"]
    np.testing.assert_allclose(arrays["reconstruction"], expected[0], atol=1e-5)
    with figures.use("paper"):
        texts = [text.get_text() for text in figure1(arrays).axes[0].texts]
    assert texts.count("(no relu before the pool)") == 2


def test_contrast_norm_before_the_pool_is_what_the_pool_sees():
    net = architectures.alexnet()
    net.update_from_flattened_dict({f"conv{n}.maps": 8 for n in range(1, 6)} | {"dense": (4,)})
    run = _untrained(net, size=96)
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    arrays = deconv_layer(run, image, "conv1", count=3)
    rows, columns = np.moveaxis(arrays["switches"], 3, 0)
    for index in range(3):
        normalised = arrays["before_pool"][index]
        np.testing.assert_array_equal(
            normalised[rows[index], columns[index]], arrays["pooled"][index]
        )
        assert normalised.max() < 0.7 * arrays["rectified"][index].max()  # 2**-0.75 of it


def test_rectified_maps_are_the_relus_own_where_a_norm_comes_before_it():
    net = architectures.small()
    norm = {"kind": "contrast_norm", **net.contrast_norm.to_dict()}
    then = (norm, {"kind": "relu"}, {"kind": "max_pool", "window": 2, "stride": 2})
    net.layers, net.dense = ("conv1",), ()
    net.conv1 = ConfigDict({"maps": 2, "kernel": 3, "stride": 2, "then": then})
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    arrays = deconv_layer(_untrained(net, size=9), image, "conv1", count=2)
    assert arrays["rectifies"]
    assert arrays["filtered"].min() < 0 == arrays["rectified"].min()
    np.testing.assert_array_equal(arrays["rectified"], arrays["before_pool"])


def _untrained(net: ConfigDict, size: int) -> types.SimpleNamespace:
    """A stand-in for a `Run` of a net that is not trained."""
    module = model.from_config(net, classes=10)
    params = model.initial_params(module, 0, size, 3)
    return types.SimpleNamespace(
        architecture=module.architecture,
        params=params,
        input_size=(size, size),
        inputs=lambda images: images.astype(np.float32) - 128,
        forward=jax.jit(lambda inputs: module.apply({"params": params}, inputs)),
    )


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("layer", ["conv1", "conv5"])
def test_figure_1_shows_every_stage(tiny_run, photo, layer, style):
    arrays = deconv_layer(open_run(tiny_run), photo, layer, count=4)
    with figures.use(style):
        figure = figure1(arrays)
        texts = check_labels(figure)
    assert {"unpooled maps", "rectified unpooled maps", "pooled maps", "switches"} <= set(texts)
    count = len(images_of(figure))
    # Six rows of maps, the bottom rows (an image each in layer 1, with the filters), four details.
    assert count == 6 * 4 + (2 + 4 if layer == "conv1" else 2 * 4) + 4


@pytest.mark.parametrize("style", STYLES)
def test_figure_2_puts_projections_beside_their_patches(winners, style):
    maps = {"conv1": np.array([1, 4]), "conv2": np.array([19])}
    with figures.use(style):
        figure = figure2(winners, maps)
        texts = check_labels(figure)
        images = images_of(figure)
        width = figures.page_width()
    assert [text for text in texts if text.startswith("map")] == ["map 1", "map 4", "map 19"]
    assert "Layer 1: 2 of 8 maps (1 dead), each unit sees 7 x 7 pixels" in texts
    assert len(images) == 2 * 3
    patches = chosen.patches(winners, "conv2", maps["conv2"])[0]
    np.testing.assert_allclose(images[-1].get_array(), mosaic(patches), atol=1e-9)
    for left, right in zip(images[::2], images[1::2]):
        (x0, _, *heights), (x1, _, *same) = left.get_extent(), right.get_extent()
        assert heights == same
        assert x0 < width / 2 < x1
    # Of map 4 only the first winner exists; the other places are white.
    for image in images[2:4]:
        pixels = np.asarray(image.get_array())
        third = -(-pixels.shape[0] // 3)
        assert pixels[:third, :third].std() > 0
        assert (pixels[third:] == 1).all()


def test_of_a_deep_net_figure_2_has_one_row_of_maps_for_each_layer(winners):
    few = chosen.maps(winners, FigureOptions())
    names = [f"conv{n}" for n in range(1, 14)]
    fields = dict.fromkeys(names, winners.about["receptive_fields"]["conv2"])
    about = {**winners.about, "layers": names, "receptive_fields": fields}
    values = {f"{name}/value": winners.winners["conv2/value"] for name in names}
    deep = dataclasses.replace(winners, about=about, winners=values)
    many = chosen.maps(deep, FigureOptions())
    assert len(few["conv2"]) == 12
    assert [len(numbers) for numbers in many.values()] == [6] * 13
    alone = chosen.maps(deep, FigureOptions(patches=False))  # as wide as with patches
    assert [len(numbers) for numbers in alone.values()] == [12] * 13


def test_maps_are_chosen_by_name_or_at_random_among_the_living(winners):
    maps = chosen.random_maps(winners, "conv1", 20, seed=0)
    np.testing.assert_array_equal(maps, [0, 1, 3, 4, 5, 6, 7])
    some = [tuple(chosen.random_maps(winners, "conv2", 6, seed)) for seed in (0, 0, 1)]
    assert some[0] == some[1] != some[2]
    named = chosen.named_maps(winners, ["conv2:5,17", "conv1:3"])
    assert {layer: list(numbers) for layer, numbers in named.items()} == {
        "conv2": [5, 17],
        "conv1": [3],
    }
    for wrong in ("conv3:1", "conv1", "conv1:1,x", "conv1:8"):
        with pytest.raises(ValueError, match=r"Maps are chosen as|maps of conv1 are 0 to 7"):
            chosen.named_maps(winners, [wrong])


def test_a_mosaic_keeps_every_pixel_of_its_tiles():
    tiles = np.random.default_rng(0).integers(0, 256, (5, 7, 7, 3)).astype(np.uint8)
    image = mosaic(tiles, columns=3, finest=21)
    side, step = 21, 22  # enlarged three times, with a gap of one
    assert image.shape == (step + side, 2 * step + side, 3)
    for index, tile in enumerate(tiles):
        y, x = divmod(index, 3)
        piece = image[y * step : y * step + side : 3, x * step : x * step + side : 3]
        np.testing.assert_allclose(piece, tile / 255)
    assert (image[step:, 2 * step :] == 1).all()
    assert mosaic(tiles).shape[0] == mosaic(tiles, columns=3).shape[0]


def test_shrinking_takes_means():
    tile = np.random.default_rng(0).normal(size=(12, 12, 3))
    expected = tile.reshape(4, 3, 4, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(shrink(tile, 4), expected, atol=1e-6)
    assert shrink(tile, 12) is tile


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (32, 8), (48, 8), (96, 12), (13, 5)])
def test_columns_leave_no_short_row_where_that_is_possible(count, columns):
    assert even_columns(count) == columns


def sides(name: str) -> int:
    """Of the images of a net."""
    return 112 if name == "small" else 224


@functools.cache
def computed(
    net: Architecture, size: int
) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, jax.ShapeDtypeStruct]]:
    """Shapes of all that a net computes of an image, and of the way back from its last maps."""
    module = model.ZFNet(net, jax.nn.initializers.zeros)
    images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    (_, activations), params = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x), images
    )
    top = net.convs[-1].name
    stages = jax.eval_shape(
        lambda p, a: deconvnet.reconstructions(net, p, a, top, a[top], (size, size)),
        params["params"],
        activations,
    )
    return activations, stages


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NETS)
def test_figure_3_has_the_shapes_that_the_net_computes(name, style):
    net, size = architecture.from_config(NETS[name], classes=10), sides(name)
    # Many differ in their dense layers alone, which are read off.
    activations, stages = computed(dataclasses.replace(net, dense=()), size)
    with figures.use(style):
        texts = check_labels(figure3(net, (size, size), channels=3))
        diagram = check_labels(deconvnet_diagram(net, (size, size), channels=3))
    assert f"{size} x {size}\n3" in texts
    for layer, maps in activations.items():
        if layer.startswith(("conv", "pool")):
            height, width, count = maps.shape[1:]
            assert f"{height} x {width}\n{count}" in texts
        if layer.startswith(("pool", "norm")):
            kind = "pooled" if layer.startswith("pool") else "normalised"
            assert f"{kind}   {' x '.join(map(str, maps.shape[1:]))}" in diagram
    for layer, units in zip(net.dense_names, net.dense, strict=True):
        assert f"Layer {layer[2:]}" in texts
        assert str(units) in texts
    assert texts.count("contrast norm") == sum(bool(conv.contrast_norm) for conv in net.convs)

    for stage, maps in stages.items():
        shape = " x ".join(map(str, maps.shape[1:]))
        assert f"reconstructed by layer {stage[5:]}   {shape}" in diagram
    crossing = {text for text in diagram if text.startswith(("switches", "filters"))}
    assert crossing == {f"filters $F_{{{conv.number}}}$" for conv in net.convs} | {
        f"switches $S_{{{conv.number}}}$" for conv in net.convs if conv.pool
    }


@pytest.mark.parametrize("style", STYLES)
def test_figure_4_marks_where_the_winning_image_changes(tmp_path, style):
    rng = np.random.default_rng(0)
    steps = range(8)
    folders = [
        write_mined(
            tmp_path / f"train-{step}",
            images={"conv1": rng.integers(0, 2, (9, 2)), "conv2": rng.integers(0, 9, (9, 2))},
            step=step,
            epoch=[1, 2, 5, 10, 20, 30, 40, 64][step],
            seed=step,
        )
        for step in steps
    ]
    arrays = evolution(folders, Options(maps=5))
    with figures.use(style):
        figure = figure4(arrays, across=3)
        texts = check_labels(figure)
    marks = [line for line in figure.axes[0].lines if line.get_color() == MARK]
    changes = sum(
        arrays[f"{layer}/changed"][arrays[f"{layer}/map"]].sum() for layer in ("conv1", "conv2")
    )
    assert len(marks) == changes + 1  # and the one of the key
    assert len(images_of(figure)) == 2 * 5 * len(steps)
    assert texts.count("64") == 2


@pytest.mark.parametrize("style", STYLES)
def test_figure_6_shares_one_contrast_among_a_nets_filters(tiny_run, winners, style):
    plain = first_layer(open_run(tiny_run))
    dominated = dict(plain, filters=plain["filters"].copy())
    dominated["filters"][0] *= 50
    dominated["rms"] = np.sqrt(np.mean(dominated["filters"] ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(dominated["rms"][1:], plain["rms"][1:], rtol=1e-5)
    with figures.use(style):
        figure = figure6([plain, dominated], [winners, None], count=4)
        texts = check_labels(figure)
    assert "layer 1: 7 x 7, stride 2, no RMS limit" in texts
    assert "layer 2: 0 of 20 maps dead" in texts
    first, features, second = (np.asarray(image.get_array()) for image in images_of(figure))
    side = 42  # 7 pixels, enlarged six times
    assert first[:side, -side:].std() > 0.05
    assert second[:side, :side].std() > 0.05
    assert second[:side, -side:].std() < 0.05
    assert features.std() > 0.05


def test_of_an_imported_net_no_rms_limit_is_told(run, tmp_path):
    (tmp_path / "run.json").write_text('{"imported": {"file": "net.onnx"}}')
    elsewhere = dataclasses.replace(run, directory=tmp_path)
    assert _settings(first_layer(elsewhere), 100.0) == "layer 1: 7 x 7, stride 2"


@pytest.fixture
def mined_run(tiny_run, tmp_path):
    workdir = tmp_path / "net"
    shutil.copytree(tiny_run, workdir, ignore=shutil.ignore_patterns("studies"))
    for epoch, step in enumerate((4, 8, 12), start=1):
        images = np.random.default_rng(step).integers(0, 30, (8, 9))
        folder = workdir / "studies" / "features" / f"validation-{step}"
        write_mined(folder, images={"conv1": images, "conv2": images}, step=step, epoch=epoch)
    return workdir


@pytest.mark.parametrize(
    ("number", "arguments", "names"),
    [
        ("1", ["--workdir={run}", "--image={photo}", "--layer=conv2"], ["figure1"]),
        ("2", ["--workdir={run}", "--maps=3", "--style=paper"], ["figure2"]),
        ("3", ["--workdir={run}"], ["figure3", "figure3_deconvnet"]),
        ("3", ["--config=configs/zfnet.py:alexnet"], ["figure3", "figure3_deconvnet"]),
        ("4", ["--workdir={run}"], ["figure4"]),
        ("6", ["--runs={run},{plain}"], ["figure6"]),
    ],
)
def test_the_script_draws_each_figure(
    mined_run, tiny_run, photo, tmp_path, number, arguments, names
):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    out = tmp_path / "out"
    paths = {"run": mined_run, "plain": tiny_run, "photo": tmp_path / "photo.png"}
    filled = [text.format(**paths) for text in arguments]
    result = _script(f"--figure={number}", f"--out={out}", *filled)
    assert result.returncode == 0, result.stderr
    for name in names:
        assert imread(out / f"{name}.png").std() > 0.02
        assert (out / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert str(out / f"{name}.png") in result.stdout
    if number == "6":
        assert f"{tiny_run}: its second layer is left out: nothing is mined" in result.stdout
    if number == "4":
        with np.load(out / "figure4.npz") as arrays, figures.use("screen"):
            figures.save(figure4(arrays, across=3), tmp_path / "again.png")
        np.testing.assert_array_equal(imread(tmp_path / "again.png"), imread(out / "figure4.png"))


def test_the_script_says_what_is_missing(tiny_run, tmp_path):
    for arguments, message in (
        (["--figure=1", f"--workdir={tiny_run}"], "figure 1 needs --image"),
        (["--figure=2", f"--workdir={tiny_run}"], "nothing is mined in"),
    ):
        result = _script(*arguments, f"--out={tmp_path}")
        assert result.returncode != 0
        assert result.stderr.startswith("error: ")
        assert message in result.stderr


def _script(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "scripts.figures", *arguments]
    return forked.run(command)
