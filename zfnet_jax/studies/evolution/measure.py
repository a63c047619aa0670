"""How features form during training: each map's strongest activation at the kept epochs (Fig. 4).

In the paper a map's strongest activation over the training set is projected at several epochs; a
sudden jump in appearance is a change of the image from which it comes. Lower layers settle within
a few epochs, upper ones late.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zfnet_jax.studies.evolution.options import Options
from zfnet_jax.studies.features import mining
from zfnet_jax.studies.features.winners import Winners, load

Arrays = dict[str, np.ndarray]
SAME = ("run", "split", "data", "layers", "receptive_fields", "crop")  # of all the checkpoints


def evolution(folders: Sequence[Path], options: Options) -> Arrays:
    """Follows every map's winner through the mined checkpoints of one run.

    A map is settled at checkpoint e if its winner is the same image at e and ever after. At the
    last checkpoint every map is, for want of a later one, so that says nothing.

    Args:
      folders: what mining left of each checkpoint, of one data set (see `winners`).
      options: the maps per layer whose projections are kept for drawing.

    Returns:
      'layers'; 'step' [E] ascending and 'epoch' [E], NaN where unknown; and per layer:
      '{layer}/image' [M, E]: the winner's row in the data set, -1 where the map is dead;
      '{layer}/changed' [M, E]: it is another one than at the checkpoint before; False at the first;
      '{layer}/settled' [M]: the first checkpoint at which the map is settled, an index into 'step';
      '{layer}/share_changed' [E]: share of the maps alive at the last checkpoint that changed;
      '{layer}/half_settled' and '{layer}/all_settled': the first checkpoint at which half and all
      of these maps are settled, -1 if that is only the last one;
      of the maps to draw: '{layer}/map' [N], '{layer}/projection' [N, E, h, w, C] float32 and
      '{layer}/patch' [N, E, h, w, C] uint8.

    Raises:
      ValueError: there are fewer than two checkpoints, or not all of one run and data set.
    """
    checkpoints = sorted((load(folder) for folder in folders), key=lambda m: m.about["step"])
    _check(checkpoints)
    last = checkpoints[-1]
    epochs = [mined.about["epoch"] for mined in checkpoints]
    result: Arrays = {
        "layers": np.array(last.layers),
        "step": np.array([mined.about["step"] for mined in checkpoints]),
        "epoch": np.array([np.nan if epoch is None else epoch for epoch in epochs]),
    }
    for layer in last.layers:
        images = np.stack([m.winners[f"{layer}/image"][:, 0] for m in checkpoints], axis=1)
        result |= {f"{layer}/{name}": value for name, value in follow(images).items()}
        alive = np.setdiff1d(np.arange(len(images)), mining.dead_maps(last.winners, layer))
        rng = np.random.default_rng((options.seed, *layer.encode()))
        maps = np.sort(rng.choice(alive, min(options.maps, len(alive)), replace=False))
        result[f"{layer}/map"] = maps
        patches = [mined.patches[f"{layer}/patch"][maps, 0] for mined in checkpoints]
        result[f"{layer}/patch"] = np.stack(patches, axis=1)
        projections = [_projections(mined, layer, maps) for mined in checkpoints]
        result[f"{layer}/projection"] = np.stack(projections, axis=1)
    return result


def follow(images: np.ndarray) -> Arrays:
    """When the winners of a layer's maps change; `images` is '{layer}/image' of `evolution`."""
    checkpoints = images.shape[1]
    changed = np.zeros(images.shape, bool)
    changed[:, 1:] = images[:, 1:] != images[:, :-1]
    settled = np.where(changed, np.arange(checkpoints), 0).max(axis=1)
    alive = images[:, -1] >= 0
    share_settled = np.array(
        [(settled[alive] <= e).mean() if alive.any() else 1.0 for e in range(checkpoints)]
    )
    return {
        "image": images,
        "changed": changed,
        "settled": settled,
        "share_changed": changed[alive].mean(axis=0) if alive.any() else np.zeros(checkpoints),
        "half_settled": _first_index(share_settled[:-1] >= 0.5),
        "all_settled": _first_index(share_settled[:-1] >= 1),
    }


def _projections(mined: Winners, layer: str, maps: np.ndarray) -> np.ndarray:
    """Of each map's strongest winner, [N, h, w, C] float32."""
    scale = mined.projections[f"{layer}/scale"][maps, 0]
    stored = mined.projections[f"{layer}/projection"][maps, 0]
    return stored.astype(np.float32) * scale[:, None, None, None]


def _first_index(true: np.ndarray) -> np.ndarray:
    return np.array(int(true.argmax()) if true.any() else -1)


def _check(checkpoints: list[Winners]) -> None:
    if len(checkpoints) < 2:
        raise ValueError(
            "Fig. 4 needs at least two mined checkpoints of a run: run python -m scripts.mine for"
            " each of its kept steps"
        )
    for mined in checkpoints[1:]:
        for field in SAME:
            here, there = (_fact(one, field) for one in (mined, checkpoints[0]))
            if here != there:
                raise ValueError(
                    f"{mined.folder} was mined with {field} {here}, {checkpoints[0].folder} with"
                    f" {there}: Fig. 4 follows one run on one data set"
                )


def _fact(mined: Winners, field: str) -> object:
    return mined.options["split"] if field == "split" else mined.about[field]
