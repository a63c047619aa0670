"""Layers of imported nets by the names that they have where they come from."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (zfnet_jax[import])")

import onnx
from onnx import helper, numpy_helper

from configs import quickstart, zfnet
from tests import fake_mined
from zfnet_jax import architecture
from zfnet_jax.exporters import onnx as exporter
from zfnet_jax.importers import importing, onnx_names, write
from zfnet_jax.report import figures
from zfnet_jax.runs import origins
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies.features import chosen
from zfnet_jax.studies.features.figure import figure2
from zfnet_jax.studies.features.winners import load
from zfnet_jax.studies.invariance import study as invariance
from zfnet_jax.studies.invariance.options import PhotoOptions
from zfnet_jax.studies.layers import strongest
from zfnet_jax.studies.layers.strongest_figure import figure_strongest
from zfnet_jax.studies.occlusion import study as occlusion
from zfnet_jax.studies.occlusion.options import Options
from zfnet_jax.training.start import from_net, in_our_names

# A net whose conv2 is our conv3.
NODES = (
    ("Conv", "/stem/stem.0/Conv"),
    ("Relu", "/stem/stem.1/Relu"),
    ("Conv", "Conv_2"),
    ("Relu", "Relu_3"),
    ("MaxPool", "/pool/MaxPool"),
    ("Conv", "/conv2/Conv"),
    ("Relu", "/Relu"),
)
NAMED = {"conv1": "stem.0", "pool2": "pool", "conv3": "conv2"}
LISTED = r"conv1 \(stem\.0\), conv2, conv3 \(conv2\)"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, rng = tmp_path_factory.mktemp("origins"), np.random.default_rng(0)
    nodes, tensors, maps, last = [], [], 3, "image"
    for number, (kind, name) in enumerate(NODES):
        given, more = [last], {}
        if kind == "Conv":
            weight = rng.normal(size=(4, maps, 3, 3)).astype(np.float32)
            tensors.append(numpy_helper.from_array(weight, f"onnx::Conv_{number}"))
            given, maps = [last, f"onnx::Conv_{number}"], 4
        elif kind == "MaxPool":
            more = {"kernel_shape": [2, 2], "strides": [2, 2]}
        last = f"out{number}"
        nodes.append(helper.make_node(kind, given, [last], name=name, **more))
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("image", [1, 3, 16, 16]), (last, None))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph), folder / "net.onnx")
    mean = np.full(3, 120, np.float32)
    options = importing.Options(bgr=False, mean=mean, scale=60.0, image_size=16)
    return imported(folder / "net.onnx", folder / "run", options)


def imported(path, folder, options) -> Run:
    base = zfnet.get_config()
    write.write_workdir(folder, importing.from_onnx(path, options, base), base)
    return open_run(folder)


def test_an_imported_net_keeps_its_names_and_takes_them_along(run, tmp_path):
    assert run.origins == NAMED
    assert json.loads((run.directory / "run.json").read_text())["origins"] == NAMED
    exporter.export(run, tmp_path / "net.onnx")
    again = imported(tmp_path / "net.onnx", tmp_path / "run", importing.Options())
    assert again.origins == NAMED


def test_a_layer_is_found_by_either_name_and_ours_counts_first(run):
    layers = run.architecture.layers
    found = {name: run.layer(name, layers) for name in ("stem.0", "conv3", "conv2", "pool")}
    assert found == {"stem.0": "conv1", "conv3": "conv3", "conv2": "conv2", "pool": "pool2"}
    with pytest.raises(ValueError, match=f"no layer 'stem.1': the net has {LISTED}"):
        strongest.strongest_maps(run, np.zeros((16, 16, 3), np.uint8), 2, ["stem.1"])
    # What tells results apart has our names.
    assert occlusion.resolved(run, Options(("a.png",), layer="pool")).layer == "pool2"
    curves = invariance.resolved(run, PhotoOptions(layers=("stem.0", "conv3")))
    assert curves.layers == ("conv1", "conv3")


def test_what_is_drawn_says_both(tmp_path):
    arrays = {"photo": np.zeros((16, 16, 3), np.uint8), "probabilities": np.zeros(0)}
    arrays |= {"layers": np.array(["conv1", "conv2"])}
    for layer, size in (("conv1", 3), ("conv2", 5)):
        arrays |= {
            f"{layer}/map": np.array([0]),
            f"{layer}/activation": np.array([1.0]),
            f"{layer}/window": np.array([[2, 2, 2 + size, 2 + size]]),
            f"{layer}/projection": np.ones((1, 16, 16, 3)),
        }
    with figures.use("screen"):
        texts = [text.get_text() for text in figure_strongest(arrays, NAMED).axes[0].texts]
    assert "Layer 1 (stem.0): a unit sees 3 x 3 pixels" in texts
    assert "Layer 2: a unit sees 5 x 5 pixels" in texts

    mined = load(fake_mined.write_mined(tmp_path, step=10, epoch=1.0))
    (tmp_path / "run.json").write_text(json.dumps(origins.record({"conv2": "b:c"})))
    maps = chosen.named_maps(mined, ["b:c:5,7", "conv1:1"])
    assert {layer: list(numbers) for layer, numbers in maps.items()} == {
        "conv2": [5, 7],
        "conv1": [1],
    }
    with pytest.raises(ValueError, match=r"the layers are conv1, conv2 \(b:c\)"):
        chosen.named_maps(mined, ["c:1"])
    with figures.use("screen"):
        texts = [text.get_text() for text in figure2(mined, maps).axes[0].texts]
    assert any(text.startswith("Layer 2 (b:c): 2 of 40 maps") for text in texts)
    assert any(text.startswith("Layer 1: 1 of 6 maps") for text in texts)


def test_a_config_names_layers_as_the_net_that_it_starts_from(tmp_path):
    net = architecture.from_config(quickstart.get_config().model, classes=10)
    config = quickstart.get_config()
    config.init_from, config.frozen = str(tmp_path), ("features.0", "conv2")
    config.init_layers = ("classifier.6",)
    assert in_our_names(config, net) is config  # there are no other names
    named = {"conv1": "features.0", "logits": "classifier.6"}
    (tmp_path / "run.json").write_text(json.dumps(origins.record(named)))
    ours = in_our_names(config, net)
    assert (ours.frozen, ours.init_layers) == (("conv1", "conv2"), ("logits",))
    assert config.frozen == ("features.0", "conv2")
    # Once it has begun the run's own folder has them, wherever it started from.
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "run.json").write_text(json.dumps({"init_from": origins.record(named)}))
    config.init_from = str(tmp_path / "gone")
    assert in_our_names(config, net, begun).frozen == ("conv1", "conv2")
    config.frozen = ("features.3",)
    with pytest.raises(ValueError, match=r"names 'features.3', but the layers are conv1 \(feat"):
        in_our_names(config, net, begun)


def test_what_starts_from_a_net_keeps_the_names_of_what_it_takes_over(run):
    config = quickstart.get_config()
    config.init_from, config.init_layers = str(run.directory), ("conv1", "conv2")
    config.augment.scale = run.config.augment.scale
    mean = np.zeros((16, 16, 3), np.float32)
    start = from_net(config, run.architecture, run.params, (), mean)
    assert origins.recorded({"init_from": start.record}) == {"conv1": "stem.0", "pool2": "pool"}


def test_names_that_tell_nothing_are_left_out():
    pairs = [("conv1", "0"), ("conv2", "conv2"), ("pool2", "conv2"), ("conv3", "a"), ("pool3", "a")]
    assert origins.from_names([*pairs, ("conv4", ""), ("fc5", "fc6")]) == {
        "conv3": "a",
        "fc5": "fc6",
    }


@pytest.mark.parametrize(
    ("kind", "name", "weight", "expected"),
    [
        ("Conv", "/features/features.0/Conv", "onnx::Conv_43", "features.0"),
        ("Conv", "/features/features.3/features.3.0/Conv", "w", "features.3.0"),
        ("Conv", "/layer1/layer1.0/conv1/Conv", "w", "layer1.0.conv1"),
        ("MaxPool", "/features/features.2/MaxPool", "", "features.2"),
        ("MaxPool", "/MaxPool_1", "", ""),  # a function's
        ("Conv", "Conv_0", "conv1.0.weight", "conv1.0"),
        ("Conv", "node_conv2d_1", "block.conv.weight", "block.conv"),  # PyTorch's newer exporter
        ("Conv", "node_Conv_12", "val_3", ""),
        ("MaxPool", "node_max_pool2d", "", ""),
        ("Conv", "Conv_0", "onnx::Conv_43", ""),
        ("Conv", "", "conv1_w_0", ""),  # Caffe2's
        ("Conv", "vgg0_conv0_fwd", "vgg0_conv0_weight", "vgg0_conv0_fwd"),  # MXNet's
        ("Conv", "StatefulPartitionedCall/net/block1_conv1/BiasAdd", "w", "block1_conv1"),
        ("MatMul", "sequential/dense/MatMul", "w", "dense"),
    ],
)
def test_what_nodes_are_called(kind, name, weight, expected):
    node = SimpleNamespace(op_type=kind, name=name, input=["x", weight] if weight else ["x"])
    assert onnx_names.of_node(node, {weight}) == expected
