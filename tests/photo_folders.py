"""Small folders of photos, and their preparation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from zfnet_jax.data.prepare import prepare, prepare_split

SIZE = 24


def save_photos(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            shape = (*rng.integers(20, 60, 2), 3)
            photo = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
            photo.save(root / name / f"{number:03d}.png")
    return root


def config(tmp_path: Path, **overrides: object) -> ConfigDict:
    folders = {split: str(tmp_path / split) for split in ("train", "validation")}
    data = ConfigDict()
    data.source = "folder"
    data.folder = folders
    data.tfds = {
        "name": "",
        "train": "train",
        "validation": "test",
        "data_dir": "",
        "manual_dir": "",
    }
    data.pictures = {
        "family": "objects",
        "train_per_class": 3,
        "validation_per_class": 2,
        "seed": 0,
    }
    data.prepared_dir = str(tmp_path / "prepared")
    data.image_size = SIZE
    data.max_unreadable = 0.0
    data.streaming = False
    data.update(overrides)
    return data


def run(data: ConfigDict, *, workers: int = 1, store_images: bool = True, overwrite: bool = False):
    return prepare(
        data, workers=workers, store_images=store_images, overwrite=overwrite, progress=False
    )


def run_split(source, folder: Path, *, workers: int = 1, max_unreadable: float = 0.0):
    return prepare_split(
        source,
        folder,
        image_size=SIZE,
        max_unreadable=max_unreadable,
        with_mean=True,
        workers=workers,
        progress=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def damage(path: Path, offset: int) -> None:
    """Flips one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
