"""A small folder as mining leaves it, with made-up winners."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zfnet_jax.studies.features.options import Options
from zfnet_jax.studies.options import in_words

FIELDS = {"conv1": (7, 2, -1), "conv2": (27, 8, -5)}


def write_mined(
    folder: Path,
    *,
    images: Mapping[str, np.ndarray],
    step: int = 4,
    epoch: float | None = 1.0,
    crop: Sequence[int] = (56, 56),
    seed: int = 0,
    data: str = "0123456789abcdef",
    finished: str = "2026-11-26T12:00:00",
    **options: object,
) -> Path:
    """Writes a folder of winners `images` {layer: [M, K]}, -1 where there is none.

    Values, projections and patches are random; those of absent winners are empty. The split is what
    the folder's name begins with.

    Args:
      options: those that are not the paper's.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    winners, projections, patches = {}, {}, {}
    for layer, rows in images.items():
        rows = np.asarray(rows, np.int32)
        side, jump, start = FIELDS[layer]
        here = rows >= 0
        values = -np.sort(-rng.uniform(0.1, 2, rows.shape).astype(np.float32), axis=1)
        position = rng.integers(0, 4, (*rows.shape, 2)).astype(np.int32)
        first = position * jump + start
        winners |= {
            f"{layer}/value": np.where(here, values, 0).astype(np.float32),
            f"{layer}/image": rows,
            f"{layer}/label": np.where(here, rows % 10, -1).astype(np.int32),
            f"{layer}/position": position,
            f"{layer}/window": np.concatenate([first, first + side], axis=2).astype(np.int32),
        }
        mask = here[..., None, None, None]
        tiles = rng.normal(size=(*rows.shape, side, side, 3))
        projections[f"{layer}/projection"] = (tiles * mask).astype(np.float16)
        scale = rng.uniform(0.5, 2, rows.shape)
        projections[f"{layer}/scale"] = np.where(here, scale, 1).astype(np.float32)
        photo = rng.integers(0, 256, (*rows.shape, side, side, 3))
        patches[f"{layer}/patch"] = np.where(mask, photo, 128).astype(np.uint8)
    used = np.unique(np.concatenate([rows[rows >= 0] for rows in images.values()]))
    patches["photos"] = rng.integers(0, 256, (len(used), *crop, 3)).astype(np.uint8)
    patches["photo_rows"] = used.astype(np.int32)
    patches["photo_keys"] = np.array([f"photo {row}" for row in used], np.str_)
    np.savez(folder / "winners.npz", **winners)
    np.savez(folder / "projections.npz", **projections)
    np.savez(folder / "patches.npz", **patches)
    k = max(np.shape(rows)[1] for rows in images.values())
    mined_with = {"split": folder.name.partition("-")[0], "k": k, **options}
    about = {
        "study": "features",
        "options": in_words(Options(**mined_with)),
        "data": {"fingerprint": data},
        "layers": list(images),
        "class_names": [f"class {n}" for n in range(10)],
        "step": step,
        "epoch": epoch,
        "images": 100,
        "crop": list(crop),
        "receptive_fields": {layer: FIELDS[layer] for layer in images},
        "config": {},
        "run": "a run",
        "versions": {},
        "finished": finished,
    }
    (folder / "about.json").write_text(json.dumps(about))
    return folder
