"""Nets that we exported: their file holds config, class names and mean beside the tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import architecture, geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.importers.chain import CHANNELS
from zfnet_jax.importers.net import checked
from zfnet_jax.importers.preprocessing import LARGEST_IMAGE, Preprocessing
from zfnet_jax.importers.write import Imported
from zfnet_jax.runs import origins, titles
from zfnet_jax.windows import both, by, shortest

KEY = "zfnet_jax"  # of the metadata, see `description`
MEAN_IMAGE = "mean_image"  # the mean of the centre crop in an ONNX graph, [1, C, H, W]


def description(
    config: Mapping[str, Any],
    class_names: tuple[str, ...],
    step: int,
    class_titles: Mapping[str, str],
    layers: origins.Origins,
) -> str:
    """What an exported file says of its net, JSON; titles of classes and what layers are called
    where they come from by our names, as a run has them."""
    said = {"config": config, "class_names": class_names, "step": step}
    return json.dumps(said | titles.record(class_titles) | origins.record(layers))


def to_foreign(
    net: Architecture, params: Mapping[str, Any], image_size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Parameters as PyTorch and ONNX lay them out, '{layer}.weight' and '{layer}.bias'.

    Filters [maps, input maps / groups, k, k]; weights [units, inputs], the first layer's inputs in
    the order map, row, column; the factors of an affine stage [maps].
    """
    side = _last_size(net, image_size)
    tensors = {}
    for layer, leaves in params.items():
        kernel = np.asarray(leaves["kernel" if "kernel" in leaves else "scale"])
        if kernel.ndim == 1:
            weight = kernel
        elif kernel.ndim == 4:
            weight = kernel.transpose(3, 2, 0, 1)
        else:
            weight = kernel.T
            if layer == _first_dense(net):
                weight = weight.reshape(len(weight), *side, -1).transpose(0, 3, 1, 2)
                weight = weight.reshape(len(weight), -1)
        tensors[f"{layer}.weight"] = np.ascontiguousarray(weight, np.float32)
        tensors[f"{layer}.bias"] = np.ascontiguousarray(leaves["bias"], np.float32)
    return tensors


def from_foreign(
    net: Architecture, tensors: Mapping[str, np.ndarray], image_size: tuple[int, int]
) -> dict[str, dict[str, np.ndarray]]:
    """The parameters of which `to_foreign` makes these tensors."""
    side = _last_size(net, image_size)
    params: dict[str, dict[str, np.ndarray]] = {}
    for layer in (stage.weights for stage in net.stages if stage.weights):
        for leaf in ("weight", "bias"):
            if f"{layer}.{leaf}" not in tensors:
                raise ValueError(f"there is no tensor {layer}.{leaf}")
        weight, bias = tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]
        if layer.startswith("affine"):
            params[layer] = {"scale": weight, "bias": bias}
            continue
        if layer.startswith("conv"):
            kernel = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight
        else:
            if layer == _first_dense(net) and weight.ndim == 2:
                maps = net.convs[-1].maps
                if weight.shape[1] != maps * side[0] * side[1]:
                    raise ValueError(
                        f"{layer}.weight is {list(weight.shape)}, expected"
                        f" [units, {maps * side[0] * side[1]}]"
                    )
                weight = weight.reshape(-1, maps, *side).transpose(0, 2, 3, 1)
                weight = weight.reshape(len(weight), -1)
            kernel = weight.T
        params[layer] = {"kernel": kernel, "bias": bias}
    return params


def imported(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], source: dict[str, Any]
) -> Imported:
    """A net that we exported.

    Raises:
      ValueError: the description is damaged, or the first tensor that does not fit it.
    """
    said = json.loads(metadata[KEY])
    config, names = ConfigDict(said["config"]), tuple(str(name) for name in said["class_names"])
    crop, size = both(config.augment.crop), int(config.data.image_size)
    if not 1 <= min(crop) <= max(crop) <= size <= LARGEST_IMAGE:  # before anything is made of it
        raise ValueError(f"images of {size} pixels and crops of {by(crop)}")
    net = architecture.from_config(config.model, len(names))
    section = architecture.completed(config.model.to_dict())
    for field in {"layers", "dense", "dense_without_relu"} & section.keys():
        section[field] = tuple(section[field])
    layers = {str(layer): str(name) for layer, name in origins.recorded(said).items()}
    read = checked(section, from_foreign(net, tensors, crop), len(names), crop, layers)
    if MEAN_IMAGE in tensors and tensors[MEAN_IMAGE].ndim == 4:
        mean = tensors[MEAN_IMAGE][0].transpose(1, 2, 0)
    elif "mean" in tensors:
        mean = tensors["mean"]
    else:
        raise ValueError("there is no tensor mean")
    mean = np.asarray(mean, np.float32)
    if mean.ndim != 3 or mean.shape[2] != CHANNELS:
        raise ValueError(f"mean is {list(mean.shape)}, expected [H, W, 3]")
    scale = config.augment.scale
    scale = float(scale) if isinstance(scale, int | float) else tuple(float(s) for s in scale)
    preprocessing = Preprocessing(size, shortest(crop), widened(mean, size), scale)
    class_titles = {str(name): str(title) for name, title in titles.recorded(said).items()}
    return Imported(read, preprocessing, names, source, class_titles)


def widened(mean: np.ndarray, size: int) -> np.ndarray:
    """A mean [h, w, 3] of the centre crop continued by its edges to [size, size, 3]; the net's
    centre crops never see what is added."""
    room = [size - side for side in mean.shape[:2]]
    if min(room) < 0 or size > LARGEST_IMAGE:
        raise ValueError(f"the mean is {list(mean.shape)}, larger than images of {size} pixels")
    pads = [(extra // 2, extra - extra // 2) for extra in room]
    return np.pad(mean, (*pads, (0, 0)), mode="edge")


def _first_dense(net: Architecture) -> str:
    """Whose inputs are maps; '' where there is none."""
    return next((stage.weights for stage in net.stages[len(net.map_stages) :]), "")


def _last_size(net: Architecture, image_size: tuple[int, int]) -> tuple[int, ...]:
    return tuple(geometry.sizes(net.map_stages, n, axis)[-1] for axis, n in enumerate(image_size))
