"""Dense layers: their weights and biases, dropout; and the class scores, of whatever layer."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import Initializer, zeros
from jax.typing import DTypeLike

from zfnet_jax.stages.stage import Activations, Stage, Up, Weights, Words


@dataclasses.dataclass(frozen=True)
class Dense(Stage):
    """Units of which each sees all maps, flattened as row, column, map, or all units before it."""

    units: int

    @property
    def windows(self) -> None:
        return None

    @property
    def weights(self) -> str:
        return self.name

    def shape(self, inputs: tuple[int, ...]) -> tuple[int, ...]:
        return (self.units,)

    def parameters(
        self, inputs: tuple[int, ...], kernel_init: Initializer
    ) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        return {
            "kernel": (kernel_init, (math.prod(inputs), self.units)),
            "bias": (zeros, (self.units,)),
        }

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        y = self._sums(x, weights, up.dtype, up.precision)
        return y, {self.name: y}

    def _sums(self, x: jax.Array, weights: Weights, dtype: DTypeLike, precision: str) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        x, kernel, bias = (a.astype(dtype) for a in (x, weights["kernel"], weights["bias"]))
        y = lax.dot_general(x, kernel, (((1,), (0,)), ((), ())), precision=precision)
        return y + bias.reshape(1, -1)

    def words(self) -> Words:
        return Words(("dense",), up="dense", holds=f"layer {self.number}")


@dataclasses.dataclass(frozen=True)
class Logits(Dense):
    """The class scores, in float32 whatever the rest is computed in: of a thousand scores in
    bfloat16 many tie."""

    scores: ClassVar[bool] = True

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        return self._sums(x, weights, jnp.float32, up.precision), {}

    def words(self) -> Words:
        return Words(("dense", "softmax"), up="dense; softmax", holds="classes")


@dataclasses.dataclass(frozen=True)
class MapLogits(Stage):
    """The class scores where the last maps, of one unit each, are these: nets that end in a global
    pool or in dense layers written as convolutions (Lin et al. 2013, Section 3.2). float32."""

    classes: int

    scores: ClassVar[bool] = True

    @property
    def windows(self) -> None:
        return None

    def shape(self, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """ValueError unless there is one value a class."""
        if inputs != (1, 1, self.classes):
            rows, columns, maps = inputs
            raise ValueError(
                f"the last maps are the class scores, but they are {maps} maps of {rows} x"
                f" {columns} units, for {self.classes} classes: expected one unit a class,"
                " of as many maps (config.model.convN.maps)"
            )
        return (self.classes,)

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        return x.astype(jnp.float32).reshape(-1, *self.shape(x.shape[1:])), {}

    def words(self) -> Words:
        return Words(("softmax",), up="softmax", holds="classes")


@dataclasses.dataclass(frozen=True)
class Dropout(Stage):
    """Dropout with rate `rate`; `depth` tells the net's dropouts apart.

    Its activation is what the next layer reads in evaluation. `scales_training`: see
    `architecture.Architecture`.
    """

    rate: float
    scales_training: bool
    depth: int

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        if up.dropout_keys is not None:
            keys = jax.vmap(jax.random.fold_in, (0, None))(up.dropout_keys, self.depth)
            return dropout(x, keys, self.rate, self.scales_training), {}
        if not self.scales_training:
            x = x * (1 - self.rate)
        return x, {self.name: x}

    def words(self) -> Words:
        return Words((f"dropout {self.rate:g}",))


def dropout(x: jax.Array, keys: jax.Array, rate: float, scales: bool = True) -> jax.Array:
    """Sets a share `rate` of each row to zero, one key per row.

    Args:
      x: [B, units].
      keys: [B] keys.
      scales: whether the rest is scaled up, so that the mean stays.
    """
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1 - rate) if scales else x, 0)
