"""What a conv layer is made of: filters, and in order what follows them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from zfnet_jax import windows
from zfnet_jax.windows import Padding, Pads, Pair, Sides, Window

Rounding = Literal["floor", "ceil"]
PoolKind = Literal["max", "average"]

AlphaConvention = Literal["sum", "mean"]
NormRegion = Literal["across_maps", "within_map"]
# What follows the conv layers: dense layers, the last of them the class scores; nothing, as their
# last maps are the class scores; or nothing, as the net has no classes.
Classifier = Literal["dense", "maps", "none"]


@dataclasses.dataclass(frozen=True)
class Pool:
    """Max or average pooling: window, stride and padding in pixels, of each one number or one for
    each axis, see `windows.Sides` and `windows.Padding`.

    Padding is never a maximum. In a mean it counts as zeros, or with `counts_padding` off not at
    all (Keras, and ONNX unless a graph says otherwise).

    `rounding` says what happens to the far edge where the windows do not tile the map: 'floor'
    leaves the last pixels out, 'ceil' adds a partial window (Krizhevsky's cuda-convnet, Caffe).
    """

    window: Sides
    stride: Sides
    padding: Padding = 0
    rounding: Rounding = "floor"
    kind: PoolKind = "max"
    counts_padding: bool = True

    puts_out: ClassVar[str] = "pool"

    def __post_init__(self) -> None:
        _simplify(self, "pool", sides=("window", "stride"))
        for window in self.windows:
            size, stride, *padding, _ = window
            if size < 1 or stride < 1 or not all(0 <= n < size for n in padding):
                raise ValueError(
                    "pool: window and stride must be at least 1 and padding in [0, window), got"
                    f" {self}"
                )
        check_choice("pool.rounding", self.rounding, ("floor", "ceil"))
        check_choice("pool.kind", self.kind, ("max", "average"))

    @property
    def windows(self) -> tuple[Window, Window]:
        """What its units read along rows and along columns."""
        return _windows(self.window, self.stride, self.padding)

    def size(self, size: int, axis: int = 0) -> int:
        """Pixels along one axis after pooling. ValueError if there is no window.

        With 'ceil' a last partial window counts if it starts inside the map or its left padding
        (the rule of Caffe and PyTorch), so that no window holds padding alone.
        """
        window, stride, before, after, _ = self.windows[axis]
        room = size + before + after - window
        if room < 0 and not (self.rounding == "ceil" and room > -window):
            raise ValueError(
                f"a map of {size} pixels is smaller than its {window}-pixel pooling window; "
                "use larger images or fewer layers"
            )
        if self.rounding == "floor":
            return room // stride + 1
        out = -(-room // stride) + 1
        if (out - 1) * stride >= size + before:
            out -= 1
        return max(out, 1)

    def pads(self, size: int, axis: int = 0) -> Pair:
        """Padding (before, after) along one axis that makes every window whole."""
        window, stride, before, after, _ = self.windows[axis]
        reach = (self.size(size, axis) - 1) * stride + window
        return before, max(after, reach - size - before)

    def counts(self, size: int, axis: int = 0) -> list[int]:
        """Pixels along one axis that the mean of each unit is over, in a map of `size` pixels.

        What a partial window of 'ceil' has beyond map and padding never counts (Caffe, PyTorch).
        """
        window, stride, before, after, _ = self.windows[axis]
        starts = [unit * stride - before for unit in range(self.size(size, axis))]
        within = (-before, size + after) if self.counts_padding else (0, size)
        return pixels_inside(starts, window, within)


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

    puts_out: ClassVar[str] = "norm"

    def __post_init__(self) -> None:
        if self.maps < 1 or self.maps % 2 == 0:
            raise ValueError(f"contrast_norm.maps must be odd and positive, got {self.maps}")
        if not (self.k > 0 and self.alpha >= 0):
            raise ValueError(
                "contrast_norm.k must be positive and alpha not negative, "
                f"got {self.k} and {self.alpha}"
            )
        check_choice("contrast_norm.alpha_convention", self.alpha_convention, ("sum", "mean"))
        check_choice("contrast_norm.region", self.region, ("across_maps", "within_map"))

    @property
    def neighbours(self) -> int:
        """How many values, its own included, each value is divided by."""
        return self.maps if self.region == "across_maps" else self.maps**2

    @property
    def window(self) -> int:
        """Side of the window of pixels that a value's neighbours lie in."""
        return 1 if self.region == "across_maps" else self.maps


@dataclasses.dataclass(frozen=True)
class Rectifier:
    """A relu; leaky with a `slope` for values below zero, and none above `cap` (relu6: 6)."""

    slope: float = 0.0
    cap: float | None = None

    puts_out: ClassVar[str] = ""  # see `Conv.then_names`

    def __post_init__(self) -> None:
        if not 0 <= self.slope < math.inf:
            raise ValueError(f"a relu's slope must be 0 or more, got {self.slope}")
        if self.cap is not None and not 0 < self.cap < math.inf:
            raise ValueError(f"a relu's cap must be more than 0, got {self.cap}")


RELU = Rectifier()


@dataclasses.dataclass(frozen=True)
class Affine:
    """Each map times a factor of its own plus a shift, which are parameters of the net: a batch
    norm in evaluation, where it is no part of filters and biases."""

    puts_out: ClassVar[str] = "affine"


Part = Rectifier | Pool | ContrastNorm | Affine  # what may follow a layer's filters


@dataclasses.dataclass(frozen=True)
class Conv:
    """One convolutional layer: its filters and `then`, in order, what follows them."""

    number: int  # the paper's layer number; a removed layer leaves a gap
    maps: int
    kernel: Sides
    stride: Sides = 1
    padding: Padding = 0
    groups: int = 1
    dilation: Sides = 1  # pixels from one that a filter reads to the next
    then: tuple[Part, ...] = (RELU,)

    def __post_init__(self) -> None:
        _simplify(self, self.name, sides=("kernel", "stride", "dilation"))
        positive = [n for window in self.windows for n in (*window[:2], window.dilation)]
        if min(self.maps, self.groups, *positive) < 1 or min(map(min, self.pads)) < 0:
            raise ValueError(f"{self.name}: sizes must be positive, got {self}")
        if self.maps % self.groups:
            raise ValueError(
                f"{self.name}: {self.maps} maps do not divide into {self.groups} groups"
            )
        if any(
            isinstance(a, Rectifier) and isinstance(b, Rectifier)
            for a, b in itertools.pairwise(self.then)
        ):
            raise ValueError(f"{self.name}: a relu straight after a relu; one does what both do")

    @property
    def name(self) -> str:
        return f"conv{self.number}"

    @property
    def then_names(self) -> tuple[str, ...]:
        """Names of what each part of `then` puts out: 'pool1', of a second pool 'pool1_2'. A relu
        shares the name of what is before it."""
        names, last = [], self.name
        for place, part in enumerate(self.then):
            if part.puts_out:
                nth = sum(other.puts_out == part.puts_out for other in self.then[: place + 1])
                last = f"{part.puts_out}{self.number}" + (f"_{nth}" if nth > 1 else "")
            names.append(last)
        return tuple(names)

    @property
    def pool(self) -> Pool | None:
        """Its first pool."""
        return next((part for part in self.then if isinstance(part, Pool)), None)

    @property
    def contrast_norm(self) -> ContrastNorm | None:
        """Its first contrast norm."""
        return next((part for part in self.then if isinstance(part, ContrastNorm)), None)

    @property
    def windows(self) -> tuple[Window, Window]:
        """What its units read along rows and along columns."""
        return _windows(self.kernel, self.stride, self.padding, self.dilation)

    @property
    def pads(self) -> Pads:
        """((top, bottom), (left, right)) pixels."""
        return windows.pads(self.padding)

    def size(self, size: int, axis: int = 0) -> int:
        """Pixels along one axis after the convolution. ValueError if nothing is left."""
        window = self.windows[axis]
        out = (size + window.before + window.after - window.reach) // window.stride + 1
        if out < 1:
            raise ValueError(
                f"{self.name}: an input of {size} pixels is smaller than its {window.reach}-pixel "
                "filter; use larger images or fewer layers"
            )
        return out


def plain_then(
    relu: bool = True,
    pool: Pool | None = None,
    contrast_norm: ContrastNorm | None = None,
    norm_before_pool: bool = False,
) -> tuple[Part, ...]:
    """What follows the filters of a layer as the paper's: rectify, pool, normalise, what of it the
    layer does (Section 3).

    Raises:
      ValueError: `norm_before_pool` of a layer with contrast norm that has no pool.
    """
    if norm_before_pool and contrast_norm and not pool:
        raise ValueError("model.norm_before_pool: a layer with contrast norm has no pool")
    last = (contrast_norm, pool) if norm_before_pool else (pool, contrast_norm)
    return tuple(part for part in (RELU if relu else None, *last) if part)


def pixels_inside(starts: Sequence[int], window: int, within: tuple[int, int]) -> list[int]:
    """How many pixels of windows that begin at `starts` lie from the first of `within` on and
    before the second, along one axis."""
    first, end = within
    return [min(start + window, end) - max(start, first) for start in starts]


def _windows(
    size: Sides, stride: Sides, padding: Padding, dilation: Sides = 1
) -> tuple[Window, Window]:
    sizes, strides, dilations = windows.both(size), windows.both(stride), windows.both(dilation)
    rows, columns = windows.pads(padding)
    return (
        Window(sizes[0], strides[0], *rows, dilations[0]),
        Window(sizes[1], strides[1], *columns, dilations[1]),
    )


def _simplify(spec: Pool | Conv, name: str, sides: tuple[str, ...]) -> None:
    """Brings each field to its one shortest form, so that equal layers are equal; what configs keep
    as lists becomes hashable."""
    for field in (*sides, "padding"):
        shorten = windows.shortest_padding if field == "padding" else windows.shortest
        try:
            value = shorten(getattr(spec, field))
        except ValueError as error:
            raise ValueError(f"{name}: its {field}: {error}") from None
        object.__setattr__(spec, field, value)


def check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    """ValueError, naming the field, unless its value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}, got {value!r}")
