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
    Window,
    Words,
)
from zfnet_jax.stages.window_convolution import filter_window, spread_change


@dataclasses.dataclass(frozen=True)
class Filter(Stage):
    conv: Conv

    @property
    def window(self) -> Window:
        return Window(self.conv.kernel, self.conv.stride, self.conv.padding)

    @property
    def weights(self) -> str:
        return self.name

    @property
    def has_change(self) -> bool:
        return self.conv.stride == 1

    def size(self, size: int) -> int:
        return self.conv.size(size)

    def shape(self, inputs: tuple[int, ...]) -> tuple[int, ...]:
        height, width, _ = inputs
        return self.size(height), self.size(width), self.conv.maps

    def parameters(
        self, inputs: tuple[int, ...], kernel_init: Initializer
    ) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        conv = self.conv
        shape = (conv.kernel, conv.kernel, inputs[-1] // conv.groups, conv.maps)
        return {"kernel": (kernel_init, shape), "bias": (zeros, (conv.maps,))}

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        kernel = weights["kernel"].astype(up.dtype)
        y = filter_maps(x, kernel, self.conv, up.precision) + weights["bias"].astype(up.dtype)
        return y, {self.name: y}

    def inside(self, x: jax.Array, weights: Weights, up: Up, place: Place) -> jax.Array:
        return filter_window(x, weights["kernel"], self.conv, up.precision) + weights["bias"]

    def change(self, x: jax.Array, weights: Weights, up: Up) -> jax.Array:
        return spread_change(x, weights["kernel"], self.conv.groups, up.precision)

    def down(
        self, x: jax.Array, read: Activations, weights: Weights, frame: Frame, down: Down
    ) -> jax.Array:
        conv = dataclasses.replace(self.conv, padding=frame.pads[0][0])
        return filter_transposed(x, weights["kernel"], conv, frame.size, down.precision)

    def words(self) -> Words:
        conv, n = self.conv, self.number
        side = f"{conv.kernel} x {conv.kernel}"
        lines = [f"filter {side}", f"stride {conv.stride}"]
        if conv.padding:
            lines.append(f"padding {conv.padding}")
        if conv.groups > 1:
            lines.append(f"{conv.groups} groups")
        return Words(
            tuple(lines),
            up=f"filter $F_{{{n}}}$: {side}, stride {conv.stride}",
            down=f"filter $F_{{{n}}}^T$",
            holds=f"layer {n}",
            leaves=f"reconstructed by layer {n}",
            crosses=f"filters $F_{{{n}}}$",
        )
