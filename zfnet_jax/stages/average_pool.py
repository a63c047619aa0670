"""Average pooling; on the way down each value is spread over its window."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from zfnet_jax.average_pooling import average_pool, average_unpool
from zfnet_jax.stages.pool import PoolStage
from zfnet_jax.stages.stage import Activations, Down, Frame, Place, Up, Weights, Words


@dataclasses.dataclass(frozen=True)
class AveragePool(PoolStage):
    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        height, width = x.shape[1:3]
        units, place = (self.size(height, 0), self.size(width, 1)), Place((0, 0), (height, width))
        counts = self._counts(place, units)
        y = average_pool(x, self.pool.window, self.pool.stride, self.pads_of(x), counts)
        return y, {self.name: y}

    def inside(self, x: jax.Array, weights: Weights, up: Up, place: Place) -> jax.Array:
        height, width = (
            (n - window.size) // window.stride + 1
            for window, n in zip(self.windows, x.shape[1:3], strict=True)
        )
        counts = self._counts(place, (height, width))
        return average_pool(x, self.pool.window, self.pool.stride, ((0, 0), (0, 0)), counts)

    def down(
        self, x: jax.Array, read: Activations, weights: Weights, frame: Frame, down: Down
    ) -> jax.Array:
        height, width = x.shape[1:3]
        counts = self._counts(frame.place, (height, width))
        window, stride = self.pool.window, self.pool.stride
        return average_unpool(x, frame.size, window, stride, frame.pads, counts)

    def _counts(self, place: Place, units: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
        """Pixels along rows and columns that the means of units are over, see `Pool.counts`."""
        rows, columns = (
            jnp.take(
                jnp.asarray(self.pool.counts(size, axis), jnp.float32),
                jnp.asarray(first)[..., None] + jnp.arange(number),
                mode="clip",  # units outside the map are of no account
            )
            for axis, first, number, size in zip(
                (0, 1), place.first, units, place.size, strict=True
            )
        )
        return rows, columns

    def words(self) -> Words:
        return super().words()._replace(down="spreading over windows", leaves="spread")
