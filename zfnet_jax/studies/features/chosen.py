"""Which mined maps a figure draws, and their pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zfnet_jax.runs import origins
from zfnet_jax.studies.features.options import FigureOptions
from zfnet_jax.studies.features.winners import Winners

WIDE_FIELD = 50  # pixels: maps that see more are drawn larger
DEEP = 7  # layers: of so many or more, each has one row of maps and not two


def maps(mined: Winners, options: FigureOptions) -> dict[str, np.ndarray]:
    """The numbers of the maps that Fig. 2 shows, by layer.

    Raises:
      ValueError: see `named_maps`.
    """
    if options.chosen:
        return named_maps(mined, options.chosen)
    # Without patches two rows stand side by side, as one.
    rows = 2 if len(mined.layers) < DEEP or not options.patches else 1
    return {
        layer: random_maps(
            mined, layer, options.maps or rows * maps_across(mined, layer), options.seed
        )
        for layer in mined.layers
    }


def maps_across(mined: Winners, layer: str) -> int:
    """How many maps of a layer stand side by side in its block of Fig. 2."""
    return 4 if max(mined.field_sides(layer)) > WIDE_FIELD else 6


def dead(mined: Winners, layer: str) -> np.ndarray:
    """[M] bool: the maps that no image of the data set activates."""
    return mined.winners[f"{layer}/value"][:, 0] <= 0


def random_maps(mined: Winners, layer: str, count: int, seed: int) -> np.ndarray:
    """`count` maps of a layer drawn at random from those that are not dead, ascending."""
    alive = np.flatnonzero(~dead(mined, layer))
    rng = np.random.default_rng((seed, *layer.encode()))
    return np.sort(rng.choice(alive, min(count, len(alive)), replace=False))


def named_maps(mined: Winners, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads choices of maps such as 'conv3:5,17,80', layers named as in `Run.layer`.

    Raises:
      ValueError: a choice is not of that form, or there is no such layer or map.
    """
    maps, known = {}, mined.origins
    for text in texts:
        name, _, numbers = text.rpartition(":")
        layer = origins.ours(name, mined.layers, known)
        if layer not in mined.layers or not all(n.isdigit() for n in numbers.split(",")):
            raise ValueError(
                f"what is {text!r}? Maps are chosen as LAYER:NUMBER,NUMBER; the layers are "
                f"{origins.listed(mined.layers, known)}"
            )
        maps[layer] = np.array([int(number) for number in numbers.split(",")])
        count = len(dead(mined, layer))
        if maps[layer].max() >= count:
            raise ValueError(f"{text!r}: the maps of {layer} are 0 to {count - 1}")
    return maps


def projections(mined: Winners, layer: str, maps: np.ndarray) -> np.ndarray:
    """Projections of some maps' winners, each in a scale of its own, [m, K, h, w, C] float32."""
    return mined.projections[f"{layer}/projection"][maps].astype(np.float32)


def patches(mined: Winners, layer: str, maps: np.ndarray) -> np.ndarray:
    """Photo patches of some maps' winners, [m, K, h, w, C] uint8."""
    return mined.patches[f"{layer}/patch"][maps]


def present(mined: Winners, layer: str, maps: np.ndarray) -> np.ndarray:
    """Which winners of some maps there are, [m, K] bool."""
    return mined.winners[f"{layer}/image"][maps] >= 0
