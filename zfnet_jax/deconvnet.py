"""The deconvnet: from feature maps back to pixels (paper, Section 2.1).

All activations but the chosen ones are set to zero; then, layer by layer down to the image,
(i) unpool with the switches recorded on the way up, (ii) rectify, (iii) filter with the layer's own
filters transposed. No biases, no contrast normalisation on the way down, and nothing learned: it is
not the transposed-convolution layer of generative networks. Every stage is written out; automatic
differentiation plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture, Conv
from zfnet_jax.convolution import transposed_by_columns
from zfnet_jax.pooling import Overlap, max_unpool

# 'deconvnet': the reconstruction is rectified (the paper). 'forward_mask': it passes where the
# forward relu was active (the paper's footnote; this is backpropagation). 'guided': both.
Rectify = Literal["deconvnet", "forward_mask", "guided"]


@partial(jax.jit, static_argnames=("net", "layer", "image_size", "rectify", "overlap", "precision"))
def project(
    net: Architecture,
    params: Mapping[str, Any],
    activations: Mapping[str, jax.Array],
    layer: str,
    seed: jax.Array,
    image_size: tuple[int, int],
    *,
    rectify: Rectify = "deconvnet",
    overlap: Overlap = "sum",
    precision: str = "highest",
) -> jax.Array:
    """Projects chosen activations of a layer back to pixels.

    Args:
      net: the architecture.
      params: the model's parameters, `{'conv1': {'kernel': ...}, ...}`.
      activations: what the model returned for the images; the switches below `layer` are read,
        and the rectified maps too where `rectify` needs them.
      layer: where to start, a conv or pool layer: 'conv3', 'pool5'.
      seed: [B, h, w, C], the layer's maps, zero but for the chosen units (see `units`).
      image_size: (H, W) of the images, pixels.
      rectify, overlap: see `Rectify` and `max_unpool`.
      precision: of the filtering.

    Returns:
      [B, H, W, image channels] float32.
    """
    return reconstructions(
        net,
        params,
        activations,
        layer,
        seed,
        image_size,
        rectify=rectify,
        overlap=overlap,
        precision=precision,
    )[f"layer{net.convs[0].number}"]


def reconstructions(
    net: Architecture,
    params: Mapping[str, Any],
    activations: Mapping[str, jax.Array],
    layer: str,
    seed: jax.Array,
    image_size: tuple[int, int],
    *,
    rectify: Rectify = "deconvnet",
    overlap: Overlap = "sum",
    precision: str = "highest",
) -> dict[str, jax.Array]:
    """Every stage of `project`: 'layer{k}' is what layer k's filters reconstruct of its input.

    Returns:
      'layer5', ..., 'layer1' from the start down, each [B, H, W, C] float32 shaped as the input of
      that conv layer; 'layer1' has the shape of the images.
    """
    top, kind = net.depth_of(layer)
    heights, widths = (geometry.layer_sizes(net, size) for size in image_size)
    x = seed.astype(jnp.float32)
    result = {}
    for depth in range(top, -1, -1):
        conv = net.convs[depth]
        maps_size = (heights[conv.name], widths[conv.name])
        if conv.pool and (depth < top or kind == "pool"):
            pads = geometry.both_axes(geometry.pool_padding(size, conv.pool) for size in maps_size)
            switches = activations[f"switches{conv.number}"]
            x = max_unpool(
                x, switches, maps_size, conv.pool.window, conv.pool.stride, pads, overlap
            )
        x = rectified(x, activations[conv.name], rectify)
        below = net.convs[depth - 1] if depth else None
        input_size = image_size
        if below:
            output = f"pool{below.number}" if below.pool else below.name
            input_size = (heights[output], widths[output])
        x = filter_transposed(x, params[conv.name]["kernel"], conv, input_size, precision)
        result[f"layer{conv.number}"] = x
    return result


def filter_transposed(
    maps: jax.Array,
    kernel: jax.Array,
    conv: Conv,
    input_size: tuple[int, int],
    precision: str = "highest",
) -> jax.Array:
    """Filters maps with the layer's filters transposed: the adjoint of its convolution.

    Each filter is flipped vertically and horizontally, input and output maps change places, and
    the stride becomes a dilation of the maps.

    Args:
      maps: [B, h, w, maps] of the layer.
      kernel: [k, k, input maps / groups, maps], as the layer holds it.
      input_size: (H, W) of the layer's input.

    Returns:
      [B, H, W, input maps] float32.
    """
    maps, kernel = maps.astype(jnp.float32), kernel.astype(jnp.float32)
    flipped = partial(filter_flipped, conv=conv, input_size=input_size, precision=precision)
    if conv.groups > 1:
        return flipped(maps, kernel)
    columns = partial(transposed_by_columns, conv=conv, input_size=input_size, precision=precision)
    return lax.platform_dependent(maps, kernel, cpu=columns, default=flipped)


def filter_flipped(
    maps: jax.Array,
    kernel: jax.Array,
    conv: Conv,
    input_size: tuple[int, int],
    precision: str = "highest",
) -> jax.Array:
    """`filter_transposed` as a convolution of the dilated maps with flipped filters."""
    k, _, fan_in, out = kernel.shape
    # Input and output maps change places by name alone: cuDNN's transposed convolution is found
    # only where the flip is the last thing that happens to the filters.
    order = "HWOI"
    if conv.groups > 1:
        kernel = kernel.reshape(k, k, fan_in, conv.groups, out // conv.groups)
        kernel = kernel.transpose(0, 1, 4, 3, 2).reshape(k, k, -1, conv.groups * fan_in)
        order = "HWIO"
    pads = []
    for size, full in zip(maps.shape[1:3], input_size, strict=True):
        before = k - 1 - conv.padding
        dilated = (size - 1) * conv.stride + 1
        pads.append((before, full - dilated - before + k - 1))
    return lax.conv_general_dilated(
        maps,
        lax.rev(kernel, (0, 1)),
        window_strides=(1, 1),
        padding=pads,
        lhs_dilation=(conv.stride, conv.stride),
        dimension_numbers=("NHWC", order, "NHWC"),
        feature_group_count=conv.groups,
        precision=precision,
    )


def rectified(x: jax.Array, forward: jax.Array, rectify: Rectify) -> jax.Array:
    """Rectifies a reconstruction x; `forward` are the layer's rectified maps, of the same shape."""
    if rectify == "deconvnet":
        return jax.nn.relu(x)
    if rectify == "forward_mask":
        return jnp.where(forward > 0, x, 0)
    if rectify == "guided":
        return jnp.where(forward > 0, jax.nn.relu(x), 0)
    raise ValueError(f"rectify must be deconvnet, forward_mask or guided, got {rectify!r}")
