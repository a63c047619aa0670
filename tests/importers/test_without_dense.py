"""Nets of convolutions alone: their last maps are the class scores, or they are trunks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (zfnet_jax[import])")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (zfnet_jax[import])")
pytest.importorskip("torch", reason="PyTorch is not installed (zfnet_jax[import])")

import onnx
import torch

from configs import zfnet
from tests import caffe_nets, foreign, onnx_chains, without_dense
from tests.torch_nets import Vgg
from tests.without_dense import MEAN, SCALE, SIZE
from zfnet_jax.exporters import compiled, safetensors
from zfnet_jax.exporters import onnx as exporter
from zfnet_jax.importers import importing, write
from zfnet_jax.importers.assemble import assemble
from zfnet_jax.importers.chain import Filters, GlobalPool, Rectifier, Softmax, WindowPool
from zfnet_jax.runs.run import Run, open_run

OPTIONS = importing.Options(
    bgr=False, mean=np.array(MEAN, np.float32), scale=SCALE, image_size=SIZE
)


def imported(read, path, folder, options=OPTIONS) -> Run:
    base = zfnet.get_config()
    write.write_workdir(folder, read(path, options, base), base)
    return open_run(folder)


@pytest.mark.parametrize("kind", without_dense.CHAINS)
def test_it_answers_alike_and_comes_back_identical(kind, tmp_path):
    model = onnx_chains.build(without_dense.CHAINS[kind], SIZE)
    onnx.save(model, tmp_path / "net.onnx")
    run = imported(importing.from_onnx, tmp_path / "net.onnx", tmp_path / "run")
    photos = foreign.images(SIZE, 2)
    x = foreign.nchw(photos, MEAN, SCALE, bgr=False, crop=SIZE)
    rows = [onnx_chains.answers(model, SIZE, 3, one[None]) for one in x]
    theirs = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    logits, activations = run.forward(run.inputs(photos))
    last = {"maps": "pool3", "trunk": "pool2", "convolutions": "conv4"}[kind]
    assert run.architecture.map_layers[-1] == last  # the scores are no maps
    end = theirs.pop("logits")  # what the graph puts out
    if kind == "trunk":
        assert run.config.model.classifier == "none"
        assert (logits.shape, logits.dtype, run.class_names) == ((2, 0), np.float32, ())
        theirs[last] = end
    else:
        assert run.config.model.classifier == "maps"
        scores = end if kind == "maps" else theirs["conv4"][:, :, 0, 0]
        foreign.same({"logits": logits}, {"logits": scores})
        assert len(run.class_names) == without_dense.CLASSES
    same = {name: theirs[name] for name in activations if name in theirs}
    assert {"conv1", "pool1", "conv2", last} <= same.keys()
    foreign.same(activations, same)
    assert compiled.export(run, tmp_path / "net.jax") < 1e-5
    for export, read, name in (
        (exporter.export, importing.from_onnx, "again.onnx"),
        (safetensors.export, importing.from_pytorch, "again.safetensors"),
    ):
        assert export(run, tmp_path / name) < 1e-5
        again = imported(read, tmp_path / name, tmp_path / name[6:], importing.Options())
        assert again.architecture == run.architecture
        assert again.class_names == run.class_names
        found, more = again.forward(again.inputs(photos))
        np.testing.assert_array_equal(found, logits)
        np.testing.assert_array_equal(more[last], activations[last])


def conv(name: str, inputs: int, maps: int, kernel: int, **given) -> Filters:
    weight = np.ones((maps, inputs, kernel, kernel), np.float32)
    return Filters(name, weight, np.zeros(maps, np.float32), stride=1, padding=0, **given)


HALVED = WindowPool("pool", "max", 2, 2, (0, 0), ceil=False)
RELU = Rectifier("relu")


@pytest.mark.parametrize(
    ("chain", "classifier"),
    [
        ([conv("a", 3, 4, 3), RELU, GlobalPool("mean", "average")], "maps"),
        ([conv("a", 3, 4, 3), RELU, dataclasses.replace(HALVED, kind="average", window=6)], "maps"),
        ([conv("a", 3, 4, 8)], "maps"),  # a dense layer, written as a convolution
        ([conv("a", 3, 4, 3), GlobalPool("mean", "average"), conv("b", 4, 5, 1)], "maps"),
        ([conv("a", 3, 4, 8), RELU, Softmax("softmax")], "maps"),
        ([conv("a", 3, 4, 3), RELU], "none"),
        ([conv("a", 3, 4, 3)], "none"),
        ([conv("a", 3, 4, 7), RELU, HALVED], "none"),  # a VGG's trunk on small images
        ([conv("a", 3, 4, 8), RELU], "none"),  # features of one unit each
    ],
)
def test_what_the_end_of_a_chain_means(chain, classifier):
    net = assemble(chain, 8, bgr=False, base=zfnet.get_config().model)
    assert net.model["classifier"] == classifier
    assert (
        net.classes
        == {"maps": len(net.params[f"conv{len(net.params)}"]["bias"]), "none": 0}[classifier]
    )


def test_class_scores_of_several_units_are_refused():
    with pytest.raises(ValueError, match=r"prob: class scores of 6 x 6 units each.*--crop"):
        assemble([conv("a", 3, 4, 3), Softmax("prob")], 8, bgr=False, base=zfnet.get_config().model)


def test_a_file_of_class_names_for_a_trunk_is_refused(tmp_path):
    onnx.save(onnx_chains.build(without_dense.TRUNK, SIZE), tmp_path / "net.onnx")
    (tmp_path / "names.txt").write_text("a\nb\n")
    options = dataclasses.replace(OPTIONS, class_names=tmp_path / "names.txt")
    with pytest.raises(ValueError, match=r"leave out --classes: net\.onnx has no classifier"):
        importing.from_onnx(tmp_path / "net.onnx", options, zfnet.get_config())


@pytest.mark.parametrize("names", ["features", ""])
def test_the_convolutions_of_a_preset_are_a_trunk(names, tmp_path):
    """As `net.state_dict()` without its dense layers has them, and `net.features.state_dict()`."""
    net, size = Vgg(11, norm=True), 64
    state = net.state_dict() if names else net.features.state_dict()
    state = {name: tensor for name, tensor in state.items() if "classifier" not in name}
    torch.save(state, tmp_path / "weights.pth")
    options = importing.Options(preset="torchvision_vgg11_bn", crop=size)
    run = imported(importing.from_pytorch, tmp_path / "weights.pth", tmp_path / "run", options)
    assert (run.config.model.classifier, run.class_names) == ("none", ())
    photos = foreign.images(256, 1)
    mean, scale = np.asarray(run.mean)[0, 0], run.config.augment.scale
    theirs, _ = net.answers(torch.from_numpy(foreign.nchw(photos, mean, scale, False, size)))
    del theirs["logits"]
    foreign.same(run.forward(run.inputs(photos))[1], theirs)


_CAFFE = """
input: "data" input_dim: 1 input_dim: 3 input_dim: 48 input_dim: 48
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" %s 5 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param {
  kernel_size: 3 stride: 2 } }
layer { name: "cccp2" type: "Convolution" bottom: "pool1" top: "cccp2" %s 1 } }
layer { name: "relu2" type: "ReLU" bottom: "cccp2" top: "cccp2" }
""" % (("convolution_param { num_output: 7 kernel_size:",) * 2)
_NIN = """
layer { name: "pool2" type: "Pooling" bottom: "cccp2" top: "pool2" pooling_param {
  pool: AVE global_pooling: true } }
layer { name: "prob" type: "Softmax" bottom: "pool2" top: "prob" }
"""


@pytest.mark.parametrize(("text", "output", "classifier"), [
    (_CAFFE, None, "none"), (_CAFFE + _NIN, None, "maps"), (_CAFFE + _NIN, "relu2", "none"),
])  # fmt: skip
def test_caffe_nets_without_dense_layers(text, output, classifier, tmp_path):
    paths = caffe_nets.save(tmp_path, text, caffe_nets.weights(text))
    options = dataclasses.replace(OPTIONS, prototxt=paths[0], output=output)
    run = imported(importing.from_caffe, paths[1], tmp_path / "run", options)
    assert run.config.model.classifier == classifier
    layers = {"conv1": "relu1", "pool1": "pool1", "conv2": "relu2"}
    layers |= {"pool2": "pool2"} if classifier == "maps" else {}
    photos = foreign.images(SIZE, 1)
    x = foreign.nchw(photos, MEAN, SCALE, bgr=False, crop=SIZE)
    logits, activations = run.forward(run.inputs(photos))
    pytest.importorskip("cv2", reason="OpenCV before 5 is not installed (zfnet_jax[test])")
    theirs = caffe_nets.answers(paths, x, layers)
    foreign.same(activations, theirs)
    if classifier == "maps":
        foreign.same({"logits": logits}, {"logits": theirs["pool2"][:, :, 0, 0]})
