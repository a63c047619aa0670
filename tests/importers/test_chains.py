"""Chains of every kind of layer: imported they answer as onnxruntime does; exported and imported
again they answer identically. So do random ones, built and exported by PyTorch; more of them:

    ZFNET_CHAINS=400 python -m pytest -n 0 -k random tests/importers/test_chains.py

of the second half by PyTorch's newer exporter, where onnxscript is installed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os

import jax
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (zfnet_jax[import])")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (zfnet_jax[import])")
pytest.importorskip("torch", reason="PyTorch is not installed (zfnet_jax[import])")

import onnx
import torch
from ml_collections import ConfigDict

from configs import zfnet
from tests import foreign, onnx_chains, random_chains
from zfnet_jax import architecture, deconvnet, geometry, units
from zfnet_jax.architecture import Architecture
from zfnet_jax.cropped import Units, project_units
from zfnet_jax.exporters import onnx as exporter
from zfnet_jax.exporters import safetensors
from zfnet_jax.importers import importing, write
from zfnet_jax.importers import onnx as reader
from zfnet_jax.importers.chain import WindowPool
from zfnet_jax.importers.pools import same_pool
from zfnet_jax.layer_specs import RELU, Affine, Pool, Rectifier
from zfnet_jax.report.tiles import window_of
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies.occlusion.plan import Grid
from zfnet_jax.studies.occlusion.recompute import Squares, occluded, unoccluded

SIZE = 40
OPTIONS = importing.Options(
    bgr=False, mean=np.array((120, 110, 100), np.float32), scale=60.0, image_size=SIZE
)
GEMM = ("Gemm", {"units": onnx_chains.CLASSES})


def conv(number: int, **given) -> onnx_chains.Node:
    return "Conv", {"name": f"filtered{number}", "maps": 4 + number, "kernel": 3} | given


def relu(number: int) -> onnx_chains.Node:
    return "Relu", {"name": f"conv{number}"}


def pool(number: int, kind: str, window: int, stride: int, **given) -> onnx_chains.Node:
    sides = {"kernel_shape": [window] * 2, "strides": [stride] * 2}
    return f"{kind}Pool", {"name": f"pool{number}"} | sides | given


def zeros(top: int, bottom: int, left: int, right: int) -> onnx_chains.Node:
    return "Pad", {"pads": [0, 0, top, left, 0, 0, bottom, right]}


TO_FIRST, TO_LAST = (("Transpose", {"perm": perm}) for perm in ([0, 3, 1, 2], [0, 2, 3, 1]))

# Nodes that are named as our activations are compared with them.
CHAINS: dict[str, list[onnx_chains.Node]] = {
    "sides, padding and dilation of each axis its own": [
        conv(1, kernel=(3, 5), strides=[2, 1], pads=[0, 2, 1, 1], maps=6), relu(1),
        ("MaxPool", {"name": "pool1", "kernel_shape": [2, 3], "strides": [1, 2],
                     "pads": [1, 0, 0, 2]}),
        conv(2, dilations=[2, 3], pads=[2, 3, 2, 3], group=6, maps=12), relu(2),
        ("AveragePool", {"name": "pool2", "kernel_shape": [3, 2], "strides": [2, 1],
                         "pads": [1, 0, 1, 1]}),
        conv(3, kernel=(1, 4), dilations=[1, 2]), relu(3),
        ("AveragePool", {"name": "pool3", "kernel_shape": [2, 2], "strides": [2, 2],
                         "pads": [0, 0, 1, 1], "count_include_pad": 1}),
        ("Flatten", {}), GEMM,
    ],
    "padding that follows from the size": [
        conv(1, kernel=(4, 3), strides=[3, 2], auto_pad="SAME_LOWER"), relu(1),
        ("MaxPool", {"name": "pool1", "kernel_shape": [2, 2], "strides": [2, 2],
                     "auto_pad": "SAME_UPPER"}),
        conv(2, kernel=2, auto_pad="SAME_UPPER"), relu(2),
        ("AveragePool", {"name": "pool2", "kernel_shape": [2, 3], "strides": [1, 2],
                         "auto_pad": "SAME_LOWER"}),
        conv(3, kernel=2, auto_pad="VALID"), relu(3), ("Flatten", {}), GEMM,
    ],
    "averages": [
        conv(1, kernel=5, strides=[2, 2]), relu(1),
        pool(1, "Average", 3, 2, pads=[1] * 4),
        conv(2), relu(2), pool(2, "Average", 3, 1, pads=[1] * 4, count_include_pad=1),
        conv(3), relu(3), ("GlobalAveragePool", {"name": "pool3"}), ("Flatten", {}), GEMM,
    ],
    "partial windows, and a mean of each map": [
        conv(1, strides=[2, 2]), relu(1), pool(1, "Average", 2, 2, ceil_mode=1),
        conv(2), relu(2), pool(2, "Average", 3, 2, pads=[0, 0, 1, 1]),
        conv(3), relu(3), ("ReduceMean", {"axes": [2, 3], "keepdims": 0}), GEMM,
    ],
    "maximum of each map": [
        conv(1, strides=[2, 2]), relu(1), conv(2, pads=[1] * 4), relu(2),
        conv(3, pads=[1] * 4), relu(3), ("GlobalMaxPool", {"name": "pool3"}), ("Flatten", {}), GEMM,
    ],
    "zeros of a node of their own": [
        zeros(0, 2, 1, 1), conv(1, strides=[2, 2], pads=[1, 0, 0, 0]), relu(1),
        zeros(1, 0, 0, 1), pool(1, "Max", 3, 2), zeros(0, 1, 1, 0), zeros(1, 0, 0, 0), conv(2),
        zeros(1, 1, 0, 0),
        pool(2, "Average", 3, 2, pads=[0, 0, 1, 1], count_include_pad=1, name="mean2"),
        ("Relu", {"name": "pool2"}), zeros(0, 0, 1, 0), ("BatchNormalization", {}),
        conv(3), relu(3), ("ReduceMax", {"name": "pool3", "axes": [2, 3]}), ("Flatten", {}), GEMM,
    ],
    "no relu, and one after its max pool": [
        conv(1, strides=[2, 2], name="conv1"), pool(1, "Max", 2, 2),
        conv(2), pool(2, "Max", 3, 2, name="pooled2"), ("Relu", {"name": "pool2"}),
        conv(3, name="conv3", kernel=2), pool(3, "Average", 2, 1), ("Flatten", {}),
        ("Gemm", {"units": 5, "name": "fc4"}), GEMM,
    ],
    "channels last, as Keras has them": [
        TO_FIRST, conv(1, strides=[2, 2], bias=False), TO_LAST, ("Add", {}), ("Relu", {}), TO_FIRST,
        pool(1, "Max", 2, 2), conv(2), relu(2), pool(2, "Average", 2, 1, name="pool3"),
        TO_LAST, ("Flatten", {}), ("Gemm", {"units": 5}), ("Relu", {"name": "fc3"}), GEMM,
    ],
    "batch norm, scale and bias": [
        conv(1, strides=[2, 2], bias=False), ("BatchNormalization", {"epsilon": 0.1}), relu(1),
        conv(2), ("Mul", {}), ("Add", {}), ("Sub", {}), ("BatchNormalization", {"name": "conv2"}),
        pool(2, "Max", 3, 2, name="pool1"),
        conv(3, maps=8, group=2), ("Div", {}), relu(3), ("Flatten", {}), GEMM,
    ],
    "relus of other kinds, before and after pools": [
        conv(1, strides=[2, 2]), ("LeakyRelu", {"name": "conv1", "alpha": 0.125}),
        pool(1, "Max", 2, 2, name="pooled1"), ("Clip", {"c": [0.0, 1.5], "name": "pool1"}),
        conv(2), pool(2, "Average", 2, 2, name="pooled2"), ("Max", {"c": [0.0]}),
        ("Min", {"c": [0.75], "name": "pool2"}),
        conv(3), ("PRelu", {"c": [[[0.5]]]}), ("PRelu", {"c": [np.full((7, 1, 1), 0.25)]}),
        ("Clip", {"c": [np.finfo(np.float32).min, 2.0], "name": "conv3"}), ("Flatten", {}),
        ("Gemm", {"units": 6}), ("Clip", {"c": [0.0, 6.0], "name": "fc4"}),
        ("Gemm", {"units": 5}), ("LeakyRelu", {"alpha": 0.5, "name": "fc5"}), GEMM,
    ],
    "norms and pools in any order and number": [
        conv(1, strides=[2, 2]), ("LRN", {"size": 3, "alpha": 0.5, "name": "norm1"}),
        pool(1, "Max", 3, 2, name="pooled1"), ("Relu", {"name": "pool1"}),
        ("LRN", {"size": 5, "alpha": 0.25, "bias": 2.0, "name": "norm1_2"}),
        pool(1, "Average", 2, 1, name="pool1_2"),
        conv(2), relu(2), ("LRN", {"size": 3, "alpha": 0.5, "beta": 0.5}),
        ("Relu", {"name": "norm2"}), pool(2, "Max", 2, 1), ("Flatten", {}), GEMM,
    ],
    "scales that are part of what follows, or of nothing": [
        ("BatchNormalization", {}),
        conv(1, strides=[2, 2], pads=[1] * 4), relu(1), ("BatchNormalization", {}),
        conv(2, maps=6, name="filtered2"), relu(2), pool(2, "Max", 2, 2),
        ("BatchNormalization", {}), ("Sub", {}), ("Relu", {"name": "affine2"}),
        conv(3, maps=6, group=3, pads=[1] * 4), relu(3), ("Mul", {}),
        conv(4, pads=[1] * 4), relu(4), ("BatchNormalization", {}), ("Flatten", {}),
        ("Gemm", {"units": 5}), ("Mul", {}), ("Add", {}), ("Relu", {"name": "fc5"}),
        ("BatchNormalization", {}), ("Mul", {}), ("Sub", {}), ("Dropout", {}), GEMM,
    ],
}  # fmt: skip


def imported(path, folder, options) -> Run:
    base = zfnet.get_config()
    read = importing.from_pytorch if path.suffix == ".safetensors" else importing.from_onnx
    write.write_workdir(folder, read(path, options, base), base)
    return open_run(folder)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_answers_alike_and_comes_back_identical(name, tmp_path):
    model = onnx_chains.build(CHAINS[name], SIZE)
    onnx.save(model, tmp_path / "net.onnx")
    run = imported(tmp_path / "net.onnx", tmp_path / "run", OPTIONS)
    photos = foreign.images(SIZE)  # as many as exports are compared with: one program for all
    logits, activations = run.forward(run.inputs(photos))
    ours = dict(activations) | {"logits": logits}
    x = foreign.nchw(photos, OPTIONS.mean, 60.0, bgr=False, crop=SIZE)
    each = [onnx_chains.answers(model, SIZE, 3, one[None]) for one in x]
    compared = {
        layer: np.concatenate([theirs[layer] for theirs in each])
        for layer in ours
        if layer in each[0]
    }
    assert "logits" in compared
    assert len(compared) > 3
    foreign.same(ours, compared)
    for exporting, file in ((exporter, "again.onnx"), (safetensors, "again.safetensors")):
        assert exporting.export(run, tmp_path / file) < 1e-5
        again = imported(tmp_path / file, tmp_path / file[6:], importing.Options())
        assert again.architecture == run.architecture
        np.testing.assert_array_equal(again.forward(again.inputs(photos))[0], logits)


CHAINS_DRAWN = int(os.environ.get("ZFNET_CHAINS", "6"))
HAS_DYNAMO = "ZFNET_CHAINS" in os.environ and importlib.util.find_spec("onnxscript") is not None


@pytest.mark.parametrize("seed", range(CHAINS_DRAWN))
def test_a_random_chain_of_pytorch(seed, tmp_path):
    """Every activation, by its place in PyTorch's net; of every fourth chain the studies that
    compute parts of maps alone."""
    chain = random_chains.draw(seed)
    chain.export(tmp_path / "net.onnx", dynamo=HAS_DYNAMO and seed >= CHAINS_DRAWN // 2)
    options = dataclasses.replace(OPTIONS, image_size=chain.size)
    if chain.channels == 1:
        options = dataclasses.replace(options, bgr=None, mean=np.array([110], np.float32))
    run = imported(tmp_path / "net.onnx", tmp_path / "run", options)
    assert run.architecture.classifier == chain.classifier
    photos = foreign.images(chain.size, 2)
    seen = photos.mean(3, keepdims=True) if chain.channels == 1 else photos
    x = foreign.nchw(seen, options.mean, 60.0, bgr=False, crop=chain.size)
    theirs = chain.answers(torch.from_numpy(x))
    logits, activations = run.forward(run.inputs(photos))
    ours = {name: maps for name, maps in activations.items() if not name.startswith("switches")}
    if chain.classifier != "none":
        ours["logits"] = logits
    folded = {name for name in theirs.keys() - ours.keys() if name.startswith("affine")}
    assert ours.keys() == theirs.keys() - folded
    foreign.same(ours, {name: theirs[name] for name in ours})
    exporter.export(run, tmp_path / "again.onnx")
    again = imported(tmp_path / "again.onnx", tmp_path / "again", importing.Options())
    assert again.architecture == run.architecture
    jax.tree.map(np.testing.assert_array_equal, dict(again.params), dict(run.params))
    np.testing.assert_array_equal(again.inputs(photos), run.inputs(photos))
    if seed % 4 == 1:
        layer = run.architecture.map_layers[-1]
        check_single_units(run, activations, layer)
        check_occlusion(run, np.asarray(run.inputs(photos)), layer)


def check_single_units(run: Run, activations, layer: str) -> None:
    """Projected alone they are what they are among whole maps."""
    maps = np.asarray(activations[layer])
    rows, columns = (np.array([0, size - 1]) for size in maps.shape[1:3])
    image = np.array([0, 1])
    index = maps[image, rows, columns].argmax(axis=1)
    seed = np.zeros_like(maps)
    seed[image, rows, columns, index] = 1
    net, params, size = run.architecture, run.params, run.input_size
    full = deconvnet.project(net, params, activations, layer, seed, size)
    alone = Units(image, index, rows, columns, np.ones(2, np.float32))
    cropped = project_units(net, params, activations, layer, alone, size)
    field = [geometry.receptive_field(net, layer, axis) for axis in (0, 1)]
    scale = max(float(np.abs(full).max()), 1e-3)
    for n in range(2):
        (top, bottom), (left, right) = (
            side.window(int(place)) for side, place in zip(field, (rows[n], columns[n]))
        )
        expected = window_of(np.asarray(full[n]), np.array((top, left, bottom, right)), 0)
        np.testing.assert_allclose(cropped[n], expected, rtol=0, atol=1e-5 * scale)


def check_occlusion(run: Run, images: np.ndarray, layer: str) -> None:
    """Squares whose windows alone are recomputed answer as photos that they are drawn on."""
    square, far = 5, images.shape[1] - 5
    grid = Grid(run.input_size, (0, far), (2, far), square)
    fill, number = np.full_like(images, -1), np.array([0, 1])
    places = np.stack(np.mgrid[:2, :2, :2]).reshape(3, -1)
    photos = unoccluded(run.net, run.params, images, fill, grid, layer, number)
    logits, activity = occluded(run.net, run.params, photos, grid, layer, Squares(*places))
    covered = images[places[0]]
    for one, row, column in zip(covered, places[1], places[2]):
        one[grid.rows[row] :, grid.columns[column] :][:square, :square] = -1
    expected, activations = run.forward(covered)
    maps = np.asarray(activations[layer])
    sums = maps[np.arange(len(maps)), :, :, number[places[0]]].sum(axis=(1, 2))
    for found, plain in ((logits, expected), (activity, sums)):
        scale = max(float(np.abs(plain).max(initial=0)), 1e-3)
        np.testing.assert_allclose(found, plain, rtol=0, atol=1e-4 * scale)


def test_a_net_of_grey_images_takes_the_mean_of_colours(tmp_path):
    """Nobody asks for an order; its projections are grey."""
    model = onnx_chains.build(CHAINS["batch norm, scale and bias"], SIZE, channels=1)
    onnx.save(model, tmp_path / "net.onnx")
    options = dataclasses.replace(OPTIONS, bgr=None, mean=np.array([33.0], np.float32))
    run = imported(tmp_path / "net.onnx", tmp_path / "run", options)
    photos = foreign.images(SIZE, 1)
    logits, activations = run.forward(run.inputs(photos))
    x = foreign.nchw(photos.mean(3, keepdims=True), 33, 60.0, bgr=False, crop=SIZE)
    theirs = onnx_chains.answers(model, SIZE, 1, x)
    names = ("conv1", "conv2", "conv3", "logits")
    foreign.same(dict(activations) | {"logits": logits}, {name: theirs[name] for name in names})
    active = int(np.asarray(activations["conv3"]).max(axis=(0, 1, 2)).argmax())
    seed = units.strongest_unit(activations["conv3"], active)
    pixels = deconvnet.project(
        run.architecture, run.params, activations, "conv3", seed, run.input_size
    )
    assert np.abs(pixels).max() > 0
    np.testing.assert_allclose(pixels, np.broadcast_to(pixels[..., :1], pixels.shape), atol=1e-6)


def architecture_of(name: str, folder) -> Architecture:
    onnx.save(onnx_chains.build(CHAINS[name], SIZE), folder / "net.onnx")
    net = importing.from_onnx(folder / "net.onnx", OPTIONS, zfnet.get_config()).net
    return architecture.from_config(ConfigDict(net.model), net.classes)


def test_which_layers_have_a_relu(tmp_path):
    net = architecture_of("no relu, and one after its max pool", tmp_path)
    first, second, third = net.convs
    assert first.then == (Pool(2, 2),)
    assert second.then == (Pool(3, 2), RELU)
    assert third.then == (Pool(2, 1, kind="average", counts_padding=False),)
    assert net.dense_then == (None,)
    assert net.switched == ("conv1", "conv2")


def test_what_follows_the_filters_in_order(tmp_path):
    net = architecture_of("relus of other kinds, before and after pools", tmp_path)
    first, second, third = (conv.then for conv in net.convs)
    assert first == (Rectifier(0.125), Pool(2, 2), Rectifier(cap=1.5))
    assert second[1:] == (Rectifier(cap=0.75),)
    assert third == (Rectifier(0.125, cap=2.0),)
    assert net.dense_then == (Rectifier(cap=6.0), Rectifier(0.5))
    net = architecture_of("scales that are part of what follows, or of nothing", tmp_path)
    second = [type(part) for part in net.convs[1].then]
    assert second == [Rectifier, Pool, Affine, Rectifier]  # the others are folded
    assert all(conv.then == (RELU,) for conv in (net.convs[0], *net.convs[2:]))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([TO_FIRST, conv(1), TO_LAST, ("LRN", {"size": 3, "name": "norm"})],
         "LRN logits: it reads maps whose channels are last"),
        ([conv(1), ("Transpose", {"perm": [0, 1, 3, 2], "name": "t"}), relu(1)],
         r"Transpose t: a transposition \[0, 1, 3, 2\]"),
        ([conv(1), pool(1, "Max", 17, 1), ("Flatten", {}), GEMM],
         "MaxPool pool1: a max pool of 17 x 17 pixels of 38 x 38; 256 at most, 16 x 16, are known"),
        ([conv(1), pool(1, "Max", 3, 1, dilations=[1, 2]), ("Flatten", {}), GEMM],
         r"MaxPool pool1: a pool whose dilations are \[1, 2\]"),
        ([conv(1), ("BatchNormalization", {"training_mode": 1})],
         "BatchNormalization logits: a batch norm as in training; export the net for evaluation"),
        ([conv(1), zeros(1, 1, 0, 0), pool(1, "Max", 2, 2), ("Flatten", {}), GEMM],
         "Pad Pad_1: zeros around maps that no layer after it can take"),
        ([conv(1), relu(1), zeros(0, 1, 0, 1), pool(1, "Max", 3, 2, ceil_mode=1)],
         "Pad Pad_2: zeros around maps"),
        ([conv(1), ("Pad", {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "mode": "reflect"}), conv(2)],
         "Pad Pad_1: it pads with reflect, expected 0"),
        ([conv(1), ("Pad", {"pads": [0, 0, -1, 0, 0, 0, 0, 0]}), conv(2)],
         r"Pad Pad_1: its pads are .*, expected some of rows and columns"),
        ([conv(1), ("LeakyRelu", {"alpha": -1.0, "name": "leaky"})],
         "LeakyRelu logits: its slope is -1, expected 0 or more"),
        ([conv(1), ("PRelu", {"c": [np.array([0.1, 0.2, 0, 0, 0]).reshape(5, 1, 1)]})],
         "PRelu logits: 3 slopes; one for all maps is known"),
        ([conv(1), ("Clip", {"c": [-1.0, 1.0]})],
         "Clip logits: values below -1 become that; expected 0"),
        ([conv(1), ("LRN", {"size": 2, "name": "norm"}), relu(1)],
         "LRN norm: contrast_norm.maps must be odd and positive, got 2"),
        ([conv(1), ("Flatten", {}), ("Gemm", {"units": 5}), ("Clip", {"c": [0.0, 0.0]}), GEMM],
         "Clip Clip_3: a relu's cap must be more than 0, got 0"),
        ([conv(1), ("Flatten", {}), ("Gemm", {"units": 5}), ("Relu", {}), ("Mul", {"name": "mul"}),
          ("Relu", {}), GEMM],
         "Mul mul: a batch norm, scale or bias that no layer straight before or after it can take"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_named(nodes, message, tmp_path):
    onnx.save(onnx_chains.build(nodes, SIZE), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=message):
        importing.from_onnx(tmp_path / "net.onnx", OPTIONS, zfnet.get_config())


def test_pytorchs_contrast_norm_is_one_node(tmp_path):
    """Its exporter makes a dozen of it."""
    norm = torch.nn.LocalResponseNorm(5, alpha=0.25, beta=0.5, k=2.0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), norm, torch.nn.ReLU())
    random_chains.Chain(net.eval(), 3, 9, "none").export(tmp_path / "net.onnx", dynamo=False)
    _, found, _ = reader.read(tmp_path / "net.onnx").chain
    assert (found.size, found.k, found.alpha, found.beta) == (5, 2.0, 0.25, 0.5)


def test_a_pool_whose_only_window_is_partial():
    link = WindowPool("pool", "max", 2, 2, 0, ceil=True)
    assert same_pool(link, (1, 4), 8) == Pool(2, 2, rounding="ceil")
