"""Max pooling that remembers its switches; on the way down unpooling with them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax

from zfnet_jax.global_pooling import global_max_pool, global_max_unpool
from zfnet_jax.layer_specs import LARGEST_WINDOW
from zfnet_jax.pooling import Pads, max_pool_with_switches, max_unpool
from zfnet_jax.stages.pool import PoolStage
from zfnet_jax.stages.stage import Activations, Down, Frame, Place, Up, Weights, Words


@dataclasses.dataclass(frozen=True)
class MaxPool(PoolStage):
    outside: ClassVar[float] = -float("inf")

    @property
    def switches(self) -> str:
        """Name of its switches among the activations."""
        return f"switches{self.name.removeprefix('pool')}"

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        pads = (self.pads(x.shape[1]), self.pads(x.shape[2]))
        y, switches = self._pooled(x, pads)
        return y, {self.name: y, self.switches: switches}

    def inside(self, x: jax.Array, weights: Weights, up: Up, place: Place) -> jax.Array:
        return self._pooled(x, ((0, 0), (0, 0)))[0]

    def _pooled(self, x: jax.Array, pads: Pads) -> tuple[jax.Array, jax.Array]:
        window = self.pool.window
        if window > LARGEST_WINDOW and x.shape[1:3] == (window, window) and not any(map(any, pads)):
            return global_max_pool(x)
        return max_pool_with_switches(x, window, self.pool.stride, pads)

    def reads(self, down: Down) -> dict[str, int]:
        return {self.switches: self.pool.window**2}  # which names no pixel

    def margin(self, down: Down) -> int:
        """Every rule but 'sum' counts windows of value zero that name a pixel."""
        if self.pool.window > LARGEST_WINDOW:  # there is one alone
            return 0
        return 0 if down.overlap == "sum" else -(-self.pool.window // self.pool.stride) - 1

    def down(
        self, x: jax.Array, read: Activations, weights: Weights, frame: Frame, down: Down
    ) -> jax.Array:
        window, stride = self.pool.window, self.pool.stride
        switches = read[self.switches]
        if window > LARGEST_WINDOW:  # there is one alone
            return global_max_unpool(x, switches, frame.size)
        return max_unpool(x, switches, frame.size, window, stride, frame.pads, down.overlap)

    def words(self) -> Words:
        crosses = f"switches $S_{{{self.name.removeprefix('pool').replace('_', ',')}}}$"
        return super().words()._replace(down="max unpooling", leaves="unpooled", crosses=crosses)
