"""Prepared pictures on disk: the format, opening and verifying.

A prepared split is a folder:

    images.npy     uint8 [N, S, S, 3]
    labels.npy     int32 [N]
    keys.json      the N names of the pictures
    mean.npy       float32 [S, S, 3], the per-pixel mean (training split only)
    skipped.json   the report: unreadable photos and files that are no photos, with the reasons
    manifest.json  what it was made from, sizes and digests of the files, fingerprint

It appears under its name only when it is complete. The index of a split for streaming is the same
without images.npy, and has the same fingerprint.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from zfnet_jax.data.folders import few
from zfnet_jax.data.row_reader import RowReader
from zfnet_jax.names import fit

FORMAT = 1
INDEX_SUFFIX = "_index"  # of the folder's name when it holds no images


@dataclass(frozen=True)
class PreparedSplit:
    """One split, read directly from its files.

    Attributes:
      images: uint8 `[N, S, S, 3]`, as they are opened mapped from the disk and read-only.
      labels: int32 `[N]`, indices into `class_names`.
      keys: the N names of the pictures.
      mean: float32 `[S, S, 3]`, the per-pixel mean; None but for the training split.
      fingerprint: short digest of the content.
    """

    images: np.ndarray
    labels: np.ndarray
    keys: tuple[str, ...]
    class_names: tuple[str, ...]
    mean: np.ndarray | None
    fingerprint: str

    @property
    def image_size(self) -> int:
        return self.images.shape[1]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """The pictures at `index` `[b]`: uint8 `[b, S, S, 3]`."""
        if isinstance(self.images, np.memmap):
            return self._reader.rows(index)
        return self.images[index]

    @functools.cached_property
    def _reader(self) -> RowReader:
        assert isinstance(self.images, np.memmap)  # nothing else is read so, see `rows`
        return RowReader(self.images)


@dataclass(frozen=True)
class Index:
    """Everything of a split but its images; `manifest` is the content of manifest.json."""

    labels: np.ndarray
    keys: tuple[str, ...]
    mean: np.ndarray | None
    manifest: dict[str, Any]


def open_prepared(directory: str | Path, split: str) -> PreparedSplit:
    """Opens the split prepared in `directory`, checking its manifest, sizes and shapes.

    Raises:
      FileNotFoundError: nothing is prepared there.
      ValueError: the files are not those that were written.
    """
    folder = Path(directory) / split
    index = read_index(folder)
    manifest = index.manifest
    images = np.load(folder / "images.npy", mmap_mode="r")
    size = manifest["image_size"]
    _check_array(folder / "images.npy", images, (manifest["count"], size, size, 3), np.uint8)
    return PreparedSplit(
        images=images,
        labels=index.labels,
        keys=index.keys,
        class_names=tuple(manifest["class_names"]),
        mean=index.mean,
        fingerprint=manifest["fingerprint"],
    )


def read_index(folder: Path) -> Index:
    """Reads and checks everything in the folder but the images. Errors as in `open_prepared`."""
    manifest = read_manifest(folder)
    count, size = manifest["count"], manifest["image_size"]
    for name, record in manifest["files"].items():
        path = folder / name
        if not path.exists():
            raise ValueError(f"{path} is missing: {_PREPARE_AGAIN}")
        if path.stat().st_size != record["bytes"]:
            raise ValueError(
                f"{path} has {path.stat().st_size} bytes and not {record['bytes']}:"
                f" {_PREPARE_AGAIN}"
            )
    labels = np.load(folder / "labels.npy")
    _check_array(folder / "labels.npy", labels, (count,), np.int32)
    keys = tuple(json.loads((folder / "keys.json").read_text()))
    if len(keys) != count:
        raise ValueError(
            f"{folder / 'keys.json'} holds {len(keys)} keys and not {count}: {_PREPARE_AGAIN}"
        )
    _check_labels(folder, labels, keys, manifest)
    mean = None
    if "mean.npy" in manifest["files"]:
        mean = np.load(folder / "mean.npy")
        _check_array(folder / "mean.npy", mean, (size, size, 3), np.float32)
        _tell_of_empty_classes(folder, labels, manifest["class_names"])
    return Index(labels, keys, mean, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The checked content of manifest.json. Errors as in `open_prepared`."""
    path = folder / "manifest.json"
    if not path.exists():
        mean_only = " --mean_only" if folder.name.endswith(INDEX_SUFFIX) else ""
        raise FileNotFoundError(
            f"no prepared pictures in {folder}: run"
            f" python -m scripts.prepare_data --config=CONFIG{mean_only} with the same"
            " --config overrides first"
        )
    manifest = json.loads(path.read_text())
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {manifest.get('format')} and not {FORMAT}: {_PREPARE_AGAIN}"
        )
    if fingerprint(manifest) != manifest["fingerprint"]:
        raise ValueError(f"{path} was changed after preparation: {_PREPARE_AGAIN}")
    return manifest


def verify(directory: str | Path, split: str) -> None:
    """Reads all files of a prepared split (or index) and compares their digests.

    Raises:
      ValueError: names every file whose content is not what was written.
    """
    folder = Path(directory) / split
    manifest = read_manifest(folder)
    damaged = [
        name
        for name, record in manifest["files"].items()
        if not (folder / name).exists() or file_record(folder / name) != record
    ]
    if "images.npy" in manifest["files"] and "images.npy" not in damaged:
        row_bytes = 3 * manifest["image_size"] ** 2
        with (folder / "images.npy").open("rb") as file:
            file.seek(-manifest["count"] * row_bytes, os.SEEK_END)
            if hashlib.file_digest(file, "sha256").hexdigest() != manifest["rows_sha256"]:
                damaged.append("images.npy")
    if damaged:
        raise ValueError(f"{folder}: {', '.join(damaged)} damaged: {_PREPARE_AGAIN}")
    if "images.npy" in manifest["files"]:
        open_prepared(directory, split)  # the header of images.npy, labels
    else:
        read_index(folder)


def file_record(path: Path) -> dict[str, Any]:
    """Size and digest of a file; the rows of images.npy have their digest in the manifest."""
    record: dict[str, Any] = {"bytes": path.stat().st_size}
    if path.name != "images.npy":
        record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return record


def fingerprint(manifest: dict[str, Any]) -> str:
    """Short digest of the content: pictures, labels, keys and class names."""
    files = manifest["files"]
    content = [
        manifest["image_size"],
        manifest["class_names"],
        manifest["rows_sha256"],
        files["labels.npy"]["sha256"],
        files["keys.json"]["sha256"],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


_PREPARE_AGAIN = "prepare again with python -m scripts.prepare_data --overwrite"


def _check_labels(
    folder: Path, labels: np.ndarray, keys: tuple[str, ...], manifest: dict[str, Any]
) -> None:
    """ValueError where a label is of no class, or of another one than the photo's folder."""
    names = manifest["class_names"]
    wrong = (labels < 0) | (labels >= len(names))
    if wrong.any():
        raise ValueError(
            f"{folder / 'labels.npy'} holds the label {labels[wrong][0]}, but there are"
            f" {len(names)} classes: {_PREPARE_AGAIN}"
        )
    if manifest["source"].get("source") != "folder":
        return
    begins = [f"{name}/" for name in names]
    for key, label in zip(keys, labels.tolist(), strict=True):
        if not key.startswith(begins[label]):
            raise ValueError(
                f"{folder} labels {fit(key)} as {fit(names[label])}, which is not its folder:"
                f" the classes changed while it was made; {_PREPARE_AGAIN}"
            )


def _tell_of_empty_classes(folder: Path, labels: np.ndarray, names: list[str]) -> None:
    empty = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
    if len(empty):
        named = few([names[number] for number in empty])
        _tell(f"{folder} has no photo of {len(empty)} of its {len(names)} classes: {named}")


@functools.cache  # once for each
def _tell(message: str) -> None:
    logging.warning("%s", message)


def _check_array(path: Path, array: np.ndarray, shape: tuple[int, ...], dtype: type) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{path} holds {array.dtype}{list(array.shape)} and not"
            f" {np.dtype(dtype)}{list(shape)}: {_PREPARE_AGAIN}"
        )
