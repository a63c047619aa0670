"""A run as an ONNX graph from pixels to class scores."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import extras
from zfnet_jax.data import augment
from zfnet_jax.exporters import metadata, parity
from zfnet_jax.importers import own
from zfnet_jax.runs.run import Run
from zfnet_jax.stages.affine import ScaleAndShift
from zfnet_jax.stages.average_pool import AveragePool
from zfnet_jax.stages.contrast import Normalise
from zfnet_jax.stages.dense import Dense, Dropout, MapLogits
from zfnet_jax.stages.filters import Filter
from zfnet_jax.stages.max_pool import MaxPool
from zfnet_jax.stages.relu import Relu
from zfnet_jax.stages.stage import Stage
from zfnet_jax.windows import Pair, Window

OPSET = 13


def export(run: Run, path: str | Path) -> float:
    """Writes a graph of 'pixels' [N, C, H, W], red, green, blue in [0, 255], to 'logits', or where
    there is no classifier to the last maps by name, [N, maps, h, w].

    Mean and scale are part of the graph: what goes in are centre crops as they are. The named
    activations of the model are names of tensors in it. The metadata hold config and class names,
    so that scripts.import_weights reads it back.

    Returns:
      the largest difference when onnxruntime runs it, see `parity.check`.

    Raises:
      ValueError: onnx or onnxruntime is not installed, or the graph does not answer as the run.
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
    answer = np.asarray(session.run(None, {"pixels": pixels})[0])
    return answer if answer.ndim == 2 else answer.transpose(0, 2, 3, 1)


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
    shape: tuple[int, ...] = (height, width, channels)
    named = {}
    for stage in net.stages:
        x = named[stage.name] = _add_stage(stage, graph, x, shape)
        shape = stage.shape(shape)
    graph.rename({made: name for name, made in named.items()})
    pixels = helper.make_tensor_value_info(
        "pixels", TensorProto.FLOAT, ["N", channels, height, width]
    )
    *sides, values = shape
    last = net.stages[-1].name
    answer = helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", values, *sides])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "zfnet", [pixels], [answer], graph.initializers()),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="zfnet_jax",
    )
    helper.set_model_props(model, metadata.of_run(run))
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

    def rename(self, names: dict[str, str]) -> None:
        """Gives outputs of nodes other names."""
        for node in self.nodes:
            node.name = names.get(node.name, node.name)
            for tensors in (node.input, node.output):
                tensors[:] = [names.get(name, name) for name in tensors]


def _window(windows: tuple[Window, Window], pads: Sequence[Pair]) -> dict[str, list[int]]:
    """The attributes of a node whose units read windows."""
    (top, bottom), (left, right) = pads
    said = {
        "kernel_shape": [window.size for window in windows],
        "strides": [window.stride for window in windows],
        "pads": [top, left, bottom, right],
    }
    dilations = [window.dilation for window in windows]
    return said if dilations == [1, 1] else said | {"dilations": dilations}


@functools.singledispatch
def _add_stage(stage: Stage, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    """Adds the nodes of a stage, whose input x is [H, W, C] or [N]; returns their output."""
    del graph, x, shape
    raise ValueError(f"{stage.name}: ONNX export knows no {type(stage).__name__}")


@_add_stage.register
def _(stage: Filter, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    del shape
    conv = stage.conv
    return graph.add(
        "Conv",
        f"{stage.name}_filtered",
        [x, f"{stage.name}.weight", f"{stage.name}.bias"],
        **_window(conv.windows, conv.pads),
        group=conv.groups,
    )


@_add_stage.register
def _(stage: Relu, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    del shape
    slope, cap = dataclasses.astuple(stage.rectifier)
    name = f"{stage.name}_rectified"
    if slope:
        x = graph.add("LeakyRelu", name, [x], alpha=slope)
        if cap is None:
            return x
        name = f"{stage.name}_capped"
    elif cap is None:
        return graph.add("Relu", name, [x])
    low = "" if slope else graph.constant(f"{stage.name}_low", 0)
    return graph.add("Clip", name, [x, low, graph.constant(f"{stage.name}_cap", cap)])


@_add_stage.register
def _(stage: ScaleAndShift, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    """A batch norm of mean 0 and variance 1."""
    name, one = stage.name, np.ones(shape[-1])
    statistics = [graph.constant(f"{name}_mean", 0 * one), graph.constant(f"{name}_variance", one)]
    inputs = [x, f"{name}.weight", f"{name}.bias", *statistics]
    return graph.add("BatchNormalization", f"{name}_scaled", inputs, epsilon=0.0)


@_add_stage.register
def _(stage: MaxPool, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    pads = [stage.pads(n, axis) for axis, n in enumerate(shape[:2])]
    return graph.add("MaxPool", f"{stage.name}_pooled", [x], **_window(stage.windows, pads))


@_add_stage.register
def _(stage: AveragePool, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    """Where only pixels of the maps count, or all of every window, the node says it; else its means
    are corrected."""
    pool, name, (rows, columns) = stage.pool, stage.name, stage.windows
    inside, sides = dataclasses.replace(pool, counts_padding=False), list(enumerate(shape[:2]))
    counts = [np.array(pool.counts(n, axis)) for axis, n in sides]
    within = [np.array(inside.counts(n, axis)) for axis, n in sides]
    counts_inside = all((a == b).all() for a, b in zip(counts, within))
    mean = graph.add(
        "AveragePool",
        f"{name}_pooled",
        [x],
        **_window(stage.windows, [stage.pads(n, axis) for axis, n in sides]),
        count_include_pad=int(not counts_inside),
    )
    if counts_inside or ((counts[0] == rows.size).all() and (counts[1] == columns.size).all()):
        return mean
    shares = rows.size * columns.size / np.outer(*counts)
    return graph.add("Mul", f"{name}_mean", [mean, graph.constant(f"{name}_shares", shares)])


@_add_stage.register
def _(stage: Normalise, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    del shape
    norm, name = stage.norm, stage.name
    summed = norm.alpha_convention == "sum"
    alpha = norm.alpha * (norm.neighbours if summed else 1)
    if norm.region == "across_maps":
        attributes = {"alpha": alpha, "beta": norm.beta, "bias": norm.k, "size": norm.maps}
        return graph.add("LRN", f"{name}_normalised", [x], **attributes)
    squares = graph.add("Mul", f"{name}_squares", [x, x])
    mean = graph.add(
        "AveragePool",
        f"{name}_mean",
        [squares],
        kernel_shape=[norm.window] * 2,
        strides=[1, 1],
        pads=[norm.window // 2] * 4,
        count_include_pad=1,
    )
    scaled = graph.add("Mul", f"{name}_scaled", [mean, graph.constant(f"{name}_alpha", alpha)])
    shifted = graph.add("Add", f"{name}_shifted", [scaled, graph.constant(f"{name}_k", norm.k)])
    divisor = graph.add(
        "Pow", f"{name}_divisor", [shifted, graph.constant(f"{name}_beta", norm.beta)]
    )
    return graph.add("Div", f"{name}_normalised", [x, divisor])


@_add_stage.register
def _(stage: Dense, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    if len(shape) > 1:
        x = graph.add("Flatten", "flat", [x], axis=1)
    inputs = [x, f"{stage.name}.weight", f"{stage.name}.bias"]
    return graph.add("Gemm", f"{stage.name}_sums", inputs, transB=1)


@_add_stage.register
def _(stage: MapLogits, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    del shape
    return graph.add("Flatten", f"{stage.name}_scores", [x], axis=1)


@_add_stage.register
def _(stage: Dropout, graph: _Graph, x: str, shape: tuple[int, ...]) -> str:
    del shape
    if stage.scales_training:
        return x
    kept = graph.constant(f"{stage.name}_share", 1 - stage.rate)
    return graph.add("Mul", f"{stage.name}_kept", [x, kept])
