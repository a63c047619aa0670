"""What a net expects of its images, and images as our runs prepare them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from zfnet_jax.data import titles
from zfnet_jax.windows import Sides, both, in_words

Order = Literal["rgb", "bgr", "grey"]  # of the colours that a net takes

LARGEST_IMAGE = 4096  # pixels a side: a mean of more would be a defect of its file
HALF_OF_PIXELS = 127  # of their range: no smaller number brings them to one about 1 wide


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What happens to a photo: resize, centre crop, subtract the mean, divide by the scale.

    Attributes:
      image_size: smallest side after resizing, of which the centre square is taken, pixels.
      crop: side of the centre crop that the net sees, or its rows and columns, pixels.
      mean: [3], or [image_size, image_size, 3] per pixel; red, green, blue, in [0, 255].
      scale: one number, or one for red, green, blue.
    """

    image_size: int
    crop: Sides
    mean: np.ndarray
    scale: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        sides = both(self.crop)
        if not 1 <= min(sides) <= max(sides) <= self.image_size <= LARGEST_IMAGE:
            raise ValueError(
                f"a crop of {in_words(self.crop)} pixels does not fit images of {self.image_size}"
            )
        shape, size = self.mean.shape, self.image_size
        if shape not in ((3,), (size, size, 3)):
            raise ValueError(
                f"the mean is {list(shape)}, expected [3] or [{size}, {size}, 3] for images of"
                f" {size} pixels (--image_size)"
            )
        scale = np.asarray(self.scale)
        if scale.shape not in ((), (3,)) or not np.isfinite(scale).all() or (scale <= 0).any():
            raise ValueError(f"the scale must be one or three positive numbers, not {self.scale}")
        if not np.isfinite(self.mean).all():
            raise ValueError("the mean holds values that are not finite")

    @property
    def mean_image(self) -> np.ndarray:
        """[image_size, image_size, 3] float32."""
        shape = (self.image_size, self.image_size, 3)
        return np.ascontiguousarray(np.broadcast_to(self.mean, shape), np.float32)


@dataclasses.dataclass(frozen=True)
class Pixels:
    """What happens to pixels before a net's first layer: what its user was asked for, and then what
    its own graph does: ((pixels - mean) / scale - graph_mean) / graph_scale.

    Attributes:
      order: of the colours that the net takes.
      mean, scale: as in `Preprocessing`.
      graph_mean, graph_scale: of the graph, numbers or arrays [H, W, 3], red, green, blue.
    """

    order: Order
    mean: np.ndarray
    scale: float | tuple[float, ...] = 1.0
    graph_mean: np.ndarray | float = 0.0
    graph_scale: np.ndarray | float = 1.0

    def together(self, image_size: int, crop: Sides) -> Preprocessing:
        """Both as one: (pixels - mean) / scale. Errors as of `Preprocessing`."""
        scale = np.asarray(self.scale, float)
        mean = np.asarray(self.mean + scale * self.graph_mean, np.float32)
        mean = np.broadcast_to(mean, 3) if mean.shape == (1,) else mean
        scale = scale * self.graph_scale
        return Preprocessing(
            image_size, crop, mean, tuple(scale.tolist()) if scale.ndim else float(scale)
        )


def read_class_names(path: str | Path, classes: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes in the order of their scores, and the titles, by name, that the list has.

    Raises:
      ValueError: there are more or fewer names than classes, or the file is no text.
    """
    listed = titles.read_list(path)
    if len(listed) != classes:
        raise ValueError(f"{path} holds {len(listed)} class names, the net has {classes} classes")
    return tuple(name for name, _ in listed), {name: title for name, title in listed if title}
