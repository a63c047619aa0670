"""The rectifier; on the way down it rectifies the reconstruction."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from zfnet_jax.stages.stage import Activations, Down, Frame, Stage, Up, Weights, Words


@dataclasses.dataclass(frozen=True)
class Relu(Stage):
    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        y = jax.nn.relu(x)
        return y, {self.name: y}

    def reads(self, down: Down) -> dict[str, int]:
        return {} if down.rectify == "deconvnet" else {self.name: 0}

    def down(
        self, x: jax.Array, read: Activations, weights: Weights, frame: Frame, down: Down
    ) -> jax.Array:
        if down.rectify == "deconvnet":
            return jax.nn.relu(x)
        active = read[self.name] > 0
        if down.rectify == "forward_mask":
            return jnp.where(active, x, 0)
        if down.rectify == "guided":
            return jnp.where(active, jax.nn.relu(x), 0)
        raise ValueError(f"rectify must be deconvnet, forward_mask or guided, got {down.rectify!r}")

    def words(self) -> Words:
        return Words(("relu",), up="relu", down="rectify")
