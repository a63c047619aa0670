"""PASCAL VOC from TFDS: images with a set of classes each, prepared like any other.

Beside the files of a prepared split (see `prepared`) the folder of each holds

    presence.npy   int8 [N, K], the devkit's codes: 1 where the class is present, 0 where all its
                   objects in the image are marked difficult, -1 where it is absent

Its labels.npy names only the first of an image's classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.data.prepare import prepare_split
from zfnet_jax.data.prepared import PreparedSplit, open_prepared, read_manifest
from zfnet_jax.data.tfds_source import TfdsSource
from zfnet_jax.data.unfinished import to_npy
from zfnet_jax.files import write_bytes

SPLITS = ("train", "validation")  # the test split of 2012 has no public annotations


class VocSource(TfdsSource):
    """One split of a TFDS set with the features of `voc`: 'labels' and 'labels_no_difficult'."""

    def __init__(self, name: str, split: str, *, data_dir: str):
        super().__init__(name, split, data_dir=data_dir, manual_dir="", random_access=False)

    def presence(self) -> dict[str, np.ndarray]:
        """Of each image, by key, the codes [K] of all classes; see the top of the module."""
        result = {}
        for key, row in self._rows(0):
            codes = np.full(len(self.class_names), -1, np.int8)
            codes[row["labels"]] = 0
            codes[row["labels_no_difficult"]] = 1
            result[key] = codes
        return result

    def _class_names(self, features: dict[str, Any]) -> tuple[str, ...]:
        for feature in ("image", "labels", "labels_no_difficult"):
            if feature not in features:
                raise ValueError(
                    f"{self._name} is not in the form of VOC: it has no feature {feature!r}, only"
                    f" {', '.join(sorted(features))}"
                )
        return tuple(features["labels"].feature.names)

    def _label(self, row: dict[str, Any]) -> int:
        labels = [*row["labels_no_difficult"], *row["labels"]]
        if not labels:
            raise ValueError(f"{self._name}, {self._split}: an image is not annotated")
        return int(labels[0])


def prepare(
    prepared_dir: Path, *, name: str, data_dir: str, image_size: int, workers: int, progress: bool
) -> None:
    """Prepares the splits that are not there yet; TensorFlow is imported only for those.

    Args:
      prepared_dir: the splits become folders in it.
      name: of the set in TFDS, which downloads it if needed.
      data_dir: where TFDS keeps data sets; empty: its own default.
      image_size: S, side of the centre square kept.
      workers: decoding processes.

    Raises:
      ValueError: the set is not in the form of VOC, or other pictures lie in the folder.
    """
    for split in SPLITS:
        folder = prepared_dir / split
        if (folder / "presence.npy").exists():
            _check_made_from(folder, name, image_size)
            continue
        source = VocSource(name, split, data_dir=data_dir)
        prepare_split(
            source,
            folder,
            image_size=image_size,
            max_unreadable=0,
            with_mean=split == "train",
            workers=workers,
            progress=progress,
        )
        presence = source.presence()
        keys = open_prepared(prepared_dir, split).keys
        write_bytes(folder / "presence.npy", to_npy(np.stack([presence[key] for key in keys])))


def _check_made_from(folder: Path, name: str, image_size: int) -> None:
    """ValueError where a prepared split is of another set, or of another size."""
    manifest = read_manifest(folder)
    made_from = manifest["source"].get("name"), manifest["image_size"]
    if made_from != (name, image_size):
        raise ValueError(
            f"{folder} was prepared from {made_from[0]} at {made_from[1]} pixels, not from {name}"
            f" at {image_size}: choose another --prepared_dir"
        )


def open_split(prepared_dir: Path, name: str) -> tuple[PreparedSplit, np.ndarray]:
    """A prepared split, and the presence [N, K] of classes in its images.

    Raises:
      FileNotFoundError: it is not prepared.
      ValueError: the files are not those that were written.
    """
    split = open_prepared(prepared_dir, name)
    path = prepared_dir / name / "presence.npy"
    if not path.exists():
        raise FileNotFoundError(f"no {path}: prepare PASCAL VOC with python -m scripts.voc")
    presence = np.load(path)
    if presence.shape != (len(split), len(split.class_names)):
        raise ValueError(
            f"{path} holds {list(presence.shape)} codes and not"
            f" {[len(split), len(split.class_names)]}: remove {path.parent} and prepare it again"
        )
    return split, presence
