"""ZF of py-faster-rcnn and AlexNet of BVLC as Caffe's files, with few maps; OpenCV runs them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tests.foreign import CLASSES, DENSE, MAPS, draw_weights
from zfnet_jax.importers.caffe_proto import message

# ZF (models/pascal_voc/ZF/faster_rcnn_alt_opt/faster_rcnn_test.pt), the region proposals included.
_ZF_LRN = (
    "lrn_param { local_size: 3 alpha: 0.00005 beta: 0.75 norm_region: WITHIN_CHANNEL"
    " engine: CAFFE }"
)
_ALEXNET_LRN = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"


def _layer(name: str, kind: str, bottom: str, top: str, fields: str = "") -> str:
    bottoms = " ".join(f'bottom: "{b}"' for b in bottom.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top}" {fields} }}\n'


def _conv(n: int, bottom: str, k: int, pad: int, stride: int, group: int = 1) -> str:
    fields = f"num_output: {MAPS[n - 1]} kernel_size: {k} pad: {pad} stride: {stride}"
    fields = f"convolution_param {{ {fields} group: {group} }} param {{ lr_mult: 1.0 }}"
    conv = _layer(f"conv{n}", "Convolution", bottom, f"conv{n}", fields)
    return conv + _layer(f"relu{n}", "ReLU", f"conv{n}", f"conv{n}")


def _norm(n: int, fields: str) -> str:
    return _layer(f"norm{n}", "LRN", f"conv{n}", f"norm{n}", fields)


def _pool(n: int, bottom: str, pad: int) -> str:
    fields = f"pooling_param {{ kernel_size: 3 stride: 2 pad: {pad} pool: MAX }}"
    return _layer(f"pool{n}", "Pooling", bottom, f"pool{n}", fields)


def _dense(n: int, bottom: str, units: int, scale_train: str) -> str:
    name = f"fc{n}"
    dropout = f"dropout_param {{ dropout_ratio: 0.5 {scale_train} }}"
    return (
        _layer(name, "InnerProduct", bottom, name, f"inner_product_param {{ num_output: {units} }}")
        + _layer(f"relu{n}", "ReLU", name, name)
        + _layer(f"drop{n}", "Dropout", name, name, dropout)
    )


def zf(size: int) -> str:
    """The detector: shared layers, region proposals, RoI pooling, two answers."""
    text = f'name: "ZF" input: "data" input_shape {{ dim: 1 dim: 3 dim: {size} dim: {size} }}\n'
    text += 'input: "rois" input_shape { dim: 1 dim: 5 }\n'
    text += _conv(1, "data", 7, 3, 2) + _norm(1, _ZF_LRN) + _pool(1, "norm1", 1)
    text += _conv(2, "pool1", 5, 2, 2) + _norm(2, _ZF_LRN) + _pool(2, "norm2", 1)
    text += _conv(3, "pool2", 3, 1, 1) + _conv(4, "conv3", 3, 1, 1) + _conv(5, "conv4", 3, 1, 1)
    text += _layer(
        "rpn_conv1", "Convolution", "conv5", "rpn_conv1",
        "convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 1 }",
    )  # fmt: skip
    text += _layer("rpn_relu1", "ReLU", "rpn_conv1", "rpn_conv1")
    text += _layer("rpn_prob", "Softmax", "rpn_conv1", "rpn_prob")
    text += _layer(
        "roi_pool5", "ROIPooling", "conv5 rois", "pool5",
        "roi_pooling_param { pooled_w: 6 pooled_h: 6 spatial_scale: 0.0625 }",
    )  # fmt: skip
    text += _dense(6, "pool5", DENSE[0], "scale_train: false")
    text += _dense(7, "fc6", DENSE[1], "scale_train: false")
    for name, units in (("cls_score", CLASSES), ("bbox_pred", 4 * CLASSES)):
        fields = f"inner_product_param {{ num_output: {units} }}"
        text += _layer(name, "InnerProduct", "fc7", name, fields)
    return text + _layer("cls_prob", "Softmax", "cls_score", "cls_prob")


def alexnet(size: int = 227) -> str:
    text = 'name: "AlexNet"\nlayer { name: "data" type: "Input" top: "data"'
    text += f" input_param {{ shape: {{ dim: 10 dim: 3 dim: {size} dim: {size} }} }} }}\n"
    text += _conv(1, "data", 11, 0, 4) + _norm(1, _ALEXNET_LRN) + _pool(1, "norm1", 0)
    text += _conv(2, "pool1", 5, 2, 1, 2) + _norm(2, _ALEXNET_LRN) + _pool(2, "norm2", 0)
    text += _conv(3, "pool2", 3, 1, 1) + _conv(4, "conv3", 3, 1, 1, 2)
    text += _conv(5, "conv4", 3, 1, 1, 2) + _pool(5, "conv5", 0)
    text += _dense(6, "pool5", DENSE[0], "") + _dense(7, "fc6", DENSE[1], "")
    fields = f"inner_product_param {{ num_output: {CLASSES} }}"
    text += _layer("fc8", "InnerProduct", "fc7", "fc8", fields)
    return text + _layer("prob", "Softmax", "fc8", "prob")


def weights(prototxt: str, first_scale: float = 1.0, old: bool = False, seed: int = 0):
    """A message with random tensors for every layer that has some; `old`: as files of 2014."""
    weight, bias = draw_weights(seed)
    net = message("NetParameter")(name="net")
    maps, groups = 3, 1
    for text in prototxt.splitlines():
        found = re.search(r'name: "(\w+)" type: "(Convolution|InnerProduct)" bottom: "(\w+)"', text)
        if not found:
            continue
        name, kind, bottom = found.groups()
        units = int(re.search(r"num_output: (\d+)", text)[1])
        if kind == "Convolution":
            k = int(re.search(r"kernel_size: (\d+)", text)[1])
            match = re.search(r"group: (\d+)", text)
            groups = int(match[1]) if match else 1
            inputs = MAPS[4] if name.startswith("rpn") else maps
            shape = (units, inputs // groups, k, k)
            maps = MAPS[4] if name.startswith("rpn") else units
        else:
            inputs = {"pool5": maps * 36, "fc6": DENSE[0], "fc7": DENSE[1]}[bottom]
            shape = (1, 1, units, inputs) if old else (units, inputs)
        array = weight(*shape[-4:], scale=first_scale if name == "conv1" else 1.0)
        if kind == "InnerProduct":
            array = weight(units, inputs).reshape(shape)
        if old:
            layer = net.layers.add(name=name, type={"Convolution": 4, "InnerProduct": 14}[kind])
        else:
            layer = net.layer.add(name=name, type=kind)
        for values, dims in ((array, shape), (bias(units), (units,))):
            blob = layer.blobs.add()
            blob.data.extend(values.ravel().tolist())
            if old:
                dims = (1,) * (4 - len(dims)) + tuple(dims)
                blob.num, blob.channels, blob.height, blob.width = dims
            else:
                blob.shape.dim.extend(dims)
    return net


def save(folder: Path, prototxt: str, net) -> tuple[Path, Path]:
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    paths[0].write_text(prototxt, encoding="utf-8")
    paths[1].write_bytes(net.SerializeToString())
    return paths


def answers(paths: tuple[Path, Path], x: np.ndarray, layers: dict[str, str]) -> dict:
    """Activations by our names, from OpenCV's layers of other names; RoIs are the whole image."""
    import cv2

    net = cv2.dnn.readNetFromCaffe(*map(str, paths))
    net.enableFusion(False)
    net.enableWinograd(False)
    rows = []
    for one in x:
        net.setInput(one[None], "data")
        if "rois" in paths[0].read_text():
            side = x.shape[2] - 1
            net.setInput(np.array([[0, 0, 0, side, side]], np.float32), "rois")
        rows.append([a.copy() for a in net.forward(list(layers.values()))])
    return {
        name: np.concatenate(parts).reshape(len(x), *parts[0].shape[1:])
        for name, parts in zip(layers, zip(*rows))
    }
