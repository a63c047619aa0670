"""The options of Fig. 5: photos moved, enlarged and turned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeVar, get_args

import numpy as np

from zfnet_jax.studies.options import option

# 'vertical', 'horizontal': pixels, positive is down and right; 'scale': a factor, above 1 enlarges;
# 'rotation': degrees, anticlockwise.
Kind = Literal["vertical", "horizontal", "scale", "rotation"]
Sweeps = Mapping[Kind, np.ndarray]  # the amounts [T] of each transformation

_MOST = 10_000  # amounts of a range; more is a slip of the pen


@dataclasses.dataclass(frozen=True)
class Changes:
    """What is done to an image, and where it is felt. The net and the paper decide what is None.

    A range is FIRST:LAST:STEP or a single amount; an empty one leaves a transformation out.
    """

    layers: tuple[str, ...] = option(
        (),
        "An activation such as pool1, conv5 or fc7; the outputs of layers 1 and 7.",
        flag="layer",
    )
    vertical: str | None = option(None, "Shifts, pixels, positive is down.")
    horizontal: str | None = option("", "Shifts, pixels, positive is right.")
    scale: str | None = option(None, "Factors, above 1 enlarges.")
    rotation: str | None = option(None, "Degrees, anticlockwise.")


@dataclasses.dataclass(frozen=True)
class PhotoOptions(Changes):
    """Of the curves of chosen photos."""

    images: tuple[str, ...] = option((), "A photo; may be repeated.", flag="image", file=True)
    labels: tuple[str, ...] = option(
        (), "Its class, one for each photo; the name of its folder.", flag="label"
    )


@dataclasses.dataclass(frozen=True)
class SplitOptions(Changes):
    """Of the curves over many images."""

    count: int = option(
        0, "Images of the split to summarise, evenly spread; at most all.", flag="summary", lowest=0
    )
    split: Literal["validation", "train"] = option("validation", "To summarise.")


@dataclasses.dataclass(frozen=True)
class Options(PhotoOptions, SplitOptions):
    """Of both, which are measured with the same changes and saved each by itself."""

    def of_photos(self) -> PhotoOptions:
        return _part(self, PhotoOptions)

    def of_split(self) -> SplitOptions:
        return _part(self, SplitOptions)


Part = TypeVar("Part", PhotoOptions, SplitOptions)


def _part(options: Options, part: type[Part]) -> Part:
    return part(**{one.name: getattr(options, one.name) for one in dataclasses.fields(part)})


def paper_ranges(crop: int) -> dict[Kind, str]:
    """The ranges of Fig. 5. Shifts, up and down, keep their share of the crop's rows, 60 of 224
    pixels, and are whole pixels."""
    step = max(1, round(5 * crop / 224))
    last = round(60 * crop / 224) // step * step
    return {
        "vertical": f"{-last}:{last}:{step}",
        "horizontal": "",
        "scale": "1:1.8:0.05",
        "rotation": "0:350:10",
    }


def sweeps(changes: Changes) -> dict[Kind, np.ndarray]:
    """The amounts of each transformation whose range is given.

    ValueError: a range is none, is empty or has too many amounts.
    """
    kinds: tuple[Kind, ...] = get_args(Kind)
    return {kind: _range(kind, text) for kind in kinds if (text := getattr(changes, kind))}


def _range(kind: Kind, text: str) -> np.ndarray:
    """'-60:60:5' as amounts, the last included; a single number is that amount alone."""
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        return np.array(numbers)
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise ValueError(f"--{kind}={text}: a range is FIRST:LAST:STEP, such as 1:1.8:0.05")
    first, last, step = numbers
    if step <= 0 or last < first:
        raise ValueError(f"--{kind}={text} is empty: LAST must not be below FIRST, STEP be above 0")
    count = int((last - first) / step + 1e-6) + 1
    if count > _MOST:
        raise ValueError(f"--{kind}={text}: {count} amounts, more than {_MOST}: enlarge STEP")
    return first + step * np.arange(count)
