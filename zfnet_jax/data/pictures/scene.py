"""A whole picture: an object placed before a cluttered ground, lit, with mask and part boxes."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
from PIL import Image, ImageFilter

from . import living, made, transfer
from .canvas import (
    Canvas,
    Colour,
    Paint,
    Shape,
    Sketch,
    curve,
    ellipse,
    mix,
    random_colour,
    smooth,
    textured,
    turn,
)
from .ink import Ink

_FIRST = (
    *(living.face, living.cat, living.fish, living.bird, living.butterfly, living.flower),
    *(made.car, made.bicycle, made.sailboat, made.house),
)
_SECOND = (
    *(transfer.teapot, transfer.clock, transfer.umbrella, transfer.snail, transfer.mushroom),
    *(transfer.rocket, transfer.guitar, transfer.lighthouse, transfer.turtle, transfer.aeroplane),
)
_DRAWINGS = {function.__name__: function for function in _FIRST + _SECOND}

OBJECTS: tuple[str, ...] = tuple(function.__name__ for function in _FIRST)
TRANSFER: tuple[str, ...] = tuple(function.__name__ for function in _SECOND)

_LOOSE = ("blob", "polygon", "line", "wheel", "oval", "eye", "curl")
_FINER = 4  # supersampling of the object; the ground takes half
_LINE = 0.01  # contours, as a share of the picture's side


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture with what it shows.

    image: [size, size, 3] uint8, RGB.
    mask: [size, size] bool, the object's own pixels.
    parts: name -> (x0, y0, x1, y1) in pixels, half-open, inside the picture. `right_` and
        `left_` are the object's own: right is on the viewer's left when upright.
    """

    image: np.ndarray
    mask: np.ndarray
    parts: dict[str, tuple[int, int, int, int]]


def draw(class_name: str, seed: int, size: int) -> Picture:
    """Draws one picture of a class of OBJECTS or TRANSFER, `size` pixels square.

    Depends on its arguments alone; another size gives the same composition. The seed is any
    integer from 0 up. Raises ValueError for an unknown class.
    """
    if class_name not in _DRAWINGS:
        raise ValueError(f"no picture class {class_name!r}: choose from {sorted(_DRAWINGS)}")
    rng = np.random.default_rng([zlib.crc32(class_name.encode()), seed])
    ink = Ink.random(rng)
    placed = _place(rng, _DRAWINGS[class_name](rng, ink))
    ground, clutter = _surroundings(rng, ink)

    canvas = Canvas(size, _FINER)
    for shape in placed:
        canvas.draw(shape, _LINE)
    behind = Canvas(size, _FINER // 2, ground)
    for shape in clutter:
        behind.draw(shape, _LINE)
    image, cover = canvas.result()
    image += behind.result()[0] * ((1 - cover) * (1 - _shadow(rng, cover)))[..., None]
    return Picture(_light(rng, image), cover >= 0.5, _boxes(placed, size))


def _place(rng: np.random.Generator, sketch: Sketch) -> list[Shape]:
    """Turns, shears, stretches, perhaps mirrors the sketch and puts it all into 0..1."""
    shapes = sketch.shapes
    stretch = np.exp(rng.uniform(-0.14, 0.14))
    shear, degrees = rng.uniform(-0.15, 0.15), rng.uniform(-20, 20)
    pose = turn(np.array([[stretch, 0], [shear, 1 / stretch]]), degrees).T
    if rng.random() < 0.5:
        pose = pose @ np.diag([-1, 1])
        shapes = [dataclasses.replace(shape, part=_mirrored(shape.part)) for shape in shapes]
    points = np.concatenate([shape.points for shape in shapes]) @ pose.T
    low, high = points.min(0), points.max(0)
    scale = rng.uniform(0.6, 0.92) / (high - low).max()
    room = 1 - 2 * _LINE - scale * (high - low)
    offset = _LINE + rng.random(2) * room - scale * low
    return [shape.moved(scale * pose, offset) for shape in shapes]


def _mirrored(part: str | None) -> str | None:
    """The part's name in the mirror, where right and left change sides."""
    if part is not None and part.startswith("right_"):
        return "left_" + part.removeprefix("right_")
    if part is not None and part.startswith("left_"):
        return "right_" + part.removeprefix("left_")
    return part


def _surroundings(rng: np.random.Generator, ink: Ink) -> tuple[Paint, list[Shape]]:
    """A ground that the object's main colours stand out from, and loose shapes upon it."""
    colour = random_colour(rng, [ink.main.colour, ink.second.colour])
    ground = textured(rng, colour, 0.35)
    clutter = Sketch()
    for _ in range(rng.integers(3, 11)):
        clutter.line = ink.line if rng.random() < 0.5 else None
        _loose_shape(rng, clutter, colour)
    return ground, clutter.shapes


def _loose_shape(rng: np.random.Generator, s: Sketch, ground: Colour) -> None:
    """Adds a distractor: things that objects are made of, alone."""
    (x, y), r = rng.random(2), rng.uniform(0.03, 0.13)
    colour = mix(random_colour(rng), ground, rng.uniform(0, 0.6))
    paint = textured(rng, colour, 0.5) if rng.random() < 0.3 else Paint(colour)
    other = Paint(random_colour(rng, [colour]))
    kind = _LOOSE[rng.integers(len(_LOOSE))]
    if kind == "blob":
        radius = r * rng.uniform(0.6, 1.3, (7, 1))
        s.fill(smooth(*radius * _round_points(7)) + (x, y), paint)
    elif kind == "polygon":
        corners = turn(_round_points(int(rng.integers(3, 6))), rng.uniform(0, 360))
        s.fill(corners * (r, r * rng.uniform(0.5, 1)) + (x, y), paint)
    elif kind == "line":
        half = turn(np.array([[2 * r, 0.0]]), rng.uniform(0, 360))
        s.stroke(np.concatenate([-half, half]) + (x, y), rng.uniform(0.01, 0.05), paint)
    elif kind == "wheel":
        s.ring(x, y, r, r * rng.uniform(0.15, 0.4), paint)
        s.patch(ellipse(x, y, r * 0.2, r * 0.2), other)
    elif kind == "oval":
        s.fill(ellipse(x, y, r, r * rng.uniform(0.3, 1), rng.uniform(0, 180)), paint)
    elif kind == "eye":
        s.fill(ellipse(x, y, r * 0.7, r * 0.5, rng.uniform(-20, 20)), paint)
        s.patch(ellipse(x, y, r * 0.3, r * 0.3), other)
    else:
        path = np.cumsum(rng.uniform(-1.2 * r, 1.2 * r, (5, 2)), axis=0) + (x, y)
        s.stroke(curve(*path), rng.uniform(0.01, 0.03), paint)


def _round_points(count: int) -> np.ndarray:
    """Points evenly spaced on the unit circle; [count, 2]."""
    angle = np.arange(count) * 2 * np.pi / count
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _shadow(rng: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """How much the object darkens the ground beside it, [size, size] in 0..1."""
    size = len(cover)
    depth, dx, dy = rng.uniform((0, -0.03, 0.0), (0.5, 0.03, 0.03))
    shift = (1, 0, -dx * size, 0, 1, -dy * size)
    moved = Image.fromarray((cover * 255).astype(np.uint8)).transform(
        (size, size), Image.Transform.AFFINE, shift, Image.Resampling.BILINEAR
    )
    soft = moved.filter(ImageFilter.BoxBlur(0.02 * size))
    return np.asarray(soft, np.float32) * (depth / 255)


def _light(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Brightness, contrast, light from one side and sensor noise; [size, size, 3] uint8."""
    size = len(image)
    brightness, contrast = rng.uniform(-25, 25), rng.uniform(0.75, 1.1)
    across, down = rng.uniform(-0.25, 0.25, 2)
    ramp = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    light = contrast * (1 + across * ramp[None, :] + down * ramp[:, None])
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 6))
    image = (image - 128) * light[..., None] + (128 + brightness) + noise
    return np.clip(image, 0, 255).round().astype(np.uint8)


def _boxes(placed: list[Shape], size: int) -> dict[str, tuple[int, int, int, int]]:
    points: dict[str, list[np.ndarray]] = {}
    for shape in placed:
        if shape.part is not None:
            points.setdefault(shape.part, []).append(shape.points)
    boxes = {}
    for part, outlines in points.items():
        outline = np.concatenate(outlines) * size
        low = np.clip(np.floor(outline.min(0)), 0, size - 1).astype(int)
        high = np.clip(np.ceil(outline.max(0)), low + 1, size).astype(int)
        boxes[part] = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    return boxes
