"""zfnet512 and AlexNet as ONNX graphs with few maps, in the manner of the model zoo's files."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests.foreign import CLASSES, DENSE, draw_weights

# (kernel, stride, padding, groups), maps, LRN alpha, pools by layer (window, stride, pads), and the
# nodes before the dense layers.
ZFNET512 = {
    "convs": [(7, 2, 0, 1), (5, 2, 0, 1), (3, 1, 1, 1), (3, 1, 1, 1), (3, 1, 1, 1)],
    "maps": (8, 10, 12, 12, 12),
    "alpha": 5e-4,
    "pools": {1: (3, 2, [0] * 4), 2: (3, 2, [0] * 4), 5: (2, 2, [0] * 4)},
    "flatten": [("Reshape", {})],
}
ALEXNET = {
    "convs": [(11, 4, 0, 1), (5, 1, 2, 2), (3, 1, 1, 1), (3, 1, 1, 2), (3, 1, 1, 2)],
    "maps": (8, 10, 12, 14, 6),
    "alpha": 1e-4,
    # Caffe's partial windows at the far edge, as converters write them.
    "pools": {n: (3, 2, [0, 0, 1, 1]) for n in (1, 2, 5)},
    # An adaptive pool that has nothing to do, as PyTorch writes it.
    "flatten": [
        ("AveragePool", {"kernel_shape": [1, 1], "strides": [1, 1]}),
        ("Flatten", {"axis": 1}),
    ],
}


def build(net: dict, size: int = 224, seed: int = 0) -> onnx.ModelProto:
    weight, bias = draw_weights(seed)
    nodes, tensors, x, channels = [], {}, "gpu_0/data_0", 3

    def add(kind: str, name: str, inputs: list[str], **attributes) -> str:
        outputs = [name, name + "_mask"] if kind == "Dropout" else [name]
        nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return name

    for n, ((k, stride, pad, groups), maps) in enumerate(zip(net["convs"], net["maps"]), start=1):
        name = f"gpu_0/conv{n}"
        tensors[f"{name}_w_0"] = weight(maps, channels // groups, k, k)
        tensors[f"{name}_b_0"] = bias(maps)
        x = add(
            "Conv", f"{name}_1", [x, f"{name}_w_0", f"{name}_b_0"], group=groups,
            kernel_shape=[k, k], strides=[stride] * 2, pads=[pad] * 4,
        )  # fmt: skip
        x = add("Relu", f"conv{n}", [x])
        if n < 3:
            x = add("LRN", f"norm{n}", [x], size=5, alpha=net["alpha"], beta=0.75, bias=2.0)
        if n in net["pools"]:
            window, step, pads = net["pools"][n]
            x = add(
                "MaxPool", f"pool{n}", [x],
                kernel_shape=[window] * 2, strides=[step] * 2, pads=pads,
            )  # fmt: skip
        channels = maps
    tensors["shape"] = np.array([-1, channels * 36], np.int64)
    for kind, attributes in net["flatten"]:
        x = add(kind, f"flat_{kind}", [x, "shape"] if kind == "Reshape" else [x], **attributes)
    units = (channels * 36, *DENSE, CLASSES)
    for n, (inputs, outputs) in enumerate(itertools.pairwise(units), start=6):
        tensors[f"fc{n}_w"], tensors[f"fc{n}_b"] = weight(outputs, inputs), bias(outputs)
        last = n == 8
        x = add("Gemm", "logits" if last else f"sums{n}", [x, f"fc{n}_w", f"fc{n}_b"], transB=1)
        if not last:
            x = add("Relu", f"fc{n}", [x])
            x = add("Dropout", f"dropped{n}", [x], ratio=0.5)
    add("Softmax", "gpu_0/softmax_1", [x], axis=1)
    pixels = helper.make_tensor_value_info("gpu_0/data_0", TensorProto.FLOAT, [1, 3, size, size])
    initializers = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    # Files of that time list their tensors among the inputs, too.
    inputs = [pixels] + [
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in initializers
    ]
    output = helper.make_tensor_value_info("gpu_0/softmax_1", TensorProto.FLOAT, [1, CLASSES])
    graph = helper.make_graph(nodes, "net", inputs, [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)


def answers(model: onnx.ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    """All named activations, run by onnxruntime."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    names = [
        name
        for node in model.graph.node
        for name in node.output
        if name == "logits" or (name[:4] in ("conv", "norm", "pool") or name[:2] == "fc")
    ]
    for name in names:
        named.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        named.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rows = [session.run(names, {"gpu_0/data_0": one[None]}) for one in x]
    return {name: np.concatenate(parts) for name, parts in zip(names, zip(*rows))}
