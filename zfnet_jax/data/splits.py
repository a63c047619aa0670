"""The pictures of a split as training reads them, prepared or streamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from zfnet_jax.data.exclusion import exclude
from zfnet_jax.data.images import Split
from zfnet_jax.data.prepared import INDEX_SUFFIX, open_prepared, read_manifest
from zfnet_jax.data.sources import FolderSource, identity, make_source
from zfnet_jax.data.streaming import StreamingSplit

SAME_PHOTOS = (
    "note: validation holds the photos of train, so that its error says nothing of others: name"
    " other photos, or keep some from training with config.data.folder.held_out=0.2"
)


def open_split(data: ConfigDict, split: str) -> Split:
    """Opens one split ('train' or 'validation') as `config.data` describes it.

    The training split is without the pictures that `data.exclude` names.

    Raises:
      FileNotFoundError: it is not prepared yet, or there is no file `data.exclude`.
      ValueError: what is in `data.prepared_dir` was made from other pictures or at another size, or
        `data.exclude` does not fit it.
    """
    if differing := differences(data, split):
        found = ", ".join(f"{field} {there!r}" for field, (there, _) in differing.items())
        asked = ", ".join(f"{field} {wanted!r}" for field, (_, wanted) in differing.items())
        raise ValueError(
            f"{folder_of(data, split)} was made from {found}, but config.data asks for"
            f" {asked}: prepare that into another config.data.prepared_dir (python -m"
            " scripts.prepare_data)"
        )
    opened: Split
    if data.streaming:
        opened = StreamingSplit(make_source(data, split), data.prepared_dir, split)
    else:
        opened = open_prepared(data.prepared_dir, split)
    path = data.get("exclude", "")  # runs from before there was this field have none
    return exclude(opened, path) if split == "train" and path else opened


def folder_of(data: ConfigDict, split: str) -> Path:
    """Where `config.data` has a prepared split, or the index of one that is streamed."""
    return Path(data.prepared_dir) / (split + INDEX_SUFFIX if data.streaming else split)


def differences(data: ConfigDict, split: str) -> dict[str, tuple[Any, Any]]:
    """What a prepared split was made from and `config.data` asks for, where the two differ.

    Errors as in `open_split`.
    """
    manifest = read_manifest(folder_of(data, split))
    wanted = {**identity(data, split), "image_size": data.image_size}
    made_from = {**manifest["source"], "image_size": manifest["image_size"]}
    if _is_folder_of(manifest, wanted):
        made_from["folder"] = wanted["folder"]
    # An empty folder name, the default, stands for whatever was prepared.
    return {
        field: (made_from.get(field), value)
        for field, value in wanted.items()
        if value not in ("", made_from.get(field))
    }


def _is_folder_of(manifest: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether the folder that is asked for is the one that was prepared, or holds the same photos,
    under another name: 'train', '/data/train' and a link to it are one folder."""
    made_from, folder = manifest["source"], wanted.get("folder")
    if not folder or folder == made_from.get("folder") or "listing_sha256" not in made_from:
        return False
    if os.path.realpath(folder) == os.path.realpath(made_from["folder"]):
        return True
    try:
        there = FolderSource(folder)
    except (ValueError, OSError):
        return False
    return there.describe()["listing_sha256"] == made_from["listing_sha256"]
