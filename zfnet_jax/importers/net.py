"""An imported net: an architecture with the parameters that it has."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import model
from zfnet_jax.architecture import Architecture
from zfnet_jax.importers.chain import CHANNELS
from zfnet_jax.windows import Pair


@dataclasses.dataclass(frozen=True)
class Net:
    """An imported net.

    Attributes:
      model: the architecture, as `config.model` has it (see configs/architectures.py).
      params: the model's parameters, float32.
      classes: number of classes; 0 without a classifier.
      origins: what its layers are called where it comes from, see `runs.origins`.
    """

    model: dict[str, Any]
    params: dict[str, dict[str, np.ndarray]]
    classes: int
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)


def checked(
    section: dict[str, Any],
    params: Mapping[str, Mapping[str, np.ndarray]],
    classes: int,
    crop: Pair,
    origins: Mapping[str, str] | None = None,
) -> Net:
    """The net, if it takes RGB images of `crop` (H, W) pixels with these very parameters.

    Raises:
      ValueError: `section` describes no net, or names the first parameter that has another shape,
        or values that are no finite numbers.
    """
    net = model.from_config(ConfigDict(section), classes)
    fitting = {
        layer: {
            name: _float32(params[layer][name], leaf.shape, f"{layer}: its {name}")
            for name, leaf in leaves.items()
        }
        for layer, leaves in _shapes(net.architecture, crop).items()
    }
    return Net(section, fitting, classes, origins or {})


@functools.lru_cache
def _shapes(net: Architecture, crop: Pair) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """Of the parameters of a net for images of `crop` (H, W) pixels."""
    images = jax.ShapeDtypeStruct((1, *crop, CHANNELS), jnp.float32)
    built = model.ZFNet(net, kernel_init=nn.initializers.zeros)
    return jax.eval_shape(built.init, jax.random.key(0), images)["params"]


def _float32(array: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    if array.shape != shape:
        raise ValueError(f"{what} is {list(array.shape)}, expected {list(shape)}")
    if not jnp.issubdtype(array.dtype, jnp.floating):  # as NumPy has it, bfloat16 is not
        raise ValueError(f"{what} is {array.dtype}, not floating point")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{what} holds values that are not finite")
    return array
