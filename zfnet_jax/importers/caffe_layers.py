"""From the layers of a Caffe net, with their tensors, to the links of a chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from zfnet_jax.importers.chain import (
    Affine,
    AnyPool,
    Dropout,
    Filters,
    GlobalPool,
    Link,
    Norm,
    Rectifier,
    RegionPool,
    Weights,
    WindowPool,
    batch_norm,
)
from zfnet_jax.layer_specs import PoolKind
from zfnet_jax.windows import Pair

_NOTHING = ("Flatten", "Split")
_DEPTHWISE = ("ConvolutionDepthwise", "DepthwiseConvolution")  # of widespread forks
_KINDS: dict[int, PoolKind] = {0: "max", 1: "average"}


def links(name: str, kind: str, fields: Any, blobs: Mapping[str, list[Any]]) -> list[Link]:
    """What a layer does; nothing where it does nothing in evaluation.

    Args:
      kind: its type, as files of today name it.
      fields: its message.
      blobs: the tensors' messages of all layers by name.

    Raises:
      ValueError: the layer has no place in a net of this family, or a tensor does not fit it.
    """
    if kind in _NOTHING or _flattens(kind, fields):
        return []
    if kind == "Convolution":
        return [_filters(name, fields.convolution_param, blobs)]
    if kind in _DEPTHWISE:
        filters = _filters(name, fields.convolution_param, blobs)
        return [dataclasses.replace(filters, groups=len(filters.weight))]
    if kind == "ReLU":
        return [Rectifier(name, _slope(name, fields.relu_param.negative_slope))]
    if kind == "PReLU":
        return [_leaky(name, blobs)]
    if kind == "LRN":
        norm = fields.lrn_param
        if norm.norm_region:  # Caffe's layer takes k as 1 there, whatever the file says
            return [Norm(name, norm.local_size, 1.0, norm.alpha, norm.beta, "within_map")]
        return [Norm(name, norm.local_size, norm.k, norm.alpha, norm.beta)]
    if kind == "Power":
        power = fields.power_param
        if power.power != 1:
            raise ValueError(f"{name}: a power of {power.power:g}")
        return [Affine(name, np.array([power.scale]), np.array([power.shift]))]
    if kind in ("BatchNorm", "Scale", "Bias"):
        return [_affine(name, kind, fields, blobs)]
    if kind == "Pooling":
        return [_pool(name, fields.pooling_param)]
    if kind == "ROIPooling":
        pool = fields.roi_pooling_param
        if pool.pooled_h != pool.pooled_w or not pool.pooled_h:
            raise ValueError(f"{name}: it pools to {pool.pooled_h} x {pool.pooled_w} values")
        return [RegionPool(name, pool.pooled_h, pool.spatial_scale)]
    if kind == "Dropout":
        dropout = fields.dropout_param
        return [Dropout(name, dropout.dropout_ratio, dropout.scale_train)]
    if kind == "InnerProduct":
        return [_weights(name, fields.inner_product_param, blobs)]
    raise ValueError(f"layer {name}: a net of this family has no {kind} here")


def _slope(name: str, slope: float) -> float:
    """As the file writes it: the message holds float32."""
    if not 0 <= slope < np.inf:
        raise ValueError(f"{name}: a relu with a slope of {slope:g}, expected 0 or more")
    return float(str(np.float32(slope)))


def _flattens(kind: str, fields: Any) -> bool:
    """Whether a layer only makes vectors of maps, as dense layers do themselves."""
    reshape = fields.reshape_param
    return (
        kind == "Reshape"
        and list(reshape.shape.dim) == [0, -1]
        and not reshape.axis
        and reshape.num_axes == -1
    )


def _filters(name: str, fields: Any, blobs: Mapping[str, list[Any]]) -> Filters:
    kernel = _sides(name, "kernel", fields.kernel_size, fields.kernel_h, fields.kernel_w, 0)
    weight, bias = _stored(name, fields.bias_term, blobs)
    each = max(1, fields.num_output * kernel[0] * kernel[1])
    expected = (fields.num_output, weight.size // each, *kernel)
    if weight.ndim != 4 or weight.shape != expected:
        raise ValueError(f"{name}: its weight is {list(weight.shape)}, expected {list(expected)}")
    return Filters(
        name,
        weight,
        np.zeros(len(weight), np.float32) if bias is None else bias.reshape(-1),
        stride=_sides(name, "stride", fields.stride, fields.stride_h, fields.stride_w, 1),
        padding=_sides(name, "pad", fields.pad, fields.pad_h, fields.pad_w, 0),
        groups=fields.group,
        dilation=_sides(name, "dilation", fields.dilation, 0, 0, 1),
    )


def _weights(name: str, fields: Any, blobs: Mapping[str, list[Any]]) -> Weights:
    weight, bias = _stored(name, fields.bias_term, blobs)
    if fields.axis != 1:
        raise ValueError(f"{name}: it starts at axis {fields.axis}, expected 1")
    # Files of 2014 have four axes: 1, 1, units, inputs.
    if weight.ndim < 2 or any(n != 1 for n in weight.shape[:-2]):
        raise ValueError(f"{name}: its weight is {list(weight.shape)}, expected [units, inputs]")
    weight = weight.reshape(weight.shape[-2:])
    weight = weight.T if fields.transpose else weight
    if len(weight) != fields.num_output:
        raise ValueError(
            f"{name}: its weight is {list(weight.shape)}, expected [{fields.num_output}, inputs]"
        )
    bias = np.zeros(len(weight), np.float32) if bias is None else bias.reshape(-1)
    return Weights(name, weight, bias)


def _leaky(name: str, blobs: Mapping[str, list[Any]]) -> Rectifier:
    """A relu with a slope that was learned: one for all maps, or the same for each."""
    slopes = {value for blob in blobs.get(name, []) for value in to_array(blob, name).flat}
    if len(slopes) != 1:
        raise ValueError(f"layer {name}: a PReLU of {len(slopes)} slopes, expected one for all")
    return Rectifier(name, _slope(name, slopes.pop()))


def _affine(name: str, kind: str, fields: Any, blobs: Mapping[str, list[Any]]) -> Affine:
    arrays = [to_array(blob, name).reshape(-1) for blob in blobs.get(name, [])]
    if kind == "BatchNorm":
        if len(arrays) != 3 or arrays[2].size != 1:
            raise ValueError(f"layer {name} has {len(arrays)} tensors, expected 3")
        mean, variance, weight = arrays  # sums, and of how many they are
        share = 1 / weight.item() if weight.item() else 0.0
        return batch_norm(name, mean * share, variance * share, fields.batch_norm_param.eps)
    param = fields.scale_param if kind == "Scale" else fields.bias_param
    expected = 2 if kind == "Scale" and param.bias_term else 1
    if len(arrays) != expected:
        raise ValueError(f"layer {name} has {len(arrays)} tensors, expected {expected}")
    if param.axis != 1 or param.num_axes != 1:
        raise ValueError(f"{name}: axes {param.axis} and {param.num_axes} on, expected 1 and 1")
    none = np.zeros_like(arrays[0])
    if kind == "Bias":
        return Affine(name, none + 1, arrays[0])
    return Affine(name, arrays[0], arrays[1] if expected == 2 else none)


def _pool(name: str, fields: Any) -> AnyPool:
    if fields.pool not in _KINDS:
        raise ValueError(f"{name}: stochastic pooling")
    kind = _KINDS[fields.pool]
    if fields.global_pooling:
        return GlobalPool(name, kind)
    size = [fields.kernel_size] if fields.HasField("kernel_size") else []
    step = [fields.stride] if fields.HasField("stride") else []
    edge = [fields.pad] if fields.HasField("pad") else []
    padding = _sides(name, "pad", edge, fields.pad_h, fields.pad_w, 0)
    window = _sides(name, "kernel", size, fields.kernel_h, fields.kernel_w, 0)
    stride = _sides(name, "stride", step, fields.stride_h, fields.stride_w, 1)
    ceil = fields.round_mode == 0
    return WindowPool(name, kind, window, stride, padding, ceil)


def _sides(name: str, what: str, values: Any, height: int, width: int, default: int) -> Pair:
    """Of rows and columns, however the file puts it."""
    numbers = list(values) or ([height, width] if height or width else [default])
    if len(numbers) > 2 or max(numbers) > 1000 or (what != "pad" and 0 in numbers):
        raise ValueError(f"{name}: its {what} is {numbers}, expected one number or two")
    return int(numbers[0]), int(numbers[-1])


def _stored(
    name: str, bias: bool, blobs: Mapping[str, list[Any]]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Weight and bias of a layer."""
    found = blobs.get(name, [])
    expected = 2 if bias else 1
    if len(found) != expected:
        there = ", ".join(n for n, stored in blobs.items() if stored) or "none"
        raise ValueError(
            f"layer {name} has {len(found)} tensors, expected {expected}; those with any: {there}"
        )
    arrays = [to_array(blob, name) for blob in found]
    return arrays[0], arrays[1] if bias else None


def to_array(blob: Any, name: str) -> np.ndarray:
    """The values of a BlobProto, float32. ValueError: they are not as many as its shape says."""
    data = blob.double_data or blob.data
    shape = list(blob.shape.dim)
    if not blob.HasField("shape"):
        shape = [blob.num, blob.channels, blob.height, blob.width]
    count = 1
    for n in shape:
        count *= n
    if min(shape, default=0) < 0 or count != len(data):
        raise ValueError(f"{name}: it holds {len(data)} values, expected those of {shape}")
    return np.array(data, np.float32).reshape(shape)
