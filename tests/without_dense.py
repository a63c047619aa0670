"""Tiny nets of convolutions alone as ONNX: some whose last maps are the class scores, and a trunk,
which has no classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from configs import zfnet
from tests import onnx_chains
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.importers import importing, write

SIZE = 48  # pixels of the crops that they see
MEAN, SCALE = (120.0, 110.0, 100.0), 60.0
CLASSES = 10  # of the built-in objects

_BODY: list[onnx_chains.Node] = [
    ("Conv", {"maps": 6, "kernel": 5, "strides": [2, 2], "pads": [2] * 4}),
    ("Relu", {"name": "conv1"}),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "name": "pool1"}),
    ("Conv", {"maps": 8, "kernel": 3}),
    ("Relu", {"name": "conv2"}),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "name": "pool2"}),
]
# NIN (Lin et al. 2013): a convolution of one pixel to a map a class, and the mean of each map.
MAPS: list[onnx_chains.Node] = [
    *_BODY,
    ("Dropout", {}),
    ("Conv", {"maps": CLASSES, "kernel": 1, "name": "conv3"}),
    ("GlobalAveragePool", {"name": "pool3"}),
    ("Flatten", {}),
]
TRUNK = _BODY
# Dense layers written as convolutions; the softmax says that their last maps are class scores.
CONVOLUTIONS: list[onnx_chains.Node] = [
    *_BODY,
    ("Conv", {"maps": 9, "kernel": 5}),
    ("Relu", {"name": "conv3"}),
    ("Conv", {"maps": CLASSES, "kernel": 1, "name": "conv4"}),
    ("Softmax", {"axis": 1}),
]
CHAINS = {"maps": MAPS, "trunk": TRUNK, "convolutions": CONVOLUTIONS}
Kind = Literal["maps", "trunk"]


def import_run(kind: Kind, folder: Path, prepared_dir: Path) -> Path:
    """The folder of the imported net's run, whose images are the built-in pictures."""
    onnx.save(onnx_chains.build(CHAINS[kind], SIZE), folder / "net.onnx")
    options = importing.Options(
        bgr=False, mean=np.array(MEAN, np.float32), scale=SCALE, image_size=64
    )
    if kind == "maps":
        names = open_prepared(prepared_dir, "validation").class_names
        (folder / "classes.txt").write_text("\n".join(names), encoding="utf-8")
        options = dataclasses.replace(options, class_names=folder / "classes.txt")
    base = zfnet.get_config()
    base.data.prepared_dir = str(prepared_dir)
    found = importing.from_onnx(folder / "net.onnx", options, base)
    write.write_workdir(folder / "run", found, base)
    return folder / "run"
