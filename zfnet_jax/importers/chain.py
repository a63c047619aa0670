"""A foreign net as the chain of its layers, which every importer reads its file into.

Arrays are laid out as PyTorch, ONNX and Caffe all have them: filters [maps, input maps, k, k],
weights [units, inputs], flattened maps in the order map, row, column.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from zfnet_jax.layer_specs import NormRegion, PoolKind


@dataclasses.dataclass(frozen=True)
class Filters:
    """A convolution: weight [maps, input maps / groups, k, k], bias [maps]."""

    name: str
    weight: np.ndarray
    bias: np.ndarray
    stride: int
    padding: int
    groups: int = 1


@dataclasses.dataclass(frozen=True)
class Rectifier:
    name: str


@dataclasses.dataclass(frozen=True)
class Norm:
    """Contrast norm whose alpha is divided by the number of neighbours, as in all the formats."""

    name: str
    size: int
    k: float
    alpha: float
    beta: float
    region: NormRegion = "across_maps"


@dataclasses.dataclass(frozen=True)
class WindowPool:
    """Max or average pool.

    `padding`: before and after the maps, along both axes; `ceil`: partial windows count;
    `counts_padding`: padding counts as zeros in a mean, or not at all. What a partial window has
    beyond the padding never counts.
    """

    name: str
    kind: PoolKind
    window: int
    stride: int
    padding: tuple[int, int]
    ceil: bool
    counts_padding: bool = True


@dataclasses.dataclass(frozen=True)
class GlobalPool:
    """The maximum or the mean of each whole map."""

    name: str
    kind: PoolKind


@dataclasses.dataclass(frozen=True)
class RegionPool:
    """Max pool of one region, the whole image, to `side` x `side` values (RoI pooling).

    `scale`: units of the maps per pixel of the image.
    """

    name: str
    side: int
    scale: float


@dataclasses.dataclass(frozen=True)
class Dropout:
    name: str
    rate: float
    scales_training: bool = True


@dataclasses.dataclass(frozen=True)
class Weights:
    """A dense layer: weight [units, inputs], bias [units]."""

    name: str
    weight: np.ndarray
    bias: np.ndarray


AnyPool = WindowPool | GlobalPool | RegionPool
Link = Filters | Rectifier | Norm | AnyPool | Dropout | Weights
