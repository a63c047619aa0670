"""The same net in PyTorch, with the same weights: for benchmarks against PyTorch and Captum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.layer_specs import Conv, plain_then
from zfnet_jax.windows import Pair, Window


class TorchZFNet(nn.Module):
    """A net of the family as a PyTorch user would write it: [B, 3, H, W] -> logits [B, classes].

    Rectifiers are modules of their own, `relu1`, `relu2`, ..., as Captum's methods need them.
    Dropout acts in training mode only.
    """

    def __init__(
        self, architecture: Architecture, params: Mapping[str, Any] | None, image_size: int
    ) -> None:
        """`params` as the JAX net holds them; None leaves PyTorch's own, for images of RGB."""
        super().__init__()
        if any(c.then != plain_then(True, c.pool, c.contrast_norm) for c in architecture.convs):
            raise ValueError("this PyTorch net rectifies, pools, then normalises")
        self.layers = nn.Sequential()
        maps = params[architecture.convs[0].name]["kernel"].shape[2] if params else 3
        for conv in architecture.convs:
            layer = nn.Conv2d(
                maps,
                conv.maps,
                conv.kernel,
                conv.stride,
                _padding(conv.windows),
                groups=conv.groups,
            )
            _fill(layer, params and params[conv.name], (3, 2, 0, 1))
            self.layers.add_module(conv.name, layer)
            self.layers.add_module(f"relu{conv.number}", nn.ReLU())
            self._add_pool(conv)
            maps = conv.maps
        last = architecture.convs[-1]
        sizes = geometry.layer_sizes(architecture, image_size)
        side = sizes[f"pool{last.number}" if last.pool else last.name]
        self.dense = nn.Sequential()
        units = maps * side * side
        for name, width in zip(architecture.dense_names, architecture.dense, strict=True):
            layer = nn.Linear(units, width)
            _fill(layer, params and params[name], (1, 0))
            self.dense.add_module(name, layer)
            self.dense.add_module(f"relu_{name}", nn.ReLU())
            self.dense.add_module(f"dropout_{name}", nn.Dropout(architecture.dropout))
            units = width
        layer = nn.Linear(units, architecture.classes)
        _fill(layer, params and params["logits"], (1, 0))
        self.dense.add_module("logits", layer)

    def _add_pool(self, conv: Conv) -> None:
        if conv.pool:
            pool = conv.pool
            ceil = pool.rounding == "ceil"
            layer = nn.MaxPool2d(pool.window, pool.stride, _padding(pool.windows), ceil_mode=ceil)
            self.layers.add_module(f"pool{conv.number}", layer)
        if conv.contrast_norm:
            norm = conv.contrast_norm
            alpha = norm.alpha * (norm.maps if norm.alpha_convention == "sum" else 1)
            layer = nn.LocalResponseNorm(norm.maps, alpha, norm.beta, norm.k)
            self.layers.add_module(f"norm{conv.number}", layer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.layers(images)
        # Weights of the first dense layer are in the order row, column, map.
        return self.dense(maps.permute(0, 2, 3, 1).flatten(1))


def laid_out(net: TorchZFNet, memory: torch.memory_format, device: str = "cpu") -> TorchZFNet:
    """The net with its filters laid out so in the memory of a device."""
    untyped: Any = net  # PyTorch's types leave this argument of `to` out
    return untyped.to(device, memory_format=memory)


def _fill(
    layer: nn.Conv2d | nn.Linear, params: Mapping[str, Any] | None, order: tuple[int, ...]
) -> None:
    if params is None:
        return
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(params["kernel"]).transpose(order)))
        assert layer.bias is not None  # all layers have one
        layer.bias.copy_(torch.from_numpy(np.array(params["bias"])))


def _padding(windows: tuple[Window, Window]) -> Pair:
    """As PyTorch takes it, the same before and after."""
    rows, columns = windows
    return rows.before, columns.before
