"""A run as an ONNX graph from pixels to class scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import extras, geometry
from zfnet_jax.architecture import Architecture, ContrastNorm, Conv, Pool
from zfnet_jax.data import augment
from zfnet_jax.exporters import parity
from zfnet_jax.importers import own
from zfnet_jax.runs import workdir
from zfnet_jax.runs.run import Run

OPSET = 13


def export(run: Run, path: str | Path) -> float:
    """Writes a graph of 'pixels' [N, C, H, W], red, green, blue in [0, 255], to 'logits'.

    Mean and scale are part of the graph: what goes in are centre crops as they are. The named
    activations of the model are names of tensors in it. The metadata hold config and class names,
    so that scripts.import_weights reads it back.

    Returns:
      the largest difference of class scores run by onnxruntime, see `parity.check`.

    Raises:
      ValueError: onnx or onnxruntime is not installed, or the graph does not give the run's scores.
    """
    try:
        import onnx
    except ImportError:
        raise extras.missing("onnx", "import") from None
    model = _model(run)
    onnx.checker.check_model(model)
    with parity.unfinished(Path(path)) as temporary:
        onnx.save(model, temporary)
        return parity.check(run, f"{path}", lambda images: _forward(run, temporary, images))


def _forward(run: Run, path: Path, images: np.ndarray) -> np.ndarray:
    try:
        import onnxruntime
    except ImportError:
        raise extras.missing("onnxruntime, to compare the export,", "import") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pixels = augment.centre(images, run.input_size).transpose(0, 3, 1, 2).astype(np.float32)
    return np.asarray(session.run(["logits"], {"pixels": pixels})[0])


def _model(run: Run) -> Any:
    from onnx import TensorProto, helper

    net, (height, width) = run.architecture, run.input_size
    tensors = own.to_foreign(net, run.params, run.input_size)
    mean = np.asarray(augment.centre(run.mean, run.input_size), np.float32)
    channels = mean.shape[2]
    scale = np.broadcast_to(np.asarray(run.config.augment.scale, np.float32), channels)
    graph = _Graph(tensors)
    graph.constant(own.MEAN_IMAGE, mean.transpose(2, 0, 1)[None])
    graph.constant("scale", scale.reshape(1, channels, 1, 1))
    x = graph.add("Sub", "centred", ["pixels", own.MEAN_IMAGE])
    x = graph.add("Div", "image", [x, "scale"])
    sizes = [geometry.layer_sizes(net, n) for n in run.input_size]
    for conv in net.convs:
        x = graph.conv(conv, x)
        before = net.norm_before_pool or not conv.pool
        if conv.contrast_norm and before:
            x = graph.norm(conv.number, conv.contrast_norm, x)
        if conv.pool:
            x = graph.pool(conv.number, conv.pool, x, [size[conv.name] for size in sizes])
        if conv.contrast_norm and not before:
            x = graph.norm(conv.number, conv.contrast_norm, x)
    x = graph.add("Flatten", "flat", [x], axis=1)
    x = graph.dense(net, x)
    assert x == "logits"
    pixels = helper.make_tensor_value_info(
        "pixels", TensorProto.FLOAT, ["N", channels, height, width]
    )
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", net.classes])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "zfnet", [pixels], [logits], graph.initializers()),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="zfnet_jax",
    )
    said = own.description(workdir.as_json(run.config), run.class_names, run.step)
    helper.set_model_props(model, {own.KEY: said})
    return model


class _Graph:
    """Nodes and constants in the making; every node's output bears its name."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.nodes: list[Any] = []
        self._tensors = dict(tensors)

    def initializers(self) -> list[Any]:
        from onnx import numpy_helper

        used = {name for node in self.nodes for name in node.input}
        return [
            numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in self._tensors.items()
            if name in used
        ]

    def constant(self, name: str, value: np.ndarray | float) -> str:
        self._tensors[name] = np.asarray(value, np.float32)
        return name

    def add(self, kind: str, name: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, conv: Conv, x: str) -> str:
        name = conv.name
        x = self.add(
            "Conv",
            f"{name}_sums",
            [x, f"{name}.weight", f"{name}.bias"],
            kernel_shape=[conv.kernel] * 2,
            strides=[conv.stride] * 2,
            pads=[conv.padding] * 4,
            group=conv.groups,
        )
        return self.add("Relu", name, [x])

    def pool(self, number: int, pool: Pool, x: str, size: list[int]) -> str:
        (top, bottom), (left, right) = (geometry.pool_padding(n, pool) for n in size)
        return self.add(
            "MaxPool",
            f"pool{number}",
            [x],
            kernel_shape=[pool.window] * 2,
            strides=[pool.stride] * 2,
            pads=[top, left, bottom, right],
        )

    def norm(self, number: int, norm: ContrastNorm, x: str) -> str:
        name, summed = f"norm{number}", norm.alpha_convention == "sum"
        if norm.region == "across_maps":
            alpha = norm.alpha * (norm.maps if summed else 1)
            attributes = {"alpha": alpha, "beta": norm.beta, "bias": norm.k, "size": norm.maps}
            return self.add("LRN", name, [x], **attributes)
        alpha = norm.alpha * (norm.neighbours if summed else 1)
        squares = self.add("Mul", f"{name}_squares", [x, x])
        mean = self.add(
            "AveragePool",
            f"{name}_mean",
            [squares],
            kernel_shape=[norm.window] * 2,
            strides=[1, 1],
            pads=[norm.window // 2] * 4,
            count_include_pad=1,
        )
        scaled = self.add("Mul", f"{name}_scaled", [mean, self.constant(f"{name}_alpha", alpha)])
        shifted = self.add("Add", f"{name}_shifted", [scaled, self.constant(f"{name}_k", norm.k)])
        divisor = self.add(
            "Pow", f"{name}_divisor", [shifted, self.constant(f"{name}_beta", norm.beta)]
        )
        return self.add("Div", name, [x, divisor])

    def dense(self, net: Architecture, x: str) -> str:
        for name in net.dense_names:
            x = self.add("Gemm", f"{name}_sums", [x, f"{name}.weight", f"{name}.bias"], transB=1)
            scaled = not net.dropout_scales_training
            x = self.add("Relu", f"{name}_rectified" if scaled else name, [x])
            if scaled:
                x = self.add("Mul", name, [x, self.constant(f"{name}_kept", 1 - net.dropout)])
        return self.add("Gemm", "logits", [x, "logits.weight", "logits.bias"], transB=1)
