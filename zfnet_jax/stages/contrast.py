"""Contrast normalisation, which the deconvnet passes by (Section 2.1)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax

from zfnet_jax.contrast_norm import contrast_norm, norm_inside
from zfnet_jax.layer_specs import ContrastNorm
from zfnet_jax.stages.stage import Activations, Place, Stage, Up, Weights, Words
from zfnet_jax.windows import Window


@dataclasses.dataclass(frozen=True)
class Normalise(Stage):
    norm: ContrastNorm

    projects: ClassVar[bool] = False

    @property
    def windows(self) -> tuple[Window, Window]:
        edge = self.norm.window // 2
        return (Window(self.norm.window, 1, edge, edge),) * 2

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        y = contrast_norm(x, self.norm)
        return y, {self.name: y}

    def inside(self, x: jax.Array, weights: Weights, up: Up, place: Place) -> jax.Array:
        return norm_inside(x, self.norm)

    def words(self) -> Words:
        return Words(("contrast norm",), up="contrast norm", holds="normalised")
