"""Where pictures come from: folders of photos, TFDS and the built-in pictures.

`make_source` opens the one that `config.data` names.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from zfnet_jax.data import folders, pictures
from zfnet_jax.data.decode import EXTENSIONS
from zfnet_jax.data.examples import Example, PictureRecipe, Source, load
from zfnet_jax.data.tfds_source import TfdsSource
from zfnet_jax.names import fit

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


def content(description: dict[str, Any]) -> dict[str, Any]:
    """What a source's description says of its pictures: not how its folder is spelled."""
    if "listing_sha256" not in description:
        return description
    return {field: value for field, value in description.items() if field != "folder"}


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

    A photo belongs to the class folder that it lies in, however deep; see `folders.Below`.

    Attributes:
      class_names: the folders that hold photos.
    """

    def __init__(self, folder: str, field: str = "folder", *, plain: bool = False):
        """
        Args:
          field: what a message calls the folder.
          plain: whether photos that lie in no class folder, where there is none, are one class,
            called as the folder is.
        """
        self._folder = _plain(folder)
        root = Path(folder)
        if not folder:
            raise ValueError(f"{field} is empty: name a folder that holds one folder per class")
        if not root.is_dir():
            raise FileNotFoundError(f"{field}: no folder {folder!r}")
        self._root = root
        self._keys: list[str] = []
        self._labels: list[int] = []
        below, classes = folders.Below(root), []
        found = list(below.by_class())
        if plain and not found:
            self._root, name = root.resolve().parent, root.resolve().name
            below = folders.Below(self._root)
            photos = list(below.photos(name))
            found = [(name, photos)] if photos else []
        listing, written = hashlib.sha256(), hashlib.sha256()
        for name, photos in found:
            for photo in photos:
                self._keys.append(photo.key)
                self._labels.append(len(classes))
                # Sizes tell replaced files from those prepared earlier.
                listing.update(os.fsencode(photo.key) + b"\0%d\n" % photo.size)
                written.update(b"%d\n" % photo.written)
            classes.append(name)
        self.ignored = tuple(below.left_out)
        if not self._keys:
            raise ValueError(f"{field}: {_no_photos(folder, self.ignored)}")
        if elsewhere := folders.where_classes_are(folder, self._keys):
            raise ValueError(f"{field}: {elsewhere}")
        self.class_names = tuple(classes)
        self.state = written.hexdigest()
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

    def notes(self) -> list[str]:
        left_out = [f"left out: {text}" for text in (folders.summary(self.ignored),) if text]
        deeper = [text for text in (folders.seem_deeper(self._keys),) if text]
        return [f"{fit(self._folder)}: {note}" for note in left_out + deeper]

    def empty_classes(self) -> set[str]:
        """The folders in it that hold no photo."""
        return {one["key"] for one in self.ignored if one["reason"] == folders.EMPTY}

    def with_classes(self, class_names: Sequence[str]) -> FolderSource:
        """The same photos, their labels in another list of classes that has all of theirs."""
        number = [class_names.index(name) for name in self.class_names]
        result = copy.copy(self)
        result._labels = [number[label] for label in self._labels]
        result.class_names = tuple(class_names)
        return result


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
        self.state = source.state
        of_class: dict[int, list[int]] = {}
        for position in range(len(source)):
            of_class.setdefault(source[position].label, []).append(position)
        self._positions: list[int] = []
        if single := [source.class_names[k] for k, of in of_class.items() if len(of) < 2]:
            which = "class {} has" if len(single) == 1 else "classes {} have"
            raise ValueError(
                f"{which.format(folders.few(single))} one photo: none can be held out; add photos,"
                " remove the folder, or set config.data.folder.held_out to 0 and name a folder of"
                " validation photos, config.data.folder.validation"
            )
        for positions in of_class.values():
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

    def notes(self) -> list[str]:
        return self._source.notes() if self._part == "train" else []  # once

    def describe(self) -> dict[str, Any]:
        part = {"held_out": self._share, "part": self._part, "examples": len(self)}
        return self._source.describe() | part


def _no_photos(folder: str, left_out: Sequence[dict[str, str]]) -> str:
    """Why a folder holds no class: what there is in it instead."""
    formats = ", ".join(EXTENSIONS)
    loose = [one["key"] for one in left_out if one["key"].lower().endswith(EXTENSIONS)]
    if loose:
        return (
            f"{folder!r} holds no class folders, but photos ({folders.few(loose)}): put those of"
            " each class into a folder of its own"
        )
    if not any("/" in one["key"] or one["reason"] == folders.EMPTY for one in left_out):
        return f"{folder!r} holds no class folders"
    return f"no photos ({formats}) in {folder!r}: left out: {folders.summary(left_out)}"


class PicturesSource:
    """The built-in pictures, classes in turn, drawn at the size asked for."""

    ignored: tuple[dict[str, str], ...] = ()
    state = ""

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

    def notes(self) -> list[str]:
        return []

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
