"""Max pooling that remembers its switches; on the way down unpooling with them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax

from zfnet_jax.global_pooling import global_max_pool, global_max_unpool
from zfnet_jax.pooling import LARGEST_WINDOW, max_pool_with_switches, max_unpool
from zfnet_jax.stages.pool import PoolStage
from zfnet_jax.stages.stage import Activations, Down, Frame, Place, Up, Weights, Words
from zfnet_jax.windows import Pads, both


@dataclasses.dataclass(frozen=True)
class MaxPool(PoolStage):
    outside: ClassVar[float] = -float("inf")

    @property
    def switches(self) -> str:
        """Name of its switches among the activations."""
        return f"switches{self.name.removeprefix('pool')}"

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        y, switches = self._pooled(x, self.pads_of(x))
        return y, {self.name: y, self.switches: switches}

    def inside(self, x: jax.Array, weights: Weights, up: Up, place: Place) -> jax.Array:
        return self._pooled(x, ((0, 0), (0, 0)))[0]

    def _pooled(self, x: jax.Array, pads: Pads) -> tuple[jax.Array, jax.Array]:
        if self._whole and x.shape[1:3] == both(self.pool.window) and not any(map(any, pads)):
            return global_max_pool(x)
        return max_pool_with_switches(x, self.pool.window, self.pool.stride, pads)

    @property
    def _positions(self) -> int:
        rows, columns = self.windows
        return rows.size * columns.size

    @property
    def _whole(self) -> bool:
        """Whether its one window is the whole map, as all are that are too large for a byte."""
        return self._positions > LARGEST_WINDOW

    def reads(self, down: Down) -> dict[str, int]:
        return {self.switches: self._positions}  # which names no pixel

    def margin(self, down: Down) -> int:
        """Every rule but 'sum' counts windows of value zero that name a pixel."""
        if self._whole or down.overlap == "sum":
            return 0
        return max(-(-window.size // window.stride) - 1 for window in self.windows)

    def down(
        self, x: jax.Array, read: Activations, weights: Weights, frame: Frame, down: Down
    ) -> jax.Array:
        window, stride = self.pool.window, self.pool.stride
        switches = read[self.switches]
        if self._whole:
            return global_max_unpool(x, switches, frame.size)
        return max_unpool(x, switches, frame.size, window, stride, frame.pads, down.overlap)

    def words(self) -> Words:
        crosses = f"switches $S_{{{self.name.removeprefix('pool').replace('_', ',')}}}$"
        return super().words()._replace(down="max unpooling", leaves="unpooled", crosses=crosses)
