"""Small Keras nets written by hand: the layers' config as Keras has it, random weights, each of the
file formats, and what the layers put out, in plain NumPy. Nothing here knows zfnet_jax's importers,
and no Keras is needed.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

CLASSES = 4
Layer = tuple[str, dict[str, Any]]


def conv(name: str, filters: int, kernel: int | tuple[int, int] = 3, **given: Any) -> Layer:
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    return "Conv2D", {"name": name, "filters": filters, "kernel_size": list(sides)} | given


def image(size: int, channels: int = 3) -> Layer:
    return "InputLayer", {"name": "image", "batch_shape": [None, size, size, channels]}


def dense(name: str, units: int = CLASSES, **given: Any) -> Layer:
    return "Dense", {"name": name, "units": units} | given


def activation(name: str, kind: str) -> Layer:
    return "Activation", {"name": name, "activation": kind}


def pool(name: str, kind: str, window: int, stride: int | None = None, **given: Any) -> Layer:
    strides = None if stride is None else [stride] * 2
    return f"{kind}Pooling2D", {"name": name, "pool_size": [window] * 2, "strides": strides} | given


def batch_norm(name: str, **given: Any) -> Layer:
    return "BatchNormalization", {"name": name, "axis": [3], "epsilon": 1e-3} | given


def flatten(name: str = "flatten") -> Layer:
    return "Flatten", {"name": name}


def sequential(layers: list[Layer], name: str = "net") -> dict[str, Any]:
    """The JSON of a model; a layer may be one of layers itself: ('Sequential', {name, layers})."""
    return {"class_name": "Sequential", "config": {"name": name, "layers": entries(layers)}}


def entries(layers: list[Layer]) -> list[dict[str, Any]]:
    return [
        sequential(config["layers"], config["name"])
        if kind == "Sequential"
        else {"class_name": kind, "config": config}
        for kind, config in layers
    ]


def functional(layers: list[Layer], keras: int) -> dict[str, Any]:
    """The same layers as a Functional model, as Keras 2 or 3 writes it."""
    listed, before = entries(layers), None
    for entry in listed:
        name = entry["name"] = entry["config"]["name"]
        if keras == 2:
            entry["inbound_nodes"] = [[[before, 0, 0, {}]]] if before else []
        else:
            history = {"shape": [None], "dtype": "float32", "keras_history": [before, 0, 0]}
            tensor = {"class_name": "__keras_tensor__", "config": history}
            entry["inbound_nodes"] = [{"args": [tensor], "kwargs": {}}] if before else []
        before = name
    first, last = [listed[0]["name"], 0, 0], [before, 0, 0]
    config = {"name": "net", "layers": listed, "input_layers": [first], "output_layers": [last]}
    return {"class_name": "Functional", "config": config}


Weights = dict[str, list[tuple[str, np.ndarray]]]  # of each layer, as names in Keras's order


def weights(layers: list[Layer], seed: int = 0) -> Weights:
    """Random weights that fit the layers, by name of a layer."""
    rng, found = np.random.default_rng(seed), {}
    x = np.zeros((1, *flat(layers)[0][1]["batch_shape"][1:]), np.float32)
    for kind, config in flat(layers):
        maps, arrays = x.shape[-1], []
        if kind in ("Conv2D", "DepthwiseConv2D"):
            inner = maps // config.get("groups", 1)
            outer = config.get("filters", config.get("depth_multiplier", 1))
            shape = (*config["kernel_size"], inner, outer)
            fan = math.prod(shape[:3]) if kind == "Conv2D" else math.prod(shape[:2])
            role = "kernel" if kind == "Conv2D" else "depthwise_kernel"
            arrays.append((role, rng.normal(size=shape) * np.sqrt(2 / fan)))
            units = outer if kind == "Conv2D" else maps * outer
        elif kind == "Dense":
            units = config["units"]
            arrays.append(("kernel", rng.normal(size=(maps, units)) / np.sqrt(maps)))
        elif kind == "BatchNormalization":
            for role in ("gamma", "beta", "moving_mean", "moving_variance"):
                switch = {"gamma": "scale", "beta": "center"}.get(role, "")
                if config.get(switch, True):
                    positive = role in ("gamma", "moving_variance")
                    values = rng.uniform(0.5, 2, maps) if positive else rng.normal(size=maps)
                    arrays.append((role, values))
        elif kind == "Normalization" and config.get("mean") is None:
            shape = () if config["axis"] in (None, []) else (maps,)
            arrays += [("mean", rng.normal(size=shape)), ("variance", rng.uniform(0.5, 2, shape))]
            arrays.append(("count", np.int64(7)))
        if kind in ("Conv2D", "DepthwiseConv2D", "Dense") and config.get("use_bias", True):
            arrays.append(("bias", rng.normal(size=units) * 0.1))
        found[config["name"]] = [
            (role, array if role == "count" else array.astype(np.float32)) for role, array in arrays
        ]
        x = step(kind, config, found[config["name"]], x)
    return found


def forward(layers: list[Layer], stored: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    """What each layer puts out, by name, for images [B, H, W, C]."""
    found = {}
    for kind, config in flat(layers):
        name = config["name"]
        found[name] = x = step(kind, config, stored.get(name, []), x)
    return found


def step(kind: str, config: dict, stored: list[tuple[str, np.ndarray]], x: np.ndarray):
    """One layer, of maps [B, H, W, C] or units [B, N]; no softmax."""
    by = dict(stored)
    same = config.get("padding") == "same"
    if kind in ("Conv2D", "DepthwiseConv2D"):
        kernel, depthwise = by.get("kernel"), by.get("depthwise_kernel")
        groups = config.get("groups", 1)
        if depthwise is not None:
            rows, columns, groups, each = depthwise.shape
            kernel = depthwise.reshape(rows, columns, 1, groups * each)
        assert kernel is not None
        patches = _patches(x, kernel.shape[:2], config, same, 0.0)
        b, h, w, rows, columns, maps = patches.shape
        split = patches.reshape(b, h, w, rows, columns, groups, maps // groups)
        filters = kernel.reshape(rows, columns, maps // groups, groups, -1)
        x = np.einsum("bhwrcgm,rcmgn->bhwgn", split, filters).reshape(b, h, w, -1)
    elif kind == "Dense":
        x = x @ by["kernel"]
    elif kind == "BatchNormalization":
        scale = by.get("gamma", 1) / np.sqrt(by["moving_variance"] + config["epsilon"])
        return (x - by["moving_mean"]) * scale + by.get("beta", 0)
    elif kind in ("MaxPooling2D", "AveragePooling2D"):
        strides = config["strides"] or config["pool_size"]
        taken = np.nanmax if kind == "MaxPooling2D" else np.nanmean
        return taken(_patches(x, config["pool_size"], {"strides": strides}, same, np.nan), (3, 4))
    elif kind in ("GlobalMaxPooling2D", "GlobalAveragePooling2D"):
        keep = config.get("keepdims", False)
        return (x.max if "Max" in kind else x.mean)((1, 2), keepdims=keep)
    elif kind == "ZeroPadding2D":
        return np.pad(x, ((0, 0), *config["padding"], (0, 0)))
    elif kind == "Flatten":
        return x.reshape(len(x), -1)
    elif kind == "Normalization":
        mean, variance = (by.get(role, config.get(role)) for role in ("mean", "variance"))
        return (x - mean) / np.sqrt(variance)
    elif kind == "Rescaling":
        return x * config["scale"] + config["offset"]
    x = x + by.get("bias", 0)
    slope, limit = config.get("negative_slope", config.get("alpha", 0.0)), config.get("max_value")
    name = config.get("activation") or {"ReLU": "relu", "LeakyReLU": "leaky_relu"}.get(kind)
    if name in ("relu", "leaky_relu", "relu6"):
        x = np.where(x > 0, x, x * (slope if name != "relu6" else 0))
        limit = 6 if name == "relu6" else limit
        x = x if limit is None else np.minimum(x, limit)
    return x


def _patches(x: np.ndarray, kernel: Any, config: dict, same: bool, outside: float) -> np.ndarray:
    """[B, h, w, rows, columns, C]: what each unit of a convolution or pool reads."""
    strides = config.get("strides") or (1, 1)
    dilation = config.get("dilation_rate") or (1, 1)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    if same:
        sides = []
        for n, s, r in zip(x.shape[1:3], strides, reach):
            total = max((math.ceil(n / s) - 1) * s + r - n, 0)
            sides.append((total // 2, total - total // 2))
        x = np.pad(x, ((0, 0), *sides, (0, 0)), constant_values=outside)
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, (1, 2))
    windows = windows[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    return windows.transpose(0, 1, 2, 4, 5, 3)


def flat(layers: list[Layer]) -> list[Layer]:
    """Without models inside."""
    return [
        inner
        for kind, config in layers
        for inner in (flat(config["layers"]) if kind == "Sequential" else [(kind, config)])
    ]


def save_h5(path: Path, model: dict[str, Any], stored: Weights) -> None:
    """As `model.save('x.h5')` of Keras 2: a group for each layer of the outermost model; of a model
    inside it trainable weights first."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(model)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [_name(e).encode() for e in model["config"]["layers"]]
        for entry in model["config"]["layers"]:
            own = [
                (f"{name}/{role}:0", array)
                for name in _names(entry)
                for role, array in stored.get(name, [])
            ]
            own.sort(key=lambda one: "moving" in one[0])
            inner = group.create_group(_name(entry))
            inner.attrs["weight_names"] = [name.encode() for name, _ in own]
            for name, array in own:
                inner[name] = array


def save_keras(path: Path, model: dict[str, Any], stored: Weights, **options: Any) -> None:
    """As `model.save('x.keras')` of Keras 3: groups are called by the classes of the layers."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        save_layers(file, model, stored)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.10.0"}))
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", content.getvalue(), **options)


def save_layers(group: Any, model: dict[str, Any], stored: Weights) -> None:
    counts: dict[str, int] = {}
    for entry in model["config"]["layers"]:
        kind = re.sub("([a-z])([A-Z])", r"\1_\2", entry["class_name"]).lower()
        counts[kind] = counts.get(kind, -1) + 1
        inner = group.create_group(f"layers/{kind}_{counts[kind]}".removesuffix("_0"))
        if entry["class_name"] == "Sequential":
            save_layers(inner, entry, stored)
        variables = inner.create_group("vars")
        variables.attrs["name"] = _name(entry)
        for number, (_, array) in enumerate(stored.get(_name(entry), [])):
            variables[str(number)] = array


def save_tfjs(
    path: Path, model: dict[str, Any], stored: Weights, packed: str = "", shard: int = 4000
) -> None:
    """As TensorFlow.js's converter: shards beside model.json, float32 or packed."""
    listed, content = [], b""
    for name, own in stored.items():
        for role, array in own:
            entry: dict[str, Any] = {"name": f"{name}/{role}", "shape": list(array.shape)}
            entry["dtype"] = "float32"
            if role == "count":  # int64 becomes int32
                entry["dtype"], array = "int32", array.astype("<i4")
            elif packed == "float16":
                entry["quantization"] = {"dtype": packed}
                array = array.astype("<f2")
            elif packed:
                low = float(array.min())
                scale = (float(array.max()) - low) / np.iinfo(packed).max or 1.0
                entry["quantization"] = {"dtype": packed, "scale": scale, "min": low}
                array = np.round((array - low) / scale).astype(packed)
            listed.append(entry)
            content += array.tobytes()
    parts = [content[start : start + shard] for start in range(0, len(content), shard)]
    names = [f"group1-shard{n}of{len(parts)}.bin" for n in range(1, len(parts) + 1)]
    for name, part in zip(names, parts):
        (path.parent / name).write_bytes(part)
    topology = {"keras_version": "2.2.4-tf", "backend": "tensorflow", "model_config": model}
    manifest = [{"paths": names, "weights": listed}]
    content = {"format": "layers-model", "modelTopology": topology, "weightsManifest": manifest}
    path.write_text(json.dumps(content))


def _name(entry: dict[str, Any]) -> str:
    return entry["config"]["name"]


def _names(entry: dict[str, Any]) -> list[str]:
    inner = entry["config"].get("layers")
    return [_name(entry)] if inner is None else [name for one in inner for name in _names(one)]
