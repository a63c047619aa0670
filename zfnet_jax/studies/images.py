"""The images that a run is shown: those that its config names, or others, named by a folder."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import parallel
from zfnet_jax.data import splits, titles
from zfnet_jax.data.examples import Source
from zfnet_jax.data.folders import few
from zfnet_jax.data.images import Relabelled, Split
from zfnet_jax.data.prepare import prepare_split
from zfnet_jax.data.prepared import PreparedSplit, open_prepared, read_manifest
from zfnet_jax.data.sources import FolderSource, content
from zfnet_jax.names import fit
from zfnet_jax.runs.run import Run

_PER_WORKER = 256  # photos that are worth the start of a decoding process


def open_split(run: Run, split: str, where: str | None = None) -> Split:
    """The 'train' or 'validation' images of a run, or others.

    Args:
      where: a folder of other images; see `folder_of`.

    Raises:
      FileNotFoundError, ValueError: see `folder_of`, `splits.open_split`.
    """
    data = run.config.data
    if where:
        folder = folder_of(run, split, where)
        data = _in(data, where)
        if folder != splits.folder_of(data, split) or splits.differences(data, split):
            return open_prepared(folder.parent, folder.name)  # not those that it was trained with
    elif data.source == "prepared" and _imported_without(data, split):
        raise FileNotFoundError(
            f"{run.directory.resolve().name} was imported without {split} images of"
            f" {data.image_size} pixels: add --prepared_dir=FOLDER to the command, where FOLDER"
            " holds photos in one folder for each class, or images prepared at that size"
        )
    return splits.open_split(data, split)


def folder_of(run: Run, split: str, where: str | None = None) -> Path:
    """The folder of a prepared split, as `open_split` opens it.

    Args:
      where: instead of the run's own a folder that holds prepared splits, or is one, or one of
        photos, in class folders or in none. Those count as validation images; they are decoded
        once, at the size that the net was trained on, to data/NAME-SIZE-DIGEST.

    Raises:
      FileNotFoundError: there are none.
      ValueError: they are prepared at another size, or the photos cannot be prepared.
    """
    data = run.config.data
    if not where:
        return splits.folder_of(data, split)
    if prepared := _prepared(run, split, where):
        return prepared
    if split != "validation":
        raise ValueError(
            f"{where} holds no prepared images: photos in class folders count as validation images"
            f" (--split=validation), not as {split}"
        )
    source = FolderSource(where, "--prepared_dir", plain=True)
    return decoded(run, source, Path("data"), Path(where).resolve().name)


def open_set(run: Run, split: str, where: str | Path) -> PreparedSplit:
    """The images of a data set that is tried whole: of a prepared split, or all photos of a folder.

    Args:
      where: as of `folder_of`; photos are decoded likewise, and of whatever split then.

    Errors as of `folder_of`; ValueError also where photos lie in no class folders.
    """
    where = str(where)
    folder = _prepared(run, split, where)
    if folder is None:
        source = FolderSource(where, "--prepared_dir")
        folder = decoded(run, source, Path("data"), Path(where).resolve().name)
    return open_prepared(folder.parent, folder.name)


def _prepared(run: Run, split: str, where: str) -> Path | None:
    """A prepared split that lies in a folder, or is it; None where there is none in it.

    Errors as of `folder_of`.
    """
    data = run.config.data
    for folder in (splits.folder_of(_in(data, where), split), Path(where, split), Path(where)):
        if (folder / "manifest.json").exists():
            size = read_manifest(folder)["image_size"]
            if size != data.image_size:
                raise ValueError(
                    f"{folder} is prepared at {size} pixels, but the net was trained at"
                    f" {data.image_size}: give --prepared_dir the folder of its photos, which are"
                    " decoded to that size then, or prepare them anew in another folder"
                )
            return folder
    others = sorted(path.parent.name for path in Path(where).glob("*/manifest.json"))
    if others:
        raise FileNotFoundError(
            f"{where} holds no prepared {split} images, only {', '.join(others)}"
        )
    return None


def decode_for(run: Run, source: Source, folder: Path, *, workers: int, progress: bool) -> None:
    """Prepares images at the size that the net was trained on, unless they are."""
    prepare_split(
        source,
        folder,
        image_size=run.config.data.image_size,
        max_unreadable=run.config.data.max_unreadable,
        with_mean=False,
        workers=workers,
        progress=progress,
    )


def in_classes_of(run: Run, split: Split) -> Split:
    """The images with labels that number the net's classes, in whatever order theirs are.

    Classes are matched by name, or where one has an ImageNet id and the other its title by that,
    unless several ids have that title.

    Raises:
      ValueError: the net has no classifier, does not know a class of theirs, or has several of
        its name.
    """
    if not run.class_names:
        raise ValueError(run.lacks_classes)
    if tuple(split.class_names) == run.class_names:
        return split
    own: dict[str, list[int]] = {}
    for names in (run.class_names, run.class_titles):
        known = set(own)
        for number, name in enumerate(names):
            if name not in known and (names is run.class_names or name not in titles.shared()):
                own.setdefault(name, []).append(number)
    found = {name: own.get(name, []) for name in split.class_names}
    for name, title in zip(split.class_names, titles.of_classes(split.class_names, {})):
        if not found[name] and title not in titles.shared():
            found[name] = own.get(title, [])
    unknown = [name for name, numbers in found.items() if not numbers]
    several = [name for name, numbers in found.items() if len(numbers) > 1]
    if unknown or several:
        which = f"it does not know {few(unknown)}" if unknown else f"{few(several)} are two of its"
        raise ValueError(
            f"the images have other classes than {run.directory.resolve().name}:"
            f" {_few(split.class_names)}, not {_few(run.class_names)}; {which}: name a folder of"
            " photos without them"
        )
    number = np.array([found[name][0] for name in split.class_names], np.int32)
    fingerprint = split.fingerprint
    if not set(split.class_names) <= set(run.class_names):  # titles may be given anew later
        of_labels = hashlib.sha256(number.tobytes() + fingerprint.encode())
        fingerprint = of_labels.hexdigest()[: len(fingerprint)]
    return Relabelled(split, number[split.labels], run.class_names, fingerprint)


def decoded(run: Run, source: Source, folder: Path, name: str) -> Path:
    """Images as validation images at the size that the net takes, prepared in a folder of their own
    in `folder` unless they are; one process of several prepares them. Returns that folder.

    ValueError: too many photos are unreadable.
    """
    about = json.dumps(content(source.describe()), sort_keys=True).encode()
    digest = source.describe().get("listing_sha256") or hashlib.sha256(about).hexdigest()
    where = folder / f"{name}-{run.config.data.image_size}-{digest[:8]}" / "validation"
    workers = min(os.cpu_count() or 1, 1 + len(source) // _PER_WORKER)
    parallel.by_writer(lambda: decode_for(run, source, where, workers=workers, progress=True))
    return where


def _in(data: ConfigDict, where: str) -> ConfigDict:
    moved = data.copy_and_resolve_references()
    moved.prepared_dir = where
    return moved


def _imported_without(data: ConfigDict, split: str) -> bool:
    try:
        return bool(splits.differences(data, split))
    except FileNotFoundError:
        return True


def _few(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join([*map(fit, names[:3]), *['...'] * (len(names) > 3)])})"
