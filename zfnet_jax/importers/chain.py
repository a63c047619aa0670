"""A foreign net as the chain of its layers, which every importer reads its file into.

Arrays are laid out as PyTorch, ONNX and Caffe all have them: filters [maps, input maps, k, k],
weights [units, inputs], flattened maps in the order map, row, column.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from zfnet_jax.layer_specs import NormRegion, PoolKind
from zfnet_jax.windows import Padding, Pads, Pair, Sides, both, pads

CHANNELS = 3  # red, green, blue
TORCH_EPSILON = 1e-5  # of torch.nn.BatchNorm2d, whose state_dict does not say it

# As many units as pixels, divided by the stride and rounded up; an odd pixel of padding comes last,
# or first. How much there is depends on the size of the maps: `sized`.
Same = Literal["same_upper", "same_lower"]


@dataclasses.dataclass(frozen=True)
class Filters:
    """A convolution: weight [maps, input maps / groups, k, l], bias [maps]."""

    name: str
    weight: np.ndarray
    bias: np.ndarray
    stride: Sides
    padding: Padding | Same
    groups: int = 1
    dilation: Sides = 1


@dataclasses.dataclass(frozen=True)
class Affine:
    """Batch norm in evaluation, a scale or a bias: each map or unit times factor plus shift, both
    [maps], or [1] for all."""

    name: str
    factor: np.ndarray
    shift: np.ndarray


@dataclasses.dataclass(frozen=True)
class Rectifier:
    """A relu; `slope` and `cap` as in `layer_specs.Rectifier`."""

    name: str
    slope: float = 0.0
    cap: float | None = None


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
class Zeros:
    """Zeros around maps, ((top, bottom), (left, right)) pixels."""

    name: str
    pads: Pads


@dataclasses.dataclass(frozen=True)
class WindowPool:
    """Max or average pool.

    `ceil`: partial windows count;
    `counts_padding`: padding counts as zeros in a mean, or not at all. What a partial window has
    beyond the padding never counts.
    """

    name: str
    kind: PoolKind
    window: Sides
    stride: Sides
    padding: Padding | Same
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
    """A dense layer: weight [units, inputs], bias [units].

    `channels_last`: what it reads of maps is flattened in the order row, column, map.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    channels_last: bool = False


@dataclasses.dataclass(frozen=True)
class Softmax:
    """Says that what comes before it are the class scores; the last link, where a file has it."""

    name: str


def sized(
    padding: Padding | Same, window: Sides, stride: Sides, dilation: Sides, size: Pair
) -> Pads:
    """Padding around maps of `size` pixels."""
    if not isinstance(padding, str):
        return pads(padding)
    ends = []
    for n, k, s, d in zip(size, both(window), both(stride), both(dilation), strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        less, more = total // 2, total - total // 2
        ends.append((less, more) if padding == "same_upper" else (more, less))
    return ends[0], ends[1]


AnyPool = WindowPool | GlobalPool | RegionPool
Link = Filters | Affine | Rectifier | Norm | Zeros | AnyPool | Dropout | Weights | Softmax


def batch_norm(
    name: str,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
    scale: np.ndarray | float = 1.0,
    shift: np.ndarray | float = 0.0,
) -> Affine:
    """Batch norm with the mean and variance [maps] that training left.

    Raises:
      ValueError: the arrays have not one shape, or a variance is negative.
    """
    arrays = [np.asarray(array, np.float64) for array in (mean, variance, scale, shift)]
    shapes = [array.shape for array in arrays if array.ndim]
    if len(set(shapes)) != 1 or len(shapes[0]) != 1 or (arrays[1] < 0).any():
        raise ValueError(f"{name}: a batch norm of tensors {[list(shape) for shape in shapes]}")
    factor = arrays[2] / np.sqrt(arrays[1] + epsilon)
    return Affine(name, factor, arrays[3] - arrays[0] * factor)


def in_colours(chain: Sequence[Link]) -> tuple[list[Link], bool]:
    """The chain for colour images, and whether it was one for grey images.

    Filters of grey images become filters of colours, of which each takes a third: the same sums for
    the mean of red, green and blue, which in a grey photo is its grey. So everything here that has
    colour images works on grey nets, and their projections are grey.
    """
    links = list(chain)
    for place, link in enumerate(links):
        if isinstance(link, Filters):
            weight = link.weight
            if weight.ndim != 4 or weight.shape[1] != 1 or link.groups != 1:
                break
            thirds = np.repeat(np.asarray(weight, np.float32) / CHANNELS, CHANNELS, axis=1)
            links[place] = dataclasses.replace(link, weight=thirds)
            return links, True
    return links, False
