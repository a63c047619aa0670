"""What the stages of pools share: their windows, and what drawings say of these."""

from __future__ import annotations

import dataclasses

import jax

from zfnet_jax.layer_specs import Pool
from zfnet_jax.stages.stage import Stage, Words
from zfnet_jax.windows import Pads, Pair, Window, by, in_words, padding_words


@dataclasses.dataclass(frozen=True)
class PoolStage(Stage):
    pool: Pool

    @property
    def windows(self) -> tuple[Window, Window]:
        return self.pool.windows

    def size(self, size: int, axis: int = 0) -> int:
        return self.pool.size(size, axis)

    def pads(self, size: int, axis: int = 0) -> Pair:
        return self.pool.pads(size, axis)

    def pads_of(self, x: jax.Array) -> Pads:
        """Around maps [B, H, W, C]."""
        height, width = x.shape[1:3]
        return self.pads(height, 0), self.pads(width, 1)

    def words(self) -> Words:
        pool = self.pool
        does = f"{pool.kind} pool {by(pool.window)}"
        stride = f"stride {in_words(pool.stride)}"
        padding = [f"padding {padding_words(pool.padding)}"] if pool.padding else []
        return Words((does, stride, *padding), up=f"{does}, {stride}", holds="pooled")
