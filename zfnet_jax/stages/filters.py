"""The filters of a layer and their biases; on the way down the filters transposed."""

from __future__ import annotations

import dataclasses

import jax
from jax.nn.initializers import Initializer, zeros

from zfnet_jax.convolution import filter_maps, filter_transposed
from zfnet_jax.layer_specs import Conv
from zfnet_jax.stages.stage import (
    Activations,
    Down,
    Frame,
    Place,
    Stage,
    Up,
    Weights,
    Words,
)
from zfnet_jax.stages.window_convolution import filter_window, spread_change
from zfnet_jax.windows import Window, by, in_words, padding_words


@dataclasses.dataclass(frozen=True)
class Filter(Stage):
    conv: Conv

    @property
    def windows(self) -> tuple[Window, Window]:
        return self.conv.windows

    @property
    def weights(self) -> str:
        return self.name

    @property
    def has_change(self) -> bool:
        return self.conv.stride == 1

    def size(self, size: int, axis: int = 0) -> int:
        return self.conv.size(size, axis)

    def shape(self, inputs: tuple[int, ...]) -> tuple[int, ...]:
        height, width, _ = inputs
        return self.size(height, 0), self.size(width, 1), self.conv.maps

    def parameters(
        self, inputs: tuple[int, ...], kernel_init: Initializer
    ) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        conv, (rows, columns) = self.conv, self.windows
        shape = (rows.size, columns.size, inputs[-1] // conv.groups, conv.maps)
        return {"kernel": (kernel_init, shape), "bias": (zeros, (conv.maps,))}

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        kernel = weights["kernel"].astype(up.dtype)
        y = filter_maps(x, kernel, self.conv, up.precision) + weights["bias"].astype(up.dtype)
        return y, {self.name: y}

    def inside(self, x: jax.Array, weights: Weights, up: Up, place: Place) -> jax.Array:
        return filter_window(x, weights["kernel"], self.conv, up.precision) + weights["bias"]

    def change(self, x: jax.Array, weights: Weights, up: Up) -> jax.Array:
        return spread_change(x, weights["kernel"], self.conv, up.precision)

    def down(
        self, x: jax.Array, read: Activations, weights: Weights, frame: Frame, down: Down
    ) -> jax.Array:
        conv = dataclasses.replace(self.conv, padding=frame.pads)
        return filter_transposed(x, weights["kernel"], conv, frame.size, down.precision)

    def words(self) -> Words:
        conv, n = self.conv, self.number
        side, stride = by(conv.kernel), in_words(conv.stride)
        lines = [f"filter {side}", f"stride {stride}"]
        if conv.padding:
            lines.append(f"padding {padding_words(conv.padding)}")
        if conv.dilation != 1:
            lines.append(f"dilation {in_words(conv.dilation)}")
        if conv.groups > 1:
            lines.append(f"{conv.groups} groups")
        return Words(
            tuple(lines),
            up=f"filter $F_{{{n}}}$: {side}, stride {stride}",
            down=f"filter $F_{{{n}}}^T$",
            holds=f"layer {n}",
            leaves=f"reconstructed by layer {n}",
            crosses=f"filters $F_{{{n}}}$",
        )
