"""Where pictures come from: folders of photos, TFDS and the built-in pictures.

`make_source` opens the one that `config.data` names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from zfnet_jax.data import pictures
from zfnet_jax.data.decode import EXTENSIONS
from zfnet_jax.data.examples import Example, PictureRecipe, Source, load
from zfnet_jax.data.tfds_source import TfdsSource

SPLITS = ("train", "validation")


def identity(data: ConfigDict, split: str) -> dict[str, Any]:
    """What `config.data` says of a split's pictures, known without opening the source.

    Kept with prepared arrays, so that arrays made from other pictures are never trained on.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: must be one of {SPLITS}")
    if data.source == "folder":
        share = data.folder.get("held_out", 0.0)  # runs from before there was this field have none
        if not share:
            return {"source": "folder", "folder": _plain(data.folder[split])}
        if data.folder.validation:
            raise ValueError("config.data.folder: give validation or held_out, not both")
        whole = _plain(data.folder.train)
        return {"source": "folder", "folder": whole, "held_out": share, "part": split}
    if data.source == "tfds":
        return {"source": "tfds", "name": data.tfds.name, "split": data.tfds[split]}
    if data.source == "pictures":
        return {
            "source": "pictures",
            "family": data.pictures.family,
            "split": split,
            "per_class": data.pictures[f"{split}_per_class"],
            "seed": data.pictures.seed,
        }
    if data.source == "prepared":
        return {}
    raise ValueError(
        f"config.data.source {data.source!r}: must be 'folder', 'tfds', 'pictures' or 'prepared'"
    )


def _plain(folder: str) -> str:
    """A folder's name without what makes it no other folder: 'photos/' is 'photos'."""
    return os.path.normpath(folder) if folder else ""


def make_source(data: ConfigDict, split: str) -> Source:
    """Opens the source of one split ('train' or 'validation') of `config.data`."""
    chosen = identity(data, split)
    if data.source == "prepared":
        raise ValueError(
            "config.data.source is 'prepared', which is no source of photos: set it to 'folder',"
            " 'tfds' or 'pictures'"
        )
    if data.source == "folder":
        if "part" not in chosen:
            return FolderSource(chosen["folder"], f"config.data.folder.{split}")
        return PartOfFolder(
            FolderSource(chosen["folder"], "config.data.folder.train"),
            chosen["held_out"],
            chosen["part"],
        )
    if data.source == "tfds":
        return TfdsSource(
            chosen["name"],
            chosen["split"],
            data_dir=data.tfds.data_dir,
            manual_dir=data.tfds.manual_dir,
            random_access=data.streaming,
        )
    return PicturesSource(chosen["family"], split, chosen["per_class"], chosen["seed"])


class FolderSource:
    """A folder with one folder of photos per class, in the order of sorted names.

    Hidden files are ignored; whatever else is no photo by its extension is listed in `ignored`.
    """

    def __init__(self, folder: str, field: str = "folder"):
        self._folder = _plain(folder)
        root = Path(folder)
        if not folder:
            raise ValueError(f"{field} is empty: name a folder that holds one folder per class")
        if not root.is_dir():
            raise FileNotFoundError(f"{field}: no folder {folder!r}")
        ignored: list[dict[str, str]] = []
        classes = []
        for entry in _visible(root):
            if _is(entry, "dir"):
                classes.append(entry.name)
            else:
                ignored.append({"key": entry.name, "reason": "not inside a class folder"})
        if not classes:
            raise ValueError(f"{field}: {folder!r} holds no class folders")

        self._root = root
        self._keys: list[str] = []
        self._labels: list[int] = []
        listing = hashlib.sha256()
        for label, name in enumerate(classes):
            before = len(self._keys)
            for entry in _visible(root / name):
                key = f"{name}/{entry.name}"
                if _is(entry, "dir"):
                    ignored.append({"key": key, "reason": "a folder inside a class folder"})
                elif not entry.name.lower().endswith(EXTENSIONS):
                    ignored.append({"key": key, "reason": "extension is not one of a photo"})
                else:
                    self._keys.append(key)
                    self._labels.append(label)
                    # Sizes tell replaced files from those prepared earlier.
                    size = entry.stat().st_size if _is(entry, "file") else -1
                    listing.update(os.fsencode(key) + b"\0%d\n" % size)
            if len(self._keys) == before:
                ignored.append({"key": name, "reason": "class folder without photos"})
        if not self._keys:
            raise ValueError(f"{field}: no photos ({', '.join(EXTENSIONS)}) in {folder!r}")
        self.class_names = tuple(classes)
        self.ignored = tuple(ignored)
        self._listing = listing.hexdigest()

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, position: int) -> Example:
        key = self._keys[position]
        return Example(key, self._labels[position], self._root / key)

    def examples(self, start: int = 0) -> Iterator[Example]:
        return (self[position] for position in range(start, len(self)))

    def describe(self) -> dict[str, Any]:
        return {
            "source": "folder",
            "folder": self._folder,
            "examples": len(self),
            "listing_sha256": self._listing,
        }


class PartOfFolder:
    """The photos of a folder without those held out of each class, or those alone.

    Which they are depends on the photos' names: more photos move few of the others.
    """

    def __init__(self, source: FolderSource, share: float, part: str):
        """`share` of each class, at least one photo, is 'validation', the rest 'train'."""
        if not 0 < share < 1:
            raise ValueError(f"config.data.folder.held_out {share}: must be between 0 and 1")
        self._source, self._share, self._part = source, share, part
        self.class_names, self.ignored = source.class_names, source.ignored
        of_class: dict[int, list[int]] = {}
        for position in range(len(source)):
            of_class.setdefault(source[position].label, []).append(position)
        self._positions: list[int] = []
        for label, positions in of_class.items():
            if len(positions) < 2:
                name = self.class_names[label]
                raise ValueError(f"class {name} has one photo: none can be held out")
            drawn = sorted(
                positions, key=lambda at: hashlib.sha256(os.fsencode(source[at].key)).digest()
            )
            count = min(max(1, round(share * len(drawn))), len(drawn) - 1)
            self._positions += sorted(drawn[:count] if part == "validation" else drawn[count:])

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: int) -> Example:
        return self._source[self._positions[position]]

    def examples(self, start: int = 0) -> Iterator[Example]:
        return (self[position] for position in range(start, len(self)))

    def describe(self) -> dict[str, Any]:
        part = {"held_out": self._share, "part": self._part, "examples": len(self)}
        return self._source.describe() | part


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: entry.name)


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    """Whether it is a 'dir' or 'file' after following links; a circle of links is neither."""
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError:
        return False


class PicturesSource:
    """The built-in pictures, classes in turn, drawn at the size asked for."""

    ignored = ()

    def __init__(self, family: str, split: str, per_class: int, seed: int):
        families = {"objects": pictures.OBJECTS, "transfer": pictures.TRANSFER}
        if family not in families:
            raise ValueError(
                f"config.data.pictures.family {family!r}: must be 'objects' or 'transfer'"
            )
        if not 0 < per_class < _SEED_BLOCK:
            raise ValueError(
                f"config.data.pictures.{split}_per_class is {per_class}:"
                f" must be between 1 and {_SEED_BLOCK - 1}"
            )
        self.class_names = tuple(families[family])
        self._family, self._split, self._per_class, self._seed = family, split, per_class, seed

    def __len__(self) -> int:
        return self._per_class * len(self.class_names)

    def __getitem__(self, position: int) -> Example:
        number, label = divmod(position, len(self.class_names))
        name = self.class_names[label]
        # Training has the even seeds and validation the odd ones: disjoint by construction.
        seed = 2 * (self._seed * _SEED_BLOCK + number) + SPLITS.index(self._split)
        return Example(f"{name}/{seed}", label, PictureRecipe(name, seed))

    def examples(self, start: int = 0) -> Iterator[Example]:
        return (self[position] for position in range(start, len(self)))

    def describe(self) -> dict[str, Any]:
        # One small picture of each class stands for the drawing code, which may change.
        sample = hashlib.sha256()
        for label in range(len(self.class_names)):
            sample.update(load(self[label].payload, 48).tobytes())
        return {
            "source": "pictures",
            "family": self._family,
            "split": self._split,
            "per_class": self._per_class,
            "seed": self._seed,
            "class_names": list(self.class_names),
            "sample_sha256": sample.hexdigest(),
        }


_SEED_BLOCK = 1_000_000  # pictures of one class in one seed
