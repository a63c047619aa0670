"""The architecture as immutable data: what `config.model` says, checked once, hashable for jit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import ml_collections

Rounding = Literal["floor", "ceil"]
AlphaConvention = Literal["sum", "mean"]
NormRegion = Literal["across_maps", "within_map"]


@dataclasses.dataclass(frozen=True)
class Pool:
    """Max pooling: square window, stride and zero-information padding in pixels.

    `rounding` says what happens to the far edge where the windows do not tile the map: 'floor'
    leaves the last pixels out, 'ceil' adds a partial window (Krizhevsky's cuda-convnet, Caffe).
    """

    window: int
    stride: int
    padding: int = 0
    rounding: Rounding = "floor"

    def __post_init__(self) -> None:
        if self.window < 1 or self.stride < 1 or not 0 <= self.padding < self.window:
            raise ValueError(
                f"pool: window and stride must be at least 1 and padding in [0, window), got {self}"
            )
        _check_choice("pool.rounding", self.rounding, ("floor", "ceil"))


@dataclasses.dataclass(frozen=True)
class ContrastNorm:
    """Contrast normalisation (Krizhevsky et al. 2012, Section 3.3).

    `region`: a value's neighbours are the `maps` maps around its own at the same pixel
    ('across_maps', the paper), or the `maps` x `maps` pixels around it in its own map
    ('within_map', some Caffe models).
    `alpha_convention`: 'sum' multiplies alpha by the plain sum of squares over the neighbours,
    'mean' divides it by their number first (Caffe, cuDNN, PyTorch, ONNX).
    """

    maps: int
    k: float
    alpha: float
    beta: float
    alpha_convention: AlphaConvention
    region: NormRegion = "across_maps"

    def __post_init__(self) -> None:
        if self.maps < 1 or self.maps % 2 == 0:
            raise ValueError(f"contrast_norm.maps must be odd and positive, got {self.maps}")
        if not (self.k > 0 and self.alpha >= 0):
            raise ValueError(
                "contrast_norm.k must be positive and alpha not negative, "
                f"got {self.k} and {self.alpha}"
            )
        _check_choice("contrast_norm.alpha_convention", self.alpha_convention, ("sum", "mean"))
        _check_choice("contrast_norm.region", self.region, ("across_maps", "within_map"))

    @property
    def neighbours(self) -> int:
        """How many values, its own included, each value is divided by."""
        return self.maps if self.region == "across_maps" else self.maps**2

    @property
    def window(self) -> int:
        """Side of the window of pixels that a value's neighbours lie in."""
        return 1 if self.region == "across_maps" else self.maps


@dataclasses.dataclass(frozen=True)
class Conv:
    """One convolutional layer: filter, relu, then pool and contrast norm where it has them."""

    number: int  # the paper's layer number; a removed layer leaves a gap
    maps: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    pool: Pool | None = None
    contrast_norm: ContrastNorm | None = None

    def __post_init__(self) -> None:
        if min(self.maps, self.kernel, self.stride, self.groups) < 1 or self.padding < 0:
            raise ValueError(f"{self.name}: sizes must be positive, got {self}")
        if self.maps % self.groups:
            raise ValueError(
                f"{self.name}: {self.maps} maps do not divide into {self.groups} groups"
            )

    @property
    def name(self) -> str:
        return f"conv{self.number}"


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A convnet of the ZFNet family: conv layers, dense layers, softmax (paper, Fig. 3).

    `dropout_scales_training`: what dropout leaves is scaled up in training; otherwise, as in the
    paper's time, all is scaled down in evaluation.
    """

    convs: tuple[Conv, ...]
    dense: tuple[int, ...]
    classes: int
    dropout: float
    norm_before_pool: bool = False
    dropout_scales_training: bool = True

    def __post_init__(self) -> None:
        numbers = [conv.number for conv in self.convs]
        if not numbers or numbers != sorted(set(numbers)):
            raise ValueError(
                f"model.layers must name each conv layer once, in ascending order, got {numbers}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout must be in [0, 1), got {self.dropout}")
        if self.norm_before_pool and any(c.contrast_norm and not c.pool for c in self.convs):
            raise ValueError("model.norm_before_pool: a layer with contrast norm has no pool")

    @property
    def dense_names(self) -> tuple[str, ...]:
        """Names of the hidden dense layers: their numbers go on from the last conv layer's."""
        first = self.convs[-1].number + 1
        return tuple(f"fc{first + i}" for i in range(len(self.dense)))

    def depth_of(self, layer: str) -> tuple[int, Literal["conv", "pool"]]:
        """Index into `convs` and kind of a layer by name, such as 'conv3' or 'pool5'.

        ValueError names the layers there are.
        """
        for index, conv in enumerate(self.convs):
            if layer == conv.name:
                return index, "conv"
            if conv.pool and layer == f"pool{conv.number}":
                return index, "pool"
        raise ValueError(f"no layer {layer!r}: the net has {', '.join(self.map_layers)}")

    @property
    def map_layers(self) -> tuple[str, ...]:
        """Names of every layer of feature maps that a projection can start from."""
        names = []
        for conv in self.convs:
            names.append(conv.name)
            if conv.pool:
                names.append(f"pool{conv.number}")
        return tuple(names)


def completed(model: Mapping[str, Any] | ml_collections.ConfigDict) -> dict[str, Any]:
    """A config's model section with the fields that came later, as nets of before computed them."""
    added = {"dropout_scales_training": True} | dict(model)
    added["contrast_norm"] = {"region": "across_maps"} | dict(model["contrast_norm"])
    return added


def from_config(model: ml_collections.ConfigDict, classes: int) -> Architecture:
    """Reads `config.model` (see configs/architectures.py for its fields).

    Args:
      model: the config's model section; `model.layers` lists the conv layers in use, by name.
      classes: number of classes, which the data set says.

    Raises:
      ValueError: a field has a value that no net can be built from.
    """
    later = completed(model)
    norm = ContrastNorm(**later["contrast_norm"])
    convs = []
    for name in model.layers:
        if name not in model or not name.removeprefix("conv").isdigit():
            raise ValueError(f"model.layers names {name!r}, but there is no field model.{name}")
        fields = dict(model[name])
        pool = dict(fields.pop("pool"))
        has_norm = fields.pop("contrast_norm")
        convs.append(
            Conv(
                number=int(name.removeprefix("conv")),
                **fields,
                pool=Pool(**pool) if pool["window"] else None,
                contrast_norm=norm if has_norm else None,
            )
        )
    return Architecture(
        convs=tuple(convs),
        dense=tuple(model.dense),
        classes=classes,
        dropout=model.dropout,
        norm_before_pool=model.norm_before_pool,
        dropout_scales_training=later["dropout_scales_training"],
    )


def _check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}, got {value!r}")
