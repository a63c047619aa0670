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
from typing import Any

import jax
import jax.numpy as jnp

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.rules import Overlap, Rectify
from zfnet_jax.stages.stage import Down, Frame, Place, Stage


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
      rectify, overlap: see `rules`.
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
    stages = net.stages_to(layer)
    heights, widths = (geometry.sizes(stages, n, axis) for axis, n in enumerate(image_size))
    rules = Down(rectify, overlap, precision)
    x = seed.astype(jnp.float32)
    result = {}
    for stage, *size in reversed(list(zip(stages, heights, widths))):
        if stage.projects:
            x = down(stage, x, activations, params, geometry.both_axes(size), rules)
        result[f"layer{stage.number}"] = x
    return result


def down(
    stage: Stage,
    x: jax.Array,
    activations: Mapping[str, jax.Array],
    params: Mapping[str, Any],
    size: tuple[int, int],
    rules: Down,
) -> jax.Array:
    """The way down of one stage, from all of what it puts out [B, h, w, C] to its input, (H, W)."""
    pads = geometry.both_axes(stage.pads(n, axis) for axis, n in enumerate(size))
    frame = Frame(size, pads, Place((0, 0), size))
    read = {name: activations[name] for name in stage.reads(rules)}
    return stage.down(x, read, stage.own(params), frame, rules)
