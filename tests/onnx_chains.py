"""Small chains as ONNX graphs, from a list of their nodes; onnxruntime runs them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from zfnet_jax.windows import Sides, both

CLASSES = 4
Node = tuple[str, dict]


def build(nodes: list[Node], size: Sides, channels: int = 3, seed: int = 0) -> onnx.ModelProto:
    """A graph 'image' [1, channels, size, size] -> 'logits', with random weights.

    Args:
      nodes: kinds and attributes in order, each reading the one before. 'Conv' takes 'maps' and
        'kernel', one number or two, 'BatchNormalization' nothing, 'Gemm' 'units', 'Clip' and the
        like their constants 'c'; 'Add', 'Sub', 'Mul' and 'Div' make a
        constant for each map or unit. A chain that begins with 'Transpose' has images [1, size,
        size, channels]. An attribute 'name' names what a node puts out.
    """
    rng, tensors, made = np.random.default_rng(seed), {}, []
    x, maps, last = "image", channels, nodes[0][0] == "Transpose"

    def tensor(name: str, array: np.ndarray) -> str:
        tensors[name] = array.astype(np.float32)
        return name

    for n, (kind, given) in enumerate(nodes):
        attributes, name = dict(given), given.get("name", f"{kind}_{n}")
        attributes.pop("name", None)
        inputs = [x]
        if kind == "Conv":
            k, inner = attributes.pop("kernel"), maps // attributes.get("group", 1)
            maps = attributes.pop("maps")
            sides = (k, k) if isinstance(k, int) else k
            scale = np.sqrt(2 / (inner * np.prod(sides)))
            weight = rng.normal(size=(maps, inner, *sides)) * scale
            inputs.append(tensor(f"{name}_w", weight))
            if attributes.pop("bias", True):
                inputs.append(tensor(f"{name}_b", rng.normal(size=maps) * 0.1))
        elif kind == "BatchNormalization":
            inputs += [
                tensor(f"{name}_scale", rng.uniform(0.5, 2, maps)),
                tensor(f"{name}_shift", rng.normal(size=maps)),
                tensor(f"{name}_mean", rng.normal(size=maps)),
                tensor(f"{name}_var", rng.uniform(0.5, 2, maps)),
            ]
        elif kind == "Pad":
            tensors[f"{name}_pads"] = np.array(attributes.pop("pads"))
            inputs.append(f"{name}_pads")
        elif kind in ("Clip", "Min", "Max", "PRelu"):
            inputs += [
                tensor(f"{name}_{n}", np.array(v)) for n, v in enumerate(attributes.pop("c"))
            ]
        elif kind in ("Add", "Sub", "Mul", "Div"):
            shape = (maps,) if last else (1, maps, 1, 1)
            inputs.append(tensor(f"{name}_c", rng.uniform(0.5, 2, shape)))
        elif kind == "Transpose":
            last = attributes["perm"] == [0, 2, 3, 1]
        elif kind == "Gemm":
            units = attributes.pop("units")
            width = _width(made, tensors, x, size, channels)
            inputs.append(tensor(f"{name}_w", rng.normal(size=(units, width)) / np.sqrt(width)))
            inputs.append(tensor(f"{name}_b", rng.normal(size=units)))
            attributes["transB"] = 1
            maps, last = units, True
        made.append(helper.make_node(kind, inputs, [name], **attributes))
        x = name
    made[-1].output[0] = "logits"
    return _model(made, tensors, "logits", size, channels)


def _model(nodes, tensors, output: str, size: Sides, channels: int) -> onnx.ModelProto:
    shape = [1, channels, *both(size)]
    if nodes[0].op_type == "Transpose":
        shape = [1, *both(size), channels]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes, "chain", [image], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _width(nodes, tensors, output: str, size: Sides, channels: int) -> int:
    """How many values a chain that is not finished yet puts out."""
    return answers(_model(nodes, tensors, output, size, channels), size, channels)[output].size


def answers(model: onnx.ModelProto, size: Sides, channels: int, x=None) -> dict[str, np.ndarray]:
    """What every node puts out, by name, for x [1, channels, size, size], which is given to a graph
    that transposes it first as [1, size, size, channels]."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    names = [node.output[0] for node in model.graph.node]
    del named.graph.output[:]
    named.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        named.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.zeros((1, channels, *both(size)), np.float32) if x is None else x
    if model.graph.node[0].op_type == "Transpose":
        x = x.transpose(0, 2, 3, 1)
    return dict(zip(names, session.run(names, {"image": x}), strict=True))
