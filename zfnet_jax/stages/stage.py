"""What every kind of stage says of itself; docs/extending.md adds one.

A stage is data, hashable for jit: one operation of the net. Whoever walks the stages asks them for
what it needs and does not know their kinds: the model goes up, the deconvnet down, geometry reads
their windows, occlusion recomputes windows of maps, drawings take their words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from zfnet_jax.rules import Overlap, Rectify
from zfnet_jax.windows import POINT, Pads, Pair, Window

Activations = dict[str, jax.Array]
Weights = Mapping[str, jax.Array]  # the parameters of one stage

POINTS = (POINT, POINT)


class Up(NamedTuple):
    """How the way up is computed.

    Attributes:
      dtype: of activations.
      precision: of matrix products, see `model.ZFNet`.
      dropout_keys: [B] keys in training, None in evaluation.
    """

    dtype: DTypeLike
    precision: str
    dropout_keys: jax.Array | None = None


class Down(NamedTuple):
    """The rules of the way down, see `Rectify` and `pooling.max_unpool`, and its precision."""

    rectify: Rectify = "deconvnet"
    overlap: Overlap = "sum"
    precision: str = "highest"


class Place(NamedTuple):
    """Where units lie among all that a stage puts out.

    Attributes:
      first: row and column of the first of them, [B] or the same for all.
      size: (H, W) of the whole maps that the stage reads.
    """

    first: tuple[jax.Array | int, jax.Array | int]
    size: tuple[int, int]


class Frame(NamedTuple):
    """The maps that a way down ends in: their (H, W), and the padding around them that the stage's
    windows reach; and the place of the units that it starts from."""

    size: tuple[int, int]
    pads: Pads
    place: Place


class Words(NamedTuple):
    """What drawings say of a stage.

    Attributes:
      lines: what it does, one thing a line (Fig. 3).
      up, down: what it does on the two ways, for the diagram of the deconvnet.
      holds: what its maps are; '' for those of the stage before it, changed.
      leaves: what its way down leaves, likewise.
      crosses: what of it crosses over from the way up to the way down, a word and a symbol.
    """

    lines: tuple[str, ...]
    up: str = ""
    down: str = ""
    holds: str = ""
    leaves: str = ""
    crosses: str = ""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One operation of a net on maps [B, H, W, C] or units [B, N].

    Attributes:
      name: of what it puts out among the activations. Stages that follow each other may share one,
        as a layer's filters and their relu: then what the last puts out has it.
      number: of the layer that it belongs to.
    """

    name: str
    number: int

    # Whether the deconvnet has a counterpart to it. Without one a projection passes it by.
    projects: ClassVar[bool] = True
    # Whether it puts out the class scores, the last of the net.
    scores: ClassVar[bool] = False
    # What stands around maps where its windows leave them.
    outside: ClassVar[float] = 0.0

    @property
    def windows(self) -> tuple[Window, Window] | None:
        """What a unit reads along rows and along columns; None where it sees all of the maps."""
        return POINTS

    @property
    def weights(self) -> str:
        """Name of its parameters among the net's; '' where it has none."""
        return ""

    @property
    def has_change(self) -> bool:
        """Whether `change` is there: occlusion then filters what changed, not all that is read."""
        return False

    def own(self, params: Mapping[str, Weights]) -> Weights:
        """Its part of a net's parameters."""
        return params[self.weights] if self.weights else {}

    def parameters(
        self, inputs: tuple[int, ...], kernel_init: Initializer
    ) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        """Initialiser and shape of its parameters, for inputs of a shape [H, W, C] or [N]."""
        return {}

    def along(self, axis: int) -> Window:
        """What a unit reads along one axis, 0 of rows and 1 of columns."""
        return (self.windows or POINTS)[axis]

    def size(self, size: int, axis: int = 0) -> int:
        """Units along one axis, of `size` pixels before it. ValueError if there is none."""
        window = self.along(axis)
        return (size + window.before + window.after - window.reach) // window.stride + 1

    def pads(self, size: int, axis: int = 0) -> Pair:
        """Padding (before, after) along one axis of `size` pixels that its windows reach."""
        window = self.along(axis)
        return window.before, window.after

    def shape(self, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what it puts out, [H, W, C] or [N], for inputs of a shape."""
        *sides, maps = inputs
        return (*(self.size(side, axis) for axis, side in enumerate(sides)), maps)

    def forward(self, x: jax.Array, weights: Weights, up: Up) -> tuple[jax.Array, Activations]:
        """What it puts out, and what it leaves among the activations, by name."""
        raise NotImplementedError

    def inside(self, x: jax.Array, weights: Weights, up: Up, place: Place) -> jax.Array:
        """Those of its units, for a part of the maps before it, whose windows lie in that part;
        where they lie is `place`."""
        return self.forward(x, weights, up)[0]

    def change(self, x: jax.Array, weights: Weights, up: Up) -> jax.Array:
        """What a change x of part of its input adds to all units that it reaches, for a linear
        stage of stride 1."""
        raise NotImplementedError

    def reads(self, down: Down) -> dict[str, int]:
        """The activations that its way down reads, shaped as what it puts out: by name, with what
        stands for none where there are no units."""
        return {}

    def margin(self, down: Down) -> int:
        """How many units around those that are not zero take part in its way down."""
        return 0

    def down(
        self, x: jax.Array, read: Activations, weights: Weights, frame: Frame, down: Down
    ) -> jax.Array:
        """Its way down (Section 2.1), from x, shaped as what it puts out, to `frame`.

        Args:
          x: [B, h, w, C] float32.
          read: the activations that `reads` names, shaped as x.
        """
        raise NotImplementedError

    def words(self) -> Words:
        """What drawings say of it."""
        raise NotImplementedError
