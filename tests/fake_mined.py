"""Small folders of mined winners, made up: what the atlas reads, without a net."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zfnet_jax.studies.features.options import Options
from zfnet_jax.studies.options import in_words

LAYERS = {"conv1": (6, 7, 2, 0), "conv2": (40, 100, 8, -30)}  # maps; receptive field
CLASSES = ["tench", "<b>&\"'", "</script><script>alert(1)</script>", "12", "golf\u2028ball"]
WINNERS = 9
CROP = 64
DEAD = 3  # in every layer
FEW = 4  # this map has two winners only


def colours(layer: str) -> np.ndarray:
    """The colour of each winner's patch: [M, K, 3] uint8, all different."""
    maps = LAYERS[layer][0]
    number = np.arange(maps)[:, None] * np.ones(WINNERS, int)
    rank = np.ones(maps, int)[:, None] * np.arange(WINNERS)
    return np.stack([6 * number, 28 * rank, 128 * (number % 2)], axis=-1).astype(np.uint8)


def write_mined(
    workdir: Path,
    step: int,
    epoch: float | None,
    split: str = "validation",
    photos: int = 12,
    classes: Sequence[str] = CLASSES,
    run: str = "a <run> & 'more'",
) -> Path:
    """Writes the winners of one checkpoint; returns their folder.

    Map m of conv2 has all winners of class m % 5 where m is even, of mixed classes where odd; its
    strongest value is 1 + m + step. The last of the photos are the winners.
    """
    folder = workdir / "studies" / "features" / f"{split}-{step}"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(step)
    rows = np.sort(rng.permutation(2 * photos)[:photos]).astype(np.int32)
    winners, projections, patches = {}, {}, {}
    for layer, (maps, size, jump, start) in LAYERS.items():
        number, rank = np.mgrid[:maps, :WINNERS]
        absent = (number == DEAD) | ((number == FEW) & (rank >= 2))
        value = np.where(absent, 0, 1 + number + step - rank / 10)
        image = np.where(absent, -1, rows[(number + rank) % photos])
        label = np.where(absent, -1, np.where(number % 2, number + rank, number) % len(classes))
        position = rng.integers(0, 4, (maps, WINNERS, 2))
        window = np.concatenate([start + jump * position, start + jump * position + size], axis=-1)
        shape = (maps, WINNERS, size, size, 3)
        patch = np.broadcast_to(colours(layer)[:, :, None, None], shape).copy()
        patch[absent] = 128
        projection = np.where(np.arange(size)[:, None, None] < size // 2, 1e-4, -1e-4) * np.ones(
            shape
        )
        projection[absent] = 0
        winners |= {
            f"{layer}/value": value.astype(np.float32),
            f"{layer}/image": image.astype(np.int32),
            f"{layer}/label": label.astype(np.int32),
            f"{layer}/position": position.astype(np.int32),
            f"{layer}/window": window.astype(np.int32),
        }
        projections[f"{layer}/projection"] = projection.astype(np.float16)
        projections[f"{layer}/scale"] = np.ones((maps, WINNERS), np.float32)
        patches[f"{layer}/patch"] = patch
    patches["photos"] = np.stack([np.full((CROP, CROP, 3), 5 * row, np.uint8) for row in rows])
    patches["photo_rows"] = rows
    patches["photo_keys"] = np.array([f"<i>{row}</i>.jpg" for row in rows])
    np.savez(folder / "winners.npz", **winners)
    np.savez(folder / "projections.npz", **projections)
    np.savez(folder / "patches.npz", **patches)
    about = {
        "study": "features",
        "options": in_words(Options(split=split, k=WINNERS)),
        "data": {"fingerprint": "0123"},
        "layers": list(LAYERS),
        "class_names": list(classes),
        "step": step,
        "epoch": epoch,
        "images": 2 * photos,
        "crop": [CROP, CROP],
        "receptive_fields": {layer: list(field[1:]) for layer, field in LAYERS.items()},
        "config": {},
        "run": run,
        "versions": {},
        "finished": "2026-11-26T12:00:00",
    }
    (folder / "about.json").write_text(json.dumps(about))
    return folder
