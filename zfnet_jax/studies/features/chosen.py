"""Which mined maps a figure draws, and their pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zfnet_jax.studies.features.winners import Winners


def mined_steps(
    workdir: str | Path, split: str | None, usual: str = "validation"
) -> dict[int, Path]:
    """The folders of a run that were mined on a split, by step, ascending.

    Args:
      workdir: the run's folder.
      split: if None, the one that was mined, `usual` where several were.
      usual: see `split`.

    Raises:
      FileNotFoundError: nothing was mined, or nothing on that split.
    """
    root = Path(workdir) / "analysis" / "mining"
    splits: dict[str, dict[int, Path]] = {}
    for path in root.glob("*/info.json"):
        info = json.loads(path.read_text(encoding="utf-8"))
        if path.parent.name == f"{info['split']}-{info['step']}":  # others are being made
            splits.setdefault(info["split"], {})[info["step"]] = path.parent
    if split is None and len(splits) > 1:
        split = usual
    if split is not None:
        splits = {split: splits[split]} if split in splits else {}
    if not splits:
        on = f" on {split}" if split else ""
        raise FileNotFoundError(
            f"nothing is mined{on} in {root}: run python -m scripts.mine --workdir={workdir}"
        )
    return dict(sorted(splits.popitem()[1].items()))


def dead(mined: Winners, layer: str) -> np.ndarray:
    """[M] bool: the maps that no image of the data set activates."""
    return mined.winners[f"{layer}/value"][:, 0] <= 0


def random_maps(mined: Winners, layer: str, count: int, seed: int) -> np.ndarray:
    """`count` maps of a layer drawn at random from those that are not dead, ascending."""
    alive = np.flatnonzero(~dead(mined, layer))
    rng = np.random.default_rng((seed, *layer.encode()))
    return np.sort(rng.choice(alive, min(count, len(alive)), replace=False))


def named_maps(mined: Winners, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads choices of maps such as 'conv3:5,17,80'.

    Raises:
      ValueError: a choice is not of that form, or there is no such layer or map.
    """
    maps = {}
    for text in texts:
        layer, _, numbers = text.partition(":")
        if layer not in mined.info["layers"] or not all(n.isdigit() for n in numbers.split(",")):
            raise ValueError(
                f"what is {text!r}? Maps are chosen as LAYER:NUMBER,NUMBER; the layers are "
                f"{', '.join(mined.info['layers'])}"
            )
        maps[layer] = np.array([int(number) for number in numbers.split(",")])
        count = len(dead(mined, layer))
        if maps[layer].max() >= count:
            raise ValueError(f"{text!r}: the maps of {layer} are 0 to {count - 1}")
    return maps


def projections(mined: Winners, layer: str, maps: np.ndarray) -> np.ndarray:
    """Projections of some maps' winners, each in a scale of its own, [m, K, s, s, C] float32."""
    return mined.projections[f"{layer}/projection"][maps].astype(np.float32)


def patches(mined: Winners, layer: str, maps: np.ndarray) -> np.ndarray:
    """Photo patches of some maps' winners, [m, K, s, s, C] uint8."""
    return mined.patches[f"{layer}/patch"][maps]


def present(mined: Winners, layer: str, maps: np.ndarray) -> np.ndarray:
    """Which winners of some maps there are, [m, K] bool."""
    return mined.winners[f"{layer}/image"][maps] >= 0
