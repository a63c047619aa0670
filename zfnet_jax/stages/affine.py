"""Each map times its factor plus its shift; on the way down the factor alone."""

from __future__ import annotations

import dataclasses

import jax
from jax.nn.initializers import Initializer, ones, zeros

from zfnet_jax.stages.stage import Activations, Down, Frame, Stage, Up, Weights, Words


@dataclasses.dataclass(frozen=True)
class ScaleAndShift(Stage):
    @property
    def weights(self) -> str:
        return self.name

    def parameters(
        self, inputs: tuple[int, ...], kernel_init: Initializer
    ) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        return {"scale": (ones, inputs[-1:]), "bias": (zeros, inputs[-1:])}

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        y = x * weights["scale"].astype(up.dtype) + weights["bias"].astype(up.dtype)
        return y, {self.name: y}

    def down(
        self, x: jax.Array, read: Activations, weights: Weights, frame: Frame, down: Down
    ) -> jax.Array:
        return x * weights["scale"]

    def words(self) -> Words:
        does = "scale and shift"
        return Words((does,), up=does, down="scale", holds="scaled", leaves="scaled back")
