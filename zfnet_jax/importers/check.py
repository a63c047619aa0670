"""Whether a net gets the images that it was trained on: how many photos it names right, and where
it does no better than by chance, what its preprocessing may be instead.

Nothing is changed by it: the flags to give are told.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np

from zfnet_jax.data import augment
from zfnet_jax.importers.preprocessing import Pixels
from zfnet_jax.windows import Sides, both

Answer = Callable[[np.ndarray], np.ndarray]  # images [B, H, W, 3] to class scores [B, classes]

# What is usually subtracted from pixels from 0 to 255, and what they are then divided by.
MEANS, SCALES = (0.0, 127.5), (1.0, 127.5, 255.0)
# Red, green, blue; torchvision's, which Caffe's differs from by less than 1.
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
MNIST = (33.3184, 78.5655)

SHARE, DEVIATIONS = 0.1, 3.0  # of right answers beyond those of chance, which may still be chance
_BATCH = 16  # photos


@dataclasses.dataclass(frozen=True)
class Tried:
    """A preprocessing, as its flags say it, and how many photos were named right with it."""

    flags: str
    right: int


def is_near_chance(right: int, photos: int, classes: int) -> bool:
    """Whether so many photos named right say no more than answers at random would: chance and a
    tenth of all photos, or three standard deviations where photos are few."""
    chance = 1 / classes
    spread = DEVIATIONS * math.sqrt(photos * chance * (1 - chance))
    return right <= photos * chance + max(SHARE * photos * (1 - chance), spread)


def named_right(
    answer: Answer, photos: np.ndarray, labels: np.ndarray, pixels: Pixels, crop: Sides, order: str
) -> int:
    """How many photos [N, S, S, 3] uint8 of classes [N] the net names right.

    Args:
      answer: the net as it was imported, for images that its graph has preprocessed.
      pixels: what is done to the photos; may have the other order of colours.
      crop: side of the centre crop, or its rows and columns, pixels.
      order: of the colours, that the net was imported with.
    """
    right = 0
    for begin in range(0, len(photos), _BATCH):
        some = photos[begin : begin + _BATCH]
        # The last batch is filled up, so that it has the size that is compiled already.
        filled = np.concatenate([some, np.repeat(some[:1], _BATCH - len(some), axis=0)])
        images = (filled - pixels.mean) / np.asarray(pixels.scale)
        images = images if pixels.order == order else images[..., ::-1]
        images = (images - pixels.graph_mean) / pixels.graph_scale
        answers = answer(np.asarray(augment.centre(images, both(crop)), np.float32))
        found = np.asarray(answers)[: len(some)].argmax(axis=1)
        right += int((found == labels[begin : begin + _BATCH]).sum())
    return right


def likely_mends(
    answer: Answer, photos: np.ndarray, labels: np.ndarray, pixels: Pixels, crop: Sides
) -> list[Tried]:
    """Other preprocessings that nets are often trained with, the best first, the given one among
    them. Arguments as of `named_right`.

    Means and scales are tried in the order of colours that was given, and the best of them in the
    other one.
    """

    def right(one: Pixels) -> int:
        return named_right(answer, photos, labels, one, crop, pixels.order)

    tried = [(one, right(one)) for one in _scalings(pixels)]
    if pixels.order != "grey":
        other = "rgb" if pixels.order == "bgr" else "bgr"
        best = sorted(tried, key=lambda pair: -pair[1])[:2]
        turned = [dataclasses.replace(one, order=other) for one, _ in [tried[0], *best]]
        tried += [(one, right(one)) for one in turned]
    found = {flags_of(one): Tried(flags_of(one), count) for one, count in tried}
    return sorted(found.values(), key=lambda one: -one.right)


def advice(tried: list[Tried], photos: int, classes: int) -> str:
    """What to do where the photos are named near chance, in one sentence.

    Args:
      tried: from `likely_mends`.
    """
    best = tried[0]
    if is_near_chance(best.right, photos, classes):
        return (
            "wrong preprocessing? None of the usual ones does better; or --classes may have the"
            " classes in another order, or the photos may be of others."
        )
    return f"wrong preprocessing? With {best.flags} {best.right / photos:.1%} are."


def flags_of(pixels: Pixels) -> str:
    """What scripts.import_weights is told of pixels."""
    order = [] if pixels.order == "grey" else [f"--order={pixels.order}"]
    mean = np.asarray(pixels.mean)
    return " ".join(
        [
            *order,
            f"--mean={_listed(mean)}" if mean.ndim == 1 else "--mean_file=FILE",
            f"--scale={_listed(np.atleast_1d(pixels.scale))}",
        ]
    )


def _scalings(pixels: Pixels) -> Iterator[Pixels]:
    """What is given first, and other means and scales."""
    yield pixels
    grey = pixels.order == "grey"
    mean, deviation = MNIST if grey else IMAGENET
    given = np.asarray(pixels.mean)
    others = [np.array([one]) if grey else np.full(3, one) for one in MEANS]
    others.append(np.atleast_1d(mean))
    for each, scales in [
        (given, SCALES),
        *((one, (pixels.scale, *SCALES)) for one in others),
        (others[-1], (deviation,)),
    ]:
        for scale in scales:
            yield dataclasses.replace(pixels, mean=each, scale=scale)


def _listed(values: np.ndarray) -> str:
    same = bool((values == values[0]).all())
    return ",".join(f"{value:.6g}" for value in (values[:1] if same else values))
