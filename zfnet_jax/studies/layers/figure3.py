"""Fig. 3: the architecture, drawn from its config as the paper draws it."""

from __future__ import annotations

import dataclasses
import itertools
import math

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from zfnet_jax import geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.names import fit
from zfnet_jax.report.figures import page_width, sheet
from zfnet_jax.report.text import within
from zfnet_jax.runs.origins import NONE, Origins
from zfnet_jax.stages.stage import POINTS, Stage
from zfnet_jax.windows import Pair

FRONT, TOP, FACE = "#cbd5e1", "#f4f6f9", "#e6ebf2"
FILTER_COLOUR = "#d95f02"
QUIET = "0.35"
SLANT = (0.30, 0.16)  # how far back goes to the right and up, as shares of the depth
LONGEST = 12.5  # shares in one line of layers; a deeper net has several lines


@dataclasses.dataclass(frozen=True)
class _Block:
    """Maps, or the units of a dense layer."""

    shape: tuple[int, ...]  # [rows, columns, maps] or [units]
    filter: Pair | None = None  # sides of the filter that looks at these maps next

    @property
    def maps(self) -> int:
        return self.shape[-1]

    @property
    def sides(self) -> tuple[int, ...]:
        """Rows and columns; none of units."""
        return self.shape[:-1]

    @property
    def label(self) -> str:
        return f"{' x '.join(map(str, self.sides))}\n{self.maps}" if self.sides else f"{self.maps}"


@dataclasses.dataclass(frozen=True)
class _Column:
    """One layer: its blocks, its share of the figure's width, its name and what it does; and what
    it is called where the net comes from, if it has such a name."""

    title: str
    blocks: tuple[_Block, ...]
    share: float
    text: tuple[str, ...]
    origin: str = ""


def figure3(
    net: Architecture, image_size: tuple[int, int], channels: int, named: Origins = NONE
) -> Figure:
    """The convnet from left to right: the image, and every layer's maps as blocks.

    A layer with a pool has two blocks, before and after it. Sides of blocks go with the square
    root of the pixels along them, thicknesses with the square root of the number of maps. Above a
    block stand its size and its number of maps, under a layer what it does; a filter is outlined
    on the maps that it looks at. A deep net goes on in further lines.

    Args:
      net: the architecture.
      image_size: (H, W) that the net sees, pixels.
      channels: of the image.
      named: what layers are called where the net comes from; it stands under their numbers.
    """
    columns = _columns(net, image_size, channels, named)
    lines = _lines(columns)
    width = page_width()
    line = mpl.rcParams["font.size"] * 1.45 / 72
    unit = (width - 0.1) / max(sum(column.share for column in row) for row in lines)
    scale = 0.13 * width / math.sqrt(max(image_size))
    grounds, height = [], 0.0
    for row in lines:
        highest = max(_tall(block, scale) for column in row for block in column.blocks)
        grounds.append(height + highest * (1 + SLANT[1]) + 3 * line)
        height = (
            grounds[-1]
            + (max(len(column.text) + bool(column.origin) for column in row) + 2.4) * line
        )
    figure, axis = sheet(width, height)
    for row, ground in zip(lines, grounds, strict=True):
        left, previous = 0.1, None
        for column in row:
            room = unit * column.share / len(column.blocks)
            for index, block in enumerate(column.blocks):
                drawn = _draw(axis, block, left + index * room, ground, scale, width)
                if previous:
                    _connect(axis, previous, drawn)
                previous = drawn
            axis.text(left, ground + 1.5 * line, column.title, weight="bold")
            origin = within(column.origin, unit * column.share - 0.03, "small")
            for number, words in enumerate([origin] * bool(origin) + [*column.text]):
                y = ground + (2.5 + number) * line
                axis.text(left, y, words, color=QUIET, size="small", parse_math=False)
            left += unit * column.share
        if row is not lines[-1]:
            assert previous is not None  # a line has a layer
            _arrow(axis, previous, (left - 0.05 * unit, ground - 0.3 * previous.tall))
    return figure


def _lines(columns: list[_Column]) -> list[list[_Column]]:
    """The columns in as few lines as they fit into, of about one length."""
    total = sum(column.share for column in columns)
    each = total / math.ceil(total / LONGEST)
    lines: list[list[_Column]] = [[]]
    for column in columns:
        used = sum(one.share for one in lines[-1])
        if lines[-1] and used + column.share / 2 > each:
            lines.append([])
        lines[-1].append(column)
    return lines


def _columns(
    net: Architecture, image_size: tuple[int, int], channels: int, named: Origins
) -> list[_Column]:
    shapes = geometry.shapes(net, (*image_size, channels))
    groups = [list(group) for _, group in itertools.groupby(net.stages, lambda s: s.number)]
    image = _Block((*image_size, channels), _filter(net.stages[0]))
    columns = [_Column("Image", (image,), 1.15, ())]
    for stages, after in zip(groups, [*groups[1:], None]):
        own = [s for s in stages if s is stages[0] or (s.projects and s.windows != POINTS)]
        names = dict.fromkeys(stage.name for stage in own)
        blocks = [_Block(shapes[name]) for name in names]
        blocks[-1] = dataclasses.replace(blocks[-1], filter=_filter(after[0]) if after else None)
        is_output = stages[-1].scores
        title = "Output" if is_output else f"Layer {stages[0].number}"
        share = 0.75 if is_output else 0.95 * len(blocks) if blocks[0].sides else 0.8
        text = tuple(line for stage in stages for line in stage.words().lines)
        origin = fit(named.get(own[0].name, ""))
        columns.append(_Column(title, tuple(blocks), share, text, origin))
    return columns


def _filter(stage: Stage) -> Pair | None:
    return (stage.along(0).reach, stage.along(1).reach) if stage.windows else None


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """Where a block ended up: its front's left edge and its face, seen from the next layer."""

    block: _Block
    left: float
    face: float  # x of the face's near edge
    ground: float
    tall: float
    deep: float

    def on_face(self, across: float, up: float) -> tuple[float, float]:
        """A point of the face; both from 0 to 1, from the near bottom corner."""
        x = self.face + across * self.deep * SLANT[0]
        return x, self.ground - up * self.tall - across * self.deep * SLANT[1]


def _tall(block: _Block, scale: float) -> float:
    return max(math.sqrt(block.sides[0]) * scale, 0.06) if block.sides else 4.5 * scale


def _draw(axis: Axes, block: _Block, x: float, ground: float, scale: float, width: float) -> _Drawn:
    tall, deep = _tall(block, scale), 0.12
    if block.sides:
        deep = max(math.sqrt(block.sides[1]) * scale, 0.06)
    thick = math.sqrt(block.maps) * width / 1500
    drawn = _Drawn(block, x, x + thick, ground, tall, deep)
    near, far = drawn.on_face(0, 1), drawn.on_face(1, 1)
    front = [(x, ground), drawn.on_face(0, 0), near, (x, near[1])]
    face = [drawn.on_face(0, 0), drawn.on_face(1, 0), far, near]
    top = [(x, near[1]), near, far, (far[0] - thick, far[1])]
    for corners, colour in ((front, FRONT), (face, FACE), (top, TOP)):
        axis.add_patch(Polygon(corners, facecolor=colour, edgecolor="0.45", joinstyle="round"))
    axis.text(x, far[1] - 0.05, block.label, va="bottom", size="small", linespacing=1.1)
    return drawn


def _connect(axis: Axes, before: _Drawn, after: _Drawn) -> None:
    """From one block to the next: the filter's outline and where it leads, or an arrow."""
    target = (after.left, after.ground - 0.3 * after.tall)
    if before.block.filter and before.block.sides:
        seen = zip(before.block.filter, before.block.sides, strict=True)
        high, wide = (min(math.sqrt(pixels / n), 1) for pixels, n in seen)
        a, b = 0.5 - wide / 2, 0.3 * after.tall / before.tall
        b = min(b, 1 - high)
        corners = [
            before.on_face(u, v)
            for u, v in ((a, b), (a + wide, b), (a + wide, b + high), (a, b + high))
        ]
        axis.add_patch(Polygon(corners, fill=False, edgecolor=FILTER_COLOUR))
        for corner in (corners[1], corners[2]):
            axis.plot(*zip(corner, target), color=FILTER_COLOUR, lw=0.5, ls=(0, (4, 2)))
        return
    _arrow(axis, before, target)


def _arrow(axis: Axes, before: _Drawn, target: tuple[float, float]) -> None:
    start = before.on_face(0.5, 0)[0] + 0.04, target[1]
    axis.annotate("", target, start, arrowprops={"arrowstyle": "->", "color": QUIET, "shrinkB": 1})
