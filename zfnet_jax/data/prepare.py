"""Decodes the pictures of a source once, in parallel, to arrays that training reads directly.

A killed preparation goes on where it stopped, and its folder appears under its name only when it
is complete; `prepared` describes what is in it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from zfnet_jax.data.decode import DECODER
from zfnet_jax.data.examples import Source
from zfnet_jax.data.folders import few
from zfnet_jax.data.prepared import FORMAT, INDEX_SUFFIX, file_record, fingerprint, read_index
from zfnet_jax.data.sources import SPLITS, FolderSource, content, make_source
from zfnet_jax.data.splits import SAME_PHOTOS
from zfnet_jax.data.unfinished import PartialSplit, PixelStatistics, publish, tidy, to_json, to_npy
from zfnet_jax.data.workers import decode_in_order
from zfnet_jax.files import write_bytes
from zfnet_jax.names import fit

_ROWS_AT_A_TIME = 256
_NAMED = 10  # unreadable photos named in an error message; the report names all


def prepare(
    data: ConfigDict, *, workers: int, store_images: bool, overwrite: bool, progress: bool = True
) -> dict[str, dict[str, Any]]:
    """Prepares both splits of `config.data` in `data.prepared_dir`; returns their manifests.

    Args:
      workers: decoding processes; 1 decodes in this process. The result does not depend on it.
      store_images: False makes only the index for streaming (`config.data.streaming`).
      overwrite: replace what was prepared from other pictures or at another size.

    Raises:
      ValueError: the classes of the splits differ, too many photos are unreadable, or the folder
        holds other pictures and `overwrite` is False.
    """
    sources = _alike({split: make_source(data, split) for split in SPLITS})
    if progress:
        for note in _notes(sources):
            print(note)
    return {
        split: prepare_split(
            source,
            Path(data.prepared_dir) / (split if store_images else split + INDEX_SUFFIX),
            image_size=data.image_size,
            max_unreadable=data.max_unreadable,
            with_mean=split == "train",
            workers=workers,
            store_images=store_images,
            overwrite=overwrite,
            progress=progress,
            notes=False,
        )
        for split, source in sources.items()
    }


def prepare_split(
    source: Source,
    folder: Path,
    *,
    image_size: int,
    max_unreadable: float,
    with_mean: bool,
    workers: int,
    store_images: bool = True,
    overwrite: bool = False,
    progress: bool = True,
    notes: bool = True,
) -> dict[str, Any]:
    """Prepares one split in `folder` and returns its manifest.

    With `store_images` a killed preparation goes on where it stopped; the index alone is made in
    one go. `notes`: whether to print the source's, with `progress`. See `prepare` for the other
    arguments and the errors.
    """
    if progress and notes:
        for note in source.notes():
            print(note)
    made_from = {
        "format": FORMAT,
        "source": source.describe(),
        "image_size": image_size,
        "decoder": DECODER,
        "class_names": list(source.class_names),
    }
    partial = folder.with_name(folder.name + ".partial")
    begun_from = made_from | {"source": content(made_from["source"]), "state": source.state}
    if folder.exists():
        if not (folder / "manifest.json").exists():  # perhaps the photos themselves: never replaced
            raise ValueError(
                f"{folder} exists and holds no prepared pictures: choose another"
                " config.data.prepared_dir, or remove it"
            )
        if not overwrite:
            manifest = _existing(folder, begun_from, progress)
            if progress and partial.exists():
                print(f"{partial} was begun to replace it: --overwrite goes on, or remove it")
            return manifest

    if not store_images or (overwrite and _begun_otherwise(partial, begun_from)):
        shutil.rmtree(partial, ignore_errors=True)
    statistics = PixelStatistics(image_size)
    if store_images:
        with PartialSplit(partial, begun_from, image_size) as unfinished:
            _decode_into(unfinished, source, image_size, workers, progress, folder.name)
            journal = unfinished.journal
            report = _report(source, journal, max_unreadable, partial)
            unfinished.finish_images()
            _measure(partial / "images.npy", statistics, progress, folder.name)
    else:
        partial.mkdir(parents=True)
        index = _Index(statistics)
        _decode_into(index, source, image_size, workers, progress, folder.name)
        journal = index.journal
        report = _report(source, journal, max_unreadable, partial)

    kept = [entry for entry in journal if "label" in entry]
    labels = np.array([entry["label"] for entry in kept], np.int32)
    write_bytes(partial / "labels.npy", to_npy(labels))
    write_bytes(partial / "keys.json", to_json([entry["key"] for entry in kept]))
    if with_mean:
        write_bytes(partial / "mean.npy", to_npy(statistics.mean()))
    manifest = {
        **made_from,
        "state": source.state,
        "count": len(kept),
        "unreadable": len(report["unreadable"]),
        "ignored": len(report["ignored"]),
        "rows_sha256": statistics.sha256(),
        "files": {
            path.name: file_record(path)
            for path in sorted(partial.iterdir())
            if path.name in ("images.npy", "labels.npy", "keys.json", "mean.npy", "skipped.json")
        },
    }
    manifest["fingerprint"] = fingerprint(manifest)
    write_bytes(partial / "manifest.json", to_json(manifest))
    publish(partial, folder)
    return manifest


def _alike(sources: dict[str, Source]) -> dict[str, Source]:
    """The sources of both splits, with one list of classes.

    A class may lack photos of validation if it has its folder there.
    """
    train, validation = sources["train"], sources["validation"]
    if train.class_names == validation.class_names:
        return sources
    lacking = set(train.class_names) - set(validation.class_names)
    unknown = set(validation.class_names) - set(train.class_names)
    if (
        not unknown
        and isinstance(validation, FolderSource)
        and lacking <= validation.empty_classes()
    ):
        return {"train": train, "validation": validation.with_classes(train.class_names)}
    only = [f"only in train: {few(sorted(lacking))}"] if lacking else []
    only += [f"only in validation: {few(sorted(unknown))}"] if unknown else []
    differing = "; ".join(only) or "in another order"
    raise ValueError(
        f"the classes of train and validation differ ({differing}): give both a folder for each"
        " class, or name no validation and keep a share of train, config.data.folder.held_out=0.1"
    )


def _notes(sources: dict[str, Source]) -> list[str]:
    """What who prepares them should know, one line each."""
    train, validation = sources["train"], sources["validation"]
    notes = [*train.notes(), *validation.notes()]
    if len(train.class_names) == 1:
        notes.append(
            f"note: there is one class only, {fit(train.class_names[0])}: no net can be trained"
            " on it; each class needs a folder of its own"
        )
    if content(train.describe()) == content(validation.describe()):
        notes.append(SAME_PHOTOS)
    return list(dict.fromkeys(notes))


def _existing(folder: Path, made_from: dict[str, Any], progress: bool) -> dict[str, Any]:
    index = read_index(folder)
    manifest, now = index.manifest, made_from["class_names"]
    # Folders without photos were classes once: those that hold some are the same.
    counts = np.bincount(index.labels, minlength=len(manifest["class_names"]))
    named = list(zip(manifest["class_names"], counts, strict=True))
    dead = [name for name, count in named if not count and name not in now]
    same = {
        "pictures": content(manifest["source"]) == made_from["source"],
        "image_size": manifest["image_size"] == made_from["image_size"],
        "classes": [name for name, _ in named if name not in dead] == now,
    }
    if not all(same.values()):
        differing = " and ".join(name for name, is_same in same.items() if not is_same)
        raise ValueError(
            f"{folder} was prepared from other pictures or at another size (another {differing}):"
            " remove it (or pass --overwrite to scripts.prepare_data), or prepare into another"
            " folder"
        )
    tidy(folder)
    if progress:
        print(f"{folder} is already prepared from these pictures")
        if dead:
            print(
                f"{folder}: but with classes that hold no photo ({few(dead)}), for which a net has"
                " dead outputs: --overwrite prepares it without them"
            )
        if manifest.get("state", made_from["state"]) != made_from["state"]:
            print(
                f"{folder}: but files were written since, of the same names and sizes: --overwrite"
                " prepares them anew if they show something else"
            )
    return manifest


def _begun_otherwise(partial: Path, made_from: dict[str, Any]) -> bool:
    path = partial / "description.json"
    return path.exists() and json.loads(path.read_text()) != made_from


class _Index:
    """Takes the place of PartialSplit where the pixels are only measured, not stored."""

    def __init__(self, statistics: PixelStatistics):
        self.journal: list[dict[str, Any]] = []
        self._statistics = statistics

    def add(self, entry: dict[str, Any], row: np.ndarray | None) -> None:
        self.journal.append(entry)
        if row is not None:
            self._statistics.update(row[None])

    def commit(self) -> None:
        pass


def _decode_into(
    sink: PartialSplit | _Index,
    source: Source,
    image_size: int,
    workers: int,
    progress: bool,
    name: str,
) -> None:
    start = len(sink.journal)
    bar = tqdm(total=len(source), initial=start, desc=name, unit=" images", disable=not progress)
    with bar:
        for example, row in decode_in_order(source.examples(start), image_size, workers):
            if isinstance(row, str):
                sink.add({"key": example.key, "reason": row}, None)
            else:
                sink.add({"key": example.key, "label": example.label}, row)
            bar.update()
    sink.commit()
    if len(sink.journal) != len(source):
        raise ValueError(
            f"{name}: the source ended after {len(sink.journal)} of its {len(source)} pictures:"
            " is it complete?"
        )


def _report(
    source: Source, journal: list[dict[str, Any]], max_unreadable: float, partial: Path
) -> dict[str, list[dict[str, Any]]]:
    """Writes skipped.json; an error, with the file left in place, if too much is unreadable."""
    unreadable = [
        {"position": position, **entry}
        for position, entry in enumerate(journal)
        if "reason" in entry
    ]
    report = {"unreadable": unreadable, "ignored": list(source.ignored)}
    write_bytes(partial / "skipped.json", to_json(report))
    if len(unreadable) == len(journal):
        limit = "no photo is left"
    elif len(unreadable) > max_unreadable * len(journal):
        limit = f"config.data.max_unreadable allows a share of {max_unreadable}"
    else:
        return report
    names = "; ".join(f"{entry['key']} ({entry['reason']})" for entry in unreadable[:_NAMED])
    more = f"; and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
    raise ValueError(
        f"{len(unreadable)} of {len(journal)} photos are unreadable and {limit}: {names}{more}."
        f" All are listed in {partial / 'skipped.json'}"
    )


def _measure(path: Path, statistics: PixelStatistics, progress: bool, name: str) -> None:
    images = np.load(path, mmap_mode="r")
    bar = tqdm(
        total=len(images), desc=f"{name}: digest, mean", unit=" images", disable=not progress
    )
    with bar:
        for start in range(0, len(images), _ROWS_AT_A_TIME):
            rows = images[start : start + _ROWS_AT_A_TIME]
            statistics.update(rows)
            bar.update(len(rows))
