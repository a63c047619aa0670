"""The rectifier: plain, leaky or capped; on the way down it rectifies the reconstruction."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from zfnet_jax.layer_specs import RELU, Rectifier
from zfnet_jax.stages.stage import Activations, Down, Frame, Stage, Up, Weights, Words


@dataclasses.dataclass(frozen=True)
class Relu(Stage):
    rectifier: Rectifier = RELU

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        y = self._leak(x)
        if self.rectifier.cap is not None:
            y = jnp.minimum(y, self.rectifier.cap)
        return y, {self.name: y}

    def _leak(self, x: jax.Array) -> jax.Array:
        slope = self.rectifier.slope
        return jnp.where(x > 0, x, slope * x) if slope else jax.nn.relu(x)

    def reads(self, down: Down) -> dict[str, int]:
        return {} if down.rectify == "deconvnet" else {self.name: 0}

    def down(
        self, x: jax.Array, read: Activations, weights: Weights, frame: Frame, down: Down
    ) -> jax.Array:
        """A cap is not for reconstructions, whose scale is that of the value they start from."""
        if down.rectify == "deconvnet":
            return self._leak(x)
        y, (slope, cap) = read[self.name], dataclasses.astuple(self.rectifier)
        passed = x if down.rectify == "forward_mask" else self._leak(x)
        if down.rectify not in ("forward_mask", "guided"):
            raise ValueError(
                f"rectify must be deconvnet, forward_mask or guided, got {down.rectify!r}"
            )
        below = jnp.where(y > 0, passed, slope * passed if slope else 0)
        return below if cap is None else jnp.where(y < cap, below, 0)

    def words(self) -> Words:
        slope, cap = dataclasses.astuple(self.rectifier)
        lines = [f"leaky relu {slope:g}" if slope else "relu"]
        if cap is not None:
            lines.append(f"at most {cap:g}")
        back = "leaky relu" if slope else "rectify"
        return Words(tuple(lines), up=", ".join(lines), down=back, leaves="rectified")
