"""Caffe's files of 2013, 2014 and today are one net; which of a file's layers are the net's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import zfnet
from tests import caffe_nets, foreign
from zfnet_jax import model
from zfnet_jax.importers import importing
from zfnet_jax.importers.caffe_proto import message
from zfnet_jax.importers.write import Imported

INPUT = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 16 input_dim: 16\n'
TODAY = """
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 2 stride: 2 bias_term: false } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "n1" type: "LRN" bottom: "c1" top: "n1" lrn_param { local_size: 3 alpha: 2 k: 3 } }
layer { name: "p1" type: "Pooling" bottom: "n1" top: "p1"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "c2" type: "Convolution" bottom: "p1" top: "c2"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "p2" type: "Pooling" bottom: "c2" top: "p2"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "f" type: "InnerProduct" bottom: "p2" top: "f" inner_product_param { num_output: 5 } }
layer { name: "d" type: "Dropout" bottom: "f" top: "f" dropout_param { dropout_ratio: 0.25 } }
layer { name: "s" type: "InnerProduct" bottom: "f" top: "s" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "s" top: "prob" }
"""
# In 2013 all fields of a layer lay in one message, and padding was a layer, which here are two.
OF_2013 = """
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers { layer { name: "c1" type: "conv" num_output: 4 kernelsize: 3 stride: 2 biasterm: false
  weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1. } bottom: "pad1" top: "c1" }
layers { layer { name: "r1" type: "relu" } bottom: "c1" top: "c1" }
layers { layer { name: "n1" type: "lrn" local_size: 3 alpha: 2 k: 3 } bottom: "c1" top: "n1" }
layers { layer { name: "p1" type: "pool" pool: AVE kernelsize: 3 stride: 2 pad: 1 }
  bottom: "n1" top: "p1" }
layers { layer { name: "pad2" type: "padding" pad: 1 } bottom: "p1" top: "pad2" }
layers { layer { name: "c2" type: "conv" num_output: 6 kernelsize: 3 group: 2 }
  bottom: "pad2" top: "c2" }
layers { layer { name: "p2" type: "pool" kernelsize: 2 stride: 2 pool: MAX }
  bottom: "c2" top: "p2" }
layers { layer { name: "f" type: "innerproduct" num_output: 5 } bottom: "p2" top: "f" }
layers { layer { name: "d" type: "dropout" dropout_ratio: 0.25 } bottom: "f" top: "f" }
layers { layer { name: "s" type: "innerproduct" num_output: 3 } bottom: "f" top: "s" }
layers { layer { name: "prob" type: "softmax" } bottom: "s" top: "prob" }
"""
# As SPP-net's files: messages as of 2014 in layers as of 2013.
BETWEEN = (
    OF_2013.replace("num_output: 4 kernelsize: 3 stride: 2 biasterm: false",
                    "conv_param { num_output: 4 kernel_size: 3 stride: 2 pad: 2 bias_term: false }")
    .replace('{ layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }', "{}")
    .replace('bottom: "pad1"', 'bottom: "data"')
    .replace('"innerproduct" num_output: 5',
             '"inner_product" inner_product_param { num_output: 5 }')
    .replace("kernelsize: 2 stride: 2 pool: MAX",
             "pool_param { kernel_size: 2 stride: 2 pool: MAX }")
    .replace("local_size: 3 alpha: 2 k: 3", "lrn_param { local_size: 3 alpha: 2 k: 3 }")
    .replace("dropout_ratio: 0.25", "dropout_param { dropout_ratio: 0.25 }")
    .replace("layers {}", "")
)  # fmt: skip
OF_2014 = re.sub(
    r'type: "(\w+)"',
    lambda found: f"type: {found[1].replace('rP', 'r_P').upper()}",  # INNER_PRODUCT
    TODAY.replace("layer {", "layers {"),
)
SHAPES = {"c1": [(4, 3, 3, 3)], "c2": [(6, 2, 3, 3), (6,)], "f": [(5, 54), (5,)],
          "s": [(3, 5), (3,)]}  # fmt: skip
KINDS = {"c": ("conv", 4, "Convolution"), "f": ("innerproduct", 14, "InnerProduct")}


def stored(age: str = "today", **more: list[np.ndarray]):
    """The weights, random, as a file of an age has them; `more` of layers by name."""
    net, rng = message("NetParameter")(name="net"), np.random.default_rng(0)
    arrays = {name: [rng.normal(size=shape) for shape in shapes] for name, shapes in SHAPES.items()}
    for name, values in (arrays | more).items():
        kinds = KINDS["c" if name.startswith("c") else "f"]
        if age == "2013":
            layer = net.layers.add().layer
        else:
            layer = (net.layers if age == "2014" else net.layer).add()
        layer.name, layer.type = name, kinds[("2013", "2014", "today").index(age)]
        for array in values:
            blob = layer.blobs.add(data=array.ravel().tolist())
            if age == "today":
                blob.shape.dim.extend(array.shape)
            else:
                shape = (1,) * (4 - array.ndim) + array.shape
                blob.num, blob.channels, blob.height, blob.width = shape
    return net


def imported(folder: Path, text: str, net, output: str | None = None, **options) -> Imported:
    paths = caffe_nets.save(folder, text, net)
    known = {"bgr": True, "mean": np.zeros(3, np.float32), "image_size": 16} | options
    return importing.from_caffe(
        paths[1],
        importing.Options(prototxt=paths[0], output=output, **known),
        zfnet.get_config(),
    )


def answers(found: Imported, x: np.ndarray):
    net = model.from_config(ConfigDict(found.net.model), found.net.classes)
    return net.apply({"params": found.net.params}, x)


@pytest.mark.parametrize(
    ("text", "age"),
    [(OF_2014, "2014"), (OF_2013, "2013"), (BETWEEN, "2013"), (TODAY, "2013"), (OF_2013, "today")],
    ids=["2014", "2013", "between", "old weights", "old architecture"],
)
def test_one_net_of_any_age(text, age, tmp_path):
    expected = imported(tmp_path, INPUT + TODAY, stored())
    assert expected.net.model["conv1"]["padding"] == 2
    found = imported(tmp_path, INPUT + text, stored(age))
    assert found.net.model == expected.net.model
    for layer, leaves in expected.net.params.items():
        for name, leaf in leaves.items():
            np.testing.assert_array_equal(found.net.params[layer][name], leaf, err_msg=layer)


def test_it_answers_as_opencv(tmp_path):
    pytest.importorskip("cv2", reason="OpenCV before 5 is not installed (zfnet_jax[test])")
    net = stored()
    found = imported(tmp_path, INPUT + TODAY.replace(" k: 3", ""), net)  # OpenCV takes k as 1
    x = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype(np.float32)
    paths = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    bgr = np.ascontiguousarray(x[..., ::-1].transpose(0, 3, 1, 2))
    logits, activations = answers(found, x)
    theirs = caffe_nets.answers(paths, bgr, {"pool1": "p1", "pool2": "p2", "logits": "s"})
    foreign.same(activations | {"logits": logits}, theirs)


def test_layers_of_other_phases_levels_and_stages_are_no_part_of_the_net(tmp_path):
    """As files of training have them: data twice, losses and accuracies beside the scores."""
    source = (
        'layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ {} }}'
        " transform_param {{ crop_size: {} scale: 0.5 }} }}\n"
    )
    wrong = 'layer {{ name: "w{0}" type: "Sigmoid" bottom: "c2" top: "c2" {1} }}\n'
    beside = (
        'layer { name: "acc" type: "Accuracy" bottom: "s" bottom: "label" top: "acc" }\n'
        'layer { name: "aux" type: "EuclideanLoss" bottom: "p1" bottom: "p1" top: "aux" }\n'
        'layer { name: "quiet" type: "Silence" bottom: "aux" }\n'
    )
    rules = (
        "include { phase: TRAIN }", "exclude { phase: TEST }", "include { min_level: 1 }",
        'include { phase: TEST stage: "deploy" }', "include { max_level: -1 }",
        "include { phase: TRAIN } include { min_level: 2 }",
    )  # fmt: skip
    loss = TODAY.replace('"Softmax" bottom: "s"', '"SoftmaxWithLoss" bottom: "s" bottom: "label"')
    place = loss.index('layer { name: "p2"')
    text = source.format("phase: TRAIN", 12) + source.format("phase: TEST", 16) + loss[:place]
    text += "".join(wrong.format(n, rule) for n, rule in enumerate(rules)) + loss[place:] + beside
    found = imported(tmp_path, text, stored())
    expected = imported(tmp_path, INPUT + TODAY, stored())
    assert found.net.model == expected.net.model
    assert (found.preprocessing.crop, found.preprocessing.scale) == (16, 2.0)
    for rule in ('exclude { phase: TEST stage: "x" }', "include { phase: TEST max_level: 0 }", ""):
        with pytest.raises(ValueError, match="layer w0: a net of this family has no Sigmoid here"):
            imported(tmp_path, text + wrong.format(0, rule) + loss[place:], stored())
    # Of the image as training alone reads it.
    only = text.replace(source.format("phase: TEST", 16), "").replace(
        "crop_size: 12", "crop_size: 16"
    )
    assert imported(tmp_path, only, stored()).preprocessing.crop == 16


def test_what_is_done_to_pixels_before_the_first_layer_is_preprocessing(tmp_path):
    """A power of 1 and a batch norm: ((x - 10) * 0.5 * 0.25 - 3 - mean) / deviation."""
    power = (
        'layer { name: "k" type: "Power" bottom: "data" top: "k"'
        " power_param { scale: 0.25 shift: -3 } }\n"
    )
    norm = (
        'layer { name: "bn" type: "BatchNorm" bottom: "k" top: "k" batch_norm_param { eps: 0 } }\n'
    )
    net = TODAY.replace('"Convolution" bottom: "data"', '"Convolution" bottom: "k"')
    mean, variance = np.array([1.0, 2, 4]), np.array([4.0, 4, 16])  # blue, green, red
    weights = stored(bn=[mean * 5, variance * 5, np.array([5.0])])
    found = imported(
        tmp_path, INPUT + power + norm + net, weights, scale=2.0, mean=np.full(3, 10, np.float32)
    ).preprocessing
    deviation = np.sqrt(variance)[::-1]
    np.testing.assert_allclose(found.scale, 2 * 4 * deviation)
    np.testing.assert_allclose(found.mean, 10 + 2 * 4 * (3 + mean[::-1]), rtol=1e-6)
    shrunk = power.replace("shift: -3", "").replace("0.25", "0.00390625")
    found = imported(tmp_path, INPUT + shrunk + net, stored(), mean=None).preprocessing
    assert (set(found.scale), found.mean.tolist()) == ({256}, [0, 0, 0])
    with pytest.raises(ValueError, match="k: a batch norm, scale or bias that no layer"):
        imported(tmp_path, INPUT + power.replace("0.25", "-0.25") + net, stored())


def test_scales_biases_and_leaky_relus_between_layers(tmp_path):
    """Each in place after a convolution, a pool or a relu: as OpenCV, or as they are defined."""
    more = """
layer { name: "k" type: "Power" bottom: "c2" top: "c2" power_param { scale: -2 shift: 0.5 } }
layer { name: "l" type: "ReLU" bottom: "c2" top: "c2" relu_param { negative_slope: 0.25 } }
layer { name: "s2" type: "Scale" bottom: "c2" top: "c2" scale_param { bias_term: true } }
layer { name: "q" type: "PReLU" bottom: "c2" top: "c2" prelu_param { channel_shared: true } }
layer { name: "flat" type: "Reshape" bottom: "p2" top: "p2"
  reshape_param { shape { dim: 0 dim: -1 } } }
"""
    place = TODAY.index('layer { name: "p2"')
    flat = more.index('layer { name: "flat"')
    after = TODAY.index('layer { name: "f"')
    text = INPUT + TODAY[:place] + more[:flat] + TODAY[place:after] + more[flat:] + TODAY[after:]
    factor, shift = np.linspace(0.5, 2, 6), np.linspace(-1, 1, 6)
    found = imported(tmp_path, text, stored(s2=[factor, shift], q=[np.array([0.125])]))
    x = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype(np.float32)
    _, activations = answers(found, x)
    _, plain = answers(imported(tmp_path, INPUT + TODAY, stored()), x)
    expected = np.asarray(plain["conv2"], np.float64) * -2 + 0.5
    expected = np.where(expected > 0, expected, 0.25 * expected) * factor + shift
    expected = np.where(expected > 0, expected, 0.125 * expected)
    edge = ((0, 0), (0, 1), (0, 1), (0, 0))  # 5 x 5 units: the last windows are partial
    expected = np.pad(expected, edge, constant_values=-np.inf)
    expected = expected.reshape(2, 3, 2, 3, 2, 6).max(axis=(2, 4))
    np.testing.assert_allclose(activations["pool2"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "message_"),
    [
        ('bottom: "f" top: "s"', 'bottom: "f" bottom: "p2" top: "s"',
         r"layer s \(InnerProduct\) reads f, p2: the net is no chain"),
        ('bottom: "p1" top: "c2"', 'bottom: "q1" top: "c2"',
         r"layer c2 \(Convolution\) reads q1, which no layer makes and which is no input"),
        ('type: "Softmax" bottom: "s"', 'type: "Softmax" bottom: "t"',
         r"layer prob \(Softmax\) reads t, which no layer makes"),
        ('"ReLU"', '"TanH"', "layer r1: a net of this family has no TanH here"),
        ('"ReLU"', '"PReLU"', "layer r1: a PReLU of 0 slopes, expected one for all"),
        ('"ReLU"', '"Power" power_param { power: 2 }', "r1: a power of 2"),
        ('"ReLU"', '"Reshape" reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } }',
         "layer r1: a net of this family has no Reshape here"),
        ('layer { name: "c1"', 'layer { name: "photos" type: "Data" top: "data" transform_param {'
         ' scale: 0 } }\nlayer { name: "c1"',
         r"prototxt: layer photos: it multiplies pixels by a scale of 0 \(an arch"),
        # In place between the scores and the softmax: it was left out.
        ('layer { name: "prob"', 'layer { name: "r9" type: "ReLU" bottom: "s" top: "s" }\n'
         'layer { name: "prob"', "s: a relu or dropout follows the class scores"),
    ],
)  # fmt: skip
def test_what_is_no_chain_names_its_layer(old, new, message_, tmp_path):
    assert old in TODAY
    with pytest.raises(ValueError, match=message_):
        imported(tmp_path, INPUT + TODAY.replace(old, new, 1), stored())


def test_padding_that_no_convolution_reads(tmp_path):
    text = INPUT + OF_2013.replace('bottom: "pad2" top: "c2"', 'bottom: "p1" top: "c2"')
    text = text.replace('type: "relu" } bottom: "c1"', 'type: "relu" } bottom: "pad1"')
    with pytest.raises(ValueError, match=r"layer r1 \(ReLU\) reads pad1, which pads"):
        imported(tmp_path, text, stored("2013"))
