"""What the layers of a Keras net need of its weights, and the links of a chain that they become.

All that the config says is checked here, before a byte of the weights is read: how many maps and,
where images have a known size, how many pixels each layer has.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zfnet_jax.importers.chain import (
    Affine,
    Dropout,
    Filters,
    GlobalPool,
    Link,
    Rectifier,
    Softmax,
    Weights,
    WindowPool,
    batch_norm,
)
from zfnet_jax.importers.keras.fields import (
    activation,
    as_activation,
    channels_come_first,
    is_linear,
    number,
    pair,
    real,
    whole,
)
from zfnet_jax.importers.keras.layers import Layer
from zfnet_jax.layer_specs import PoolKind
from zfnet_jax.windows import Pads, Pair, Sides, added, both

# Nothing happens in them in evaluation.
_NOTHING = (
    "ActivityRegularization", "GaussianDropout", "GaussianNoise", "SpatialDropout2D",
    "RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation",
    "RandomZoom",
)  # fmt: skip
_OF_MAPS = (
    "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D",
    "GlobalAveragePooling2D", "ZeroPadding2D",
)  # fmt: skip

_NO_PADS: Pads = ((0, 0), (0, 0))


class Tensor(NamedTuple):
    """A tensor of a layer. `is_used`: whether its values are; others may be of any type."""

    role: str
    shape: tuple[int, ...]
    is_used: bool = True


@dataclasses.dataclass(frozen=True)
class Planned:
    """What becomes of a layer.

    Attributes:
      tensors: all that it has, in Keras's order.
      links: makes the links from those that are used.
    """

    layer: Layer
    tensors: tuple[Tensor, ...]
    links: Callable[..., list[Link]]


def plan(layers: Sequence[Layer], crop: Sides | None) -> tuple[list[Planned], Pair | None]:
    """What becomes of each layer, and the (H, W) of images where the config says it.

    Args:
      crop: pixels of the images, a side or rows and columns, if they are not those of the config.

    Raises:
      ValueError: names the first layer that has no place in such a net.
    """
    spatial = [layer for layer in layers if layer.kind in _OF_MAPS]
    planner = _Planner(bool(spatial) and channels_come_first(spatial[0]), crop)
    planned = [planner.add(layer) for layer in layers]
    planner.end()
    return [one for one in planned if one is not None], planner.input_size


class _Planner:
    """Goes through the layers, first to last.

    Args:
      channels_first: whether maps are [B, C, H, W], else [B, H, W, C].
    """

    def __init__(self, channels_first: bool, crop: Sides | None) -> None:
        self.input_size: Pair | None = None
        self._crop = crop
        self._channels_first = channels_first
        self._maps = 0  # of images, then of maps, then units; 0: nothing said yet
        self._size: Pair | None = None  # of maps; None: not known
        self._flat = False
        self._flattened_last = False  # whether in the order row, column, map
        self._pads = _NO_PADS  # of zeros, which the next layer takes over
        self._pad_name = ""
        self._positive = False  # whether no value is below 0
        self._ended: Softmax | None = None

    def add(self, layer: Layer) -> Planned | None:
        self._see_shape(layer)
        kind, config = layer.kind, layer.config
        if kind == "InputLayer":
            return None
        if not self._maps:
            raise ValueError(f"{layer.title}: the shape of its images is not said")
        if kind in _NOTHING:
            return None
        if self._ended and not (kind in ("Flatten", "Reshape", "Dropout") or is_linear(layer)):
            raise ValueError(f"{layer.title}: it follows {self._ended.name}, a softmax")
        if kind in _OF_MAPS:
            self._check_maps(layer)
        if kind == "Dropout":
            rate = number(layer, "rate", 0.5)
            return None if self._ended else Planned(layer, (), lambda: [Dropout(layer.name, rate)])
        if kind in ("Activation", "ReLU", "LeakyReLU", "Softmax"):
            rectifiers = self._activation(layer, as_activation(layer))
            return Planned(layer, (), lambda: list(rectifiers))
        if kind == "ZeroPadding2D":
            self._zeros(layer)
            return None
        if kind == "Conv2D":
            return self._filters(layer)
        if kind == "DepthwiseConv2D":
            return self._depthwise(layer)
        if kind in ("MaxPooling2D", "AveragePooling2D"):
            return self._pool(layer, "max" if kind == "MaxPooling2D" else "average")
        self._check_padded(layer)
        if kind in ("GlobalMaxPooling2D", "GlobalAveragePooling2D"):
            return self._global_pool(layer, "max" if kind == "GlobalMaxPooling2D" else "average")
        if kind in ("Flatten", "Reshape"):
            self._flatten(layer)
            return None
        if kind == "Dense":
            return self._dense(layer)
        if kind in ("BatchNormalization", "Normalization"):
            return self._normalisation(layer)
        if kind == "Rescaling":
            self._positive = False
            factor, shift = (self._values(layer, n, config.get(n)) for n in ("scale", "offset"))
            return Planned(layer, (), lambda: [Affine(layer.name, factor, shift)])
        raise ValueError(f"{layer.title}: a net of this family has no {kind} here")

    def end(self) -> None:
        if self._pads != _NO_PADS:
            raise ValueError(f"{self._pad_name}: nothing follows that could be padded")

    def _see_shape(self, layer: Layer) -> None:
        """The shape of images, from the first layer that says one: [batch, ...]."""
        config = layer.config
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        if self._maps or shape is None:
            return
        if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 4:
            raise ValueError(f"{layer.title}: its images are {shape}, expected four axes")
        sides = [shape[n] for n in ((2, 3) if self._channels_first else (1, 2))]
        self._maps = whole(layer, "channels", shape[1 if self._channels_first else 3])
        if None not in sides:
            rows, columns = (whole(layer, "image", side) for side in sides)
            self._size = self.input_size = rows, columns
        if self._crop is not None:
            self._size = both(self._crop)

    def _check_maps(self, layer: Layer) -> None:
        if self._flat:
            raise ValueError(f"{layer.title}: it reads maps, but they are flat there")
        if channels_come_first(layer) != self._channels_first:
            raise ValueError(f"{layer.title}: its channels are not where those of others are")

    def _check_padded(self, layer: Layer) -> None:
        if self._pads != _NO_PADS:
            raise ValueError(
                f"{self._pad_name}: zeros around what {layer.title} reads; only a convolution or a"
                " pool takes them over"
            )

    def _activation(self, layer: Layer, given: Any) -> list[Link]:
        """What an activation does; zeros around maps stay zeros in all that are known."""
        name, options = activation(layer, given)
        if name == "linear":
            return []
        if name == "softmax":
            self._check_padded(layer)
            axis = options.get("axis", -1)
            axis = axis[0] if isinstance(axis, Sequence) and len(axis) == 1 else axis
            classes = 1 if self._flat or self._channels_first else 3
            if axis not in (-1, classes) or (self._channels_first and not self._flat):
                raise ValueError(f"{layer.title}: a softmax that is not over the classes")
            self._ended = Softmax(layer.name)
            return [self._ended]
        limit, threshold = options.get("max_value"), options.get("threshold")
        slope = options.get("negative_slope", options.get("alpha"))
        if name == "relu6":
            limit = 6.0
        if name == "leaky_relu" and slope is None:
            slope = 0.3 if layer.kind == "LeakyReLU" else 0.2
        if name not in ("relu", "relu6", "leaky_relu") or threshold:
            name = f"{name} with a threshold" if threshold else name
            raise ValueError(f"{layer.title}: a net of this family has no activation {name}")
        slope = real(layer, "slope", slope or 0.0)
        self._positive = not slope
        cap = None if limit is None else real(layer, "max_value", limit)
        return [Rectifier(layer.name, slope, cap)]

    def _zeros(self, layer: Layer) -> None:
        given = layer.config.get("padding", 1)
        if isinstance(given, Sequence) and len(given) == 2:
            sides = [[side, side] if isinstance(side, int) else side for side in given]
        else:
            sides = [[given, given]] * 2
        try:
            (top, bottom), (left, right) = (
                (whole(layer, "padding", n, least=0) for n in side) for side in sides
            )
        except TypeError:
            raise ValueError(f"{layer.title}: its padding is {given}") from None
        self._pads = added(self._pads, ((top, bottom), (left, right)))
        self._pad_name = layer.title

    def _window(self, layer: Layer, kernel: Pair, strides: Pair, dilation: Pair) -> Pads:
        """Padding of a convolution or pool, the zeros before it apart; goes on to its maps.

        'same' as TensorFlow has it: as many units as pixels, divided by the stride and rounded up,
        and of an odd number of pixels the larger half behind (tensorflow.org/api_docs/python/tf/nn,
        "Notes on padding").
        """
        rule = layer.config.get("padding", "valid")
        if rule not in ("same", "valid"):
            raise ValueError(f"{layer.title}: its padding is {rule!r}, expected same or valid")
        pads, size = [], []
        for axis in (0, 1):
            reach = (kernel[axis] - 1) * dilation[axis] + 1
            stride, zeros = strides[axis], sum(self._pads[axis])
            there = None if self._size is None else self._size[axis] + zeros
            if rule == "valid":
                total = 0
            elif stride == 1:
                total = reach - 1
            elif there is None:
                raise ValueError(f"{layer.title}: its padding depends on the images' size: --crop")
            else:
                total = max((-(-there // stride) - 1) * stride + reach - there, 0)
            pads.append((total // 2, total - total // 2))
            if there is not None:
                size.append((there + total - reach) // stride + 1)
                if size[-1] < 1:
                    raise ValueError(
                        f"{layer.title}: {there} pixels are fewer than its window of {reach}"
                    )
        self._size = (size[0], size[1]) if size else None
        return pads[0], pads[1]

    def _filters(self, layer: Layer) -> Planned:
        maps = whole(layer, "filters", layer.config.get("filters"))
        groups = whole(layer, "groups", layer.config.get("groups", 1))
        if self._maps % groups or maps % groups:
            raise ValueError(f"{layer.title}: {self._maps} and {maps} maps in {groups} groups")
        kernel = pair(layer, "kernel_size")
        shape = (*kernel, self._maps // groups, maps)
        return self._convolution(layer, "kernel", kernel, shape, maps, groups)

    def _depthwise(self, layer: Layer) -> Planned:
        each = whole(layer, "depth_multiplier", layer.config.get("depth_multiplier", 1))
        kernel = pair(layer, "kernel_size")
        shape = (*kernel, self._maps, each)
        return self._convolution(
            layer, "depthwise_kernel", kernel, shape, self._maps * each, self._maps
        )

    def _convolution(
        self, layer: Layer, role: str, kernel: Pair, shape: tuple[int, ...], maps: int, groups: int
    ) -> Planned:
        strides, dilation = pair(layer, "strides", 1), pair(layer, "dilation_rate", 1)
        pads = added(self._pads, self._window(layer, kernel, strides, dilation))
        self._pads, self._maps, self._positive = _NO_PADS, maps, False
        rectifiers = self._activation(layer, layer.config.get("activation"))

        def links(weight: np.ndarray, bias: np.ndarray | None = None) -> list[Link]:
            # A depthwise kernel [k, k, maps, n] has n filters for each map, one after the other.
            weight = weight.reshape(*weight.shape[:2], -1, maps).transpose(3, 2, 0, 1)
            bias = np.zeros(maps, np.float32) if bias is None else bias
            filters = Filters(layer.name, weight, bias, strides, pads, groups, dilation)
            return [filters, *rectifiers]

        return Planned(layer, (Tensor(role, shape), *_bias(layer, maps)), links)

    def _dense(self, layer: Layer) -> Planned:
        if not self._flat:
            raise ValueError(f"{layer.title}: it reads maps, which no Flatten has made flat")
        units = whole(layer, "units", layer.config.get("units"))
        shape, last = (self._maps, units), self._flattened_last
        self._maps, self._positive, self._flattened_last = units, False, False
        rectifiers = self._activation(layer, layer.config.get("activation"))

        def links(weight: np.ndarray, bias: np.ndarray | None = None) -> list[Link]:
            bias = np.zeros(units, np.float32) if bias is None else bias
            return [Weights(layer.name, weight.T, bias, channels_last=last), *rectifiers]

        return Planned(layer, (Tensor("kernel", shape), *_bias(layer, units)), links)

    def _pool(self, layer: Layer, kind: PoolKind) -> Planned:
        window = pair(layer, "pool_size", 2)
        strides = window if layer.config.get("strides") is None else pair(layer, "strides")
        zeros = self._pads
        pads = self._window(layer, window, strides, (1, 1))
        if zeros != _NO_PADS:
            # Padding is no maximum, and zeros are none either where a value is at least 0; in a
            # mean the zeros count and the padding of 'same' does not.
            fits = self._positive if kind == "max" else pads == _NO_PADS
            if not fits:
                raise ValueError(f"{self._pad_name}: zeros that {layer.title} does not take over")
        self._pads = _NO_PADS
        counts, padding = zeros != _NO_PADS, added(zeros, pads)
        link = WindowPool(layer.name, kind, window, strides, padding, False, counts)
        return Planned(layer, (), lambda: [link])

    def _global_pool(self, layer: Layer, kind: PoolKind) -> Planned:
        self._size, self._flat = (1, 1), not layer.config.get("keepdims", False)
        return Planned(layer, (), lambda: [GlobalPool(layer.name, kind)])

    def _flatten(self, layer: Layer) -> None:
        """Flatten, and Reshape where it does the same or nothing."""
        if layer.kind == "Reshape":
            given = layer.config.get("target_shape")
            shape = list(given) if isinstance(given, Sequence) else [given]
            ones = [1, 1, self._maps]
            if len(shape) == 3 and (self._flat or self._size == (1, 1)):
                if shape != (ones[::-1] if self._channels_first else ones):
                    raise ValueError(f"{layer.title}: it reshapes to {shape}")
                self._flat, self._size = False, (1, 1)
                return
            units = self._maps * (1 if self._flat or not self._size else math.prod(self._size))
            if shape not in ([-1], [units]):
                raise ValueError(f"{layer.title}: it reshapes to {shape}")
        if self._flat:
            return
        if self._size is None:
            raise ValueError(f"{layer.title}: its units depend on the images' size: --crop")
        turns = layer.kind == "Flatten" and layer.config.get("data_format") == "channels_first"
        if turns and not self._channels_first and self._size != (1, 1):
            raise ValueError(f"{layer.title}: its channels are not where those of others are")
        # With channels first it puts them last before it flattens, if it is told so.
        self._flattened_last = turns or not self._channels_first
        self._maps *= math.prod(self._size)
        self._flat = True

    def _normalisation(self, layer: Layer) -> Planned:
        config, units = layer.config, self._maps
        axis = config.get("axis", -1)
        axis = axis[0] if isinstance(axis, Sequence) and len(axis) == 1 else axis
        places = (-1, 1) if self._flat else (1, -3) if self._channels_first else (-1, 3)
        is_of_all = layer.kind == "Normalization" and axis in (None, [])  # one value for all maps
        if axis not in places and not is_of_all:
            raise ValueError(f"{layer.title}: its axis is {axis}, expected that of the maps")
        self._positive = False
        if layer.kind == "Normalization":
            return self._standardisation(layer, () if is_of_all else (units,))
        epsilon = number(layer, "epsilon", 1e-3)
        roles = ["gamma"] * bool(config.get("scale", True))
        roles += ["beta"] * bool(config.get("center", True)) + ["moving_mean", "moving_variance"]

        def links(*tensors: np.ndarray) -> list[Link]:
            by = dict(zip(roles, tensors))
            mean, variance = by["moving_mean"], by["moving_variance"]
            gamma, beta = by.get("gamma", 1.0), by.get("beta", 0.0)
            return [batch_norm(layer.name, mean, variance, epsilon, gamma, beta)]

        return Planned(layer, tuple(Tensor(role, (units,)) for role in roles), links)

    def _standardisation(self, layer: Layer, shape: tuple[int, ...]) -> Planned:
        """Mean and deviation of data, given or, by `adapt`, learned as tensors of `shape`."""
        given = [layer.config.get(name) for name in ("mean", "variance")]
        if layer.config.get("invert"):
            raise ValueError(f"{layer.title}: one that is inverted")

        def link(mean: np.ndarray, variance: np.ndarray) -> list[Link]:
            # Keras keeps the deviation from 0 in this way.
            deviation = np.maximum(np.sqrt(variance.astype(np.float64)), 1e-7)
            factor, shift = 1 / deviation, -mean / deviation
            return [Affine(layer.name, factor.reshape(-1), shift.reshape(-1))]

        if None in given:
            count = Tensor("count", (), is_used=False)  # of images, int64
            return Planned(layer, (Tensor("mean", shape), Tensor("variance", shape), count), link)
        mean, variance = (self._values(layer, "mean", value) for value in given)
        mean, variance = np.broadcast_arrays(mean, variance)
        return Planned(layer, (), lambda: link(mean, variance))

    def _values(self, layer: Layer, name: str, given: Any) -> np.ndarray:
        """Numbers of a config, one for all channels or one for each: [1] or [C]."""
        while isinstance(given, Mapping):  # Keras 3's form of arrays
            config = given.get("config")
            given = config.get("value") if isinstance(config, Mapping) else None
        try:
            values = np.array(0.0 if given is None else given, np.float64).reshape(-1)
        except (TypeError, ValueError):
            values = np.zeros(0)
        if values.size not in (1, self._maps):
            raise ValueError(f"{layer.title}: its {name} is {given}")
        return values


def _bias(layer: Layer, units: int) -> list[Tensor]:
    return [Tensor("bias", (units,))] if layer.config.get("use_bias", True) else []
