"""Vector shapes, colours and an anti-aliased canvas to draw them on.

A drawing is a `Sketch`: a list of filled outlines and thick strokes in any unit of length, y
pointing down. A `Canvas` holds a square picture whose coordinates run from 0 to 1.
"""

from __future__ import annotations

import colorsys
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

TEXTURES = ("plain", "shade", "noise", "stripes", "spots", "checks")
TILE = 96  # side of a texture, which covers the whole picture at any size
_RULER = ((np.arange(TILE) + 0.5) / TILE).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Paint:
    """What fills a shape: one colour, or a texture ([TILE, TILE, 3] uint8) over the picture."""

    colour: Colour
    tile: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Shape:
    """A closed outline to fill, [N, 2] points; `line` is the contour's colour or None."""

    points: np.ndarray
    paint: Paint
    line: Colour | None
    part: str | None

    def moved(self, matrix: np.ndarray, offset: np.ndarray) -> Shape:
        return dataclasses.replace(self, points=self.points @ matrix.T + offset)


class Sketch:
    """Shapes in drawing order (later ones cover earlier ones), some of them named parts."""

    def __init__(self, line: Colour | None = None):
        self.line = line
        self.shapes: list[Shape] = []

    def fill(self, points: np.ndarray, paint: Paint, part: str | None = None) -> None:
        """Adds a closed shape with the sketch's contour."""
        self.shapes.append(Shape(points, paint, self.line, part))

    def patch(self, points: np.ndarray, paint: Paint, part: str | None = None) -> None:
        """Adds a closed shape without a contour."""
        self.shapes.append(Shape(points, paint, None, part))

    def stroke(
        self, points: np.ndarray, width: float, paint: Paint, part: str | None = None
    ) -> None:
        """Adds an open line of the given width, without a contour."""
        self.shapes.append(Shape(_ribbon(points, width), paint, None, part))

    def ring(
        self, x: float, y: float, radius: float, width: float, paint: Paint, part: str | None = None
    ) -> None:
        """Adds a circle's line of the given width, without a contour."""
        outer = ellipse(x, y, radius + width / 2, radius + width / 2)
        inner = ellipse(x, y, radius - width / 2, radius - width / 2)
        band = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
        self.shapes.append(Shape(band, paint, None, part))


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> np.ndarray:
    """Outline of an ellipse about (x, y), turned clockwise as seen; [32, 2]."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return turn(np.stack([rx * np.cos(angle), ry * np.sin(angle)], axis=1), degrees) + (x, y)


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float) -> np.ndarray:
    """Open part of an ellipse between two angles in degrees, 0 right, 90 down; [20, 2]."""
    angle = np.radians(np.linspace(start, stop, 20))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Outline of an upright rectangle; [4, 2]."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def polygon(*points: tuple[float, float]) -> np.ndarray:
    """Outline through the given corners; [N, 2]."""
    return np.array(points, float)


def smooth(*points: tuple[float, float]) -> np.ndarray:
    """Closed smooth curve (Catmull-Rom) through the points, six steps between two; [6 N, 2]."""
    p = np.array(points, float)
    return _spline(np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0))


def curve(*points: tuple[float, float]) -> np.ndarray:
    """Open smooth curve (Catmull-Rom) through the points; [6 (N - 1) + 1, 2]."""
    p = np.array(points, float)
    ends = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    return np.concatenate([_spline(ends[:-3], ends[1:-2], ends[2:-1], ends[3:]), p[-1:]])


def turn(points: np.ndarray, degrees: float) -> np.ndarray:
    """Points turned about the origin, clockwise as seen (y points down)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[c, s], [-s, c]])


def _spline(before: np.ndarray, a: np.ndarray, b: np.ndarray, after: np.ndarray) -> np.ndarray:
    t = (np.arange(6) / 6)[None, :, None]
    before, a, b, after = (p[:, None] for p in (before, a, b, after))
    slope, bend = b - before, 2 * before - 5 * a + 4 * b - after
    points = a + t * (slope + t * (bend + t * (3 * (a - b) + after - before))) / 2
    return points.reshape(-1, 2)


def _ribbon(points: np.ndarray, width: float) -> np.ndarray:
    """The outline of an open line of some width, with round ends."""
    step = np.diff(points, axis=0)
    step /= np.hypot(*step.T)[:, None] + 1e-9
    along = np.concatenate([step[:1], step[:-1] + step[1:], step[-1:]])
    along /= np.hypot(*along.T)[:, None] + 1e-9
    across = along[:, ::-1] * (-0.5 * width, 0.5 * width)
    angle = np.radians([-60, -20, 20, 60])[:, None]

    def cap(end: np.ndarray, outward: np.ndarray, side: np.ndarray) -> np.ndarray:
        return end + np.cos(angle) * outward * width / 2 + np.sin(angle) * side

    return np.concatenate(
        [
            points + across,
            cap(points[-1], along[-1], -across[-1]),
            (points - across)[::-1],
            cap(points[0], -along[0], across[0]),
        ]
    )


def random_colour(rng: np.random.Generator, away_from: Sequence[Colour] = ()) -> Colour:
    """A colour of any hue that stands out from the given ones; one law for every use."""
    best, best_distance = (0, 0, 0), -1.0
    for hsv in rng.uniform((0, 0.15, 0.25), (1, 0.9, 1), (8, 3)).tolist():
        red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(*hsv))
        distance = min((math.dist(other, (red, green, blue)) for other in away_from), default=999)
        if distance > best_distance:
            best, best_distance = (red, green, blue), distance
        if distance > 130:
            break
    return best


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`share` of colour b in colour a."""
    red, green, blue = (round((1 - share) * p + share * q) for p, q in zip(a, b))
    return red, green, blue


def smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth random field from 0 to 1, [TILE, TILE], about `cells` bumps across."""
    grid = rng.integers(0, 256, (cells, cells), dtype=np.uint8)
    field = Image.fromarray(grid).resize((TILE, TILE), Image.Resampling.BICUBIC)
    return np.asarray(field, np.float32) / 255


def textured(rng: np.random.Generator, colour: Colour, contrast: float) -> Paint:
    """The colour as it is, or patterned by up to `contrast` with another colour."""
    kind = TEXTURES[rng.integers(len(TEXTURES))]
    if kind == "plain":
        return Paint(colour)
    if kind == "noise":
        field = smooth_noise(rng, int(rng.integers(6, 25)))
    else:
        angle, pace = rng.uniform(0, 2 * np.pi), 2 * np.pi * rng.uniform(6, 14)
        x, y = _RULER * np.float32(pace * np.cos(angle)), _RULER * np.float32(pace * np.sin(angle))
        u, v = x[None, :] + y[:, None], x[:, None] - y[None, :]
        if kind == "shade":
            field = (u - u.min()) / np.ptp(u)
        elif kind == "stripes":
            field = 0.5 + 2 * np.sin(u)
        elif kind == "spots":
            field = 4 * (np.sin(u) + np.sin(v) - 0.7)
        else:
            field = 0.5 + 3 * np.sin(u / 2) * np.sin(v / 2)
    other = mix(colour, random_colour(rng, [colour]), contrast * rng.uniform(0.4, 1))
    ramp = np.linspace(colour, other, 64).astype(np.uint8)
    return Paint(colour, ramp[np.clip(63 * field, 0, 63).astype(np.uint8)])


class Canvas:
    """A square picture drawn `finer` times as large and reduced, hence anti-aliased."""

    def __init__(self, size: int, finer: int, ground: Paint | None = None):
        """Starts transparent, or covered with `ground`."""
        self._side, self._finer = size * finer, finer
        self._colour = Image.new("RGB", (self._side, self._side))
        self._cover = Image.new("L", (self._side, self._side))
        self._pen, self._cover_pen = ImageDraw.Draw(self._colour), ImageDraw.Draw(self._cover)
        if ground is not None:
            self.draw(Shape(box(-1, -1, 2, 2), ground, None, None), 0.0)

    def draw(self, shape: Shape, line_width: float) -> None:
        """Draws one shape given in picture coordinates (0..1), contour included."""
        xy = (shape.points * self._side).ravel().tolist()
        if shape.paint.tile is None:
            self._pen.polygon(xy, fill=shape.paint.colour)
        else:
            stencil = Image.new("L", (self._side, self._side))
            ImageDraw.Draw(stencil).polygon(xy, fill=255)
            area = stencil.getbbox()
            if area is not None:
                texture = self._texture(shape.paint.tile, area)
                self._colour.paste(texture, area[:2], stencil.crop(area))
        self._cover_pen.polygon(xy, fill=255)
        if shape.line is not None:
            width = max(1, round(line_width * self._side))
            self._pen.line(xy + xy[:4], fill=shape.line, width=width)
            self._cover_pen.line(xy + xy[:4], fill=255, width=width)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Colours times cover, [size, size, 3] in 0..255, and cover, [size, size] in 0..1."""
        colour = np.asarray(self._colour.reduce(self._finer), np.float32)
        return colour, np.asarray(self._cover.reduce(self._finer), np.float32) / 255

    def _texture(self, tile: np.ndarray, area: tuple[int, int, int, int]) -> Image.Image:
        """The piece of a texture that covers `area`, in fine pixels."""
        size = (area[2] - area[0], area[3] - area[1])
        left, top, right, bottom = (edge * TILE / self._side for edge in area)
        source = (left, top, right, bottom)
        return Image.fromarray(tile).resize(size, Image.Resampling.BILINEAR, box=source)
