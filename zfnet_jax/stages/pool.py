"""What the stages of pools share: their windows, and what drawings say of these."""

from __future__ import annotations

import dataclasses

from zfnet_jax.layer_specs import Pool
from zfnet_jax.stages.stage import Stage, Window, Words


@dataclasses.dataclass(frozen=True)
class PoolStage(Stage):
    pool: Pool

    @property
    def window(self) -> Window:
        return Window(self.pool.window, self.pool.stride, self.pool.padding)

    def size(self, size: int) -> int:
        return self.pool.size(size)

    def pads(self, size: int) -> tuple[int, int]:
        return self.pool.pads(size)

    def words(self) -> Words:
        pool = self.pool
        does = f"{pool.kind} pool {pool.window} x {pool.window}"
        stride = f"stride {pool.stride}"
        padding = [f"padding {pool.padding}"] if pool.padding else []
        return Words((does, stride, *padding), up=f"{does}, {stride}", holds="pooled")
