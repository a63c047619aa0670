"""Other data sets: where their images come from, and how they are used (Section 5.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zfnet_jax.data.examples import Source
from zfnet_jax.data.prepared import PreparedSplit, open_prepared, read_manifest
from zfnet_jax.data.sources import FolderSource, PicturesSource
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.saved import FOLDER
from zfnet_jax.studies.transfer.folds import Classes, classes_of
from zfnet_jax.studies.transfer.protocols import PROTOCOLS, Protocol
from zfnet_jax.studies.transfer.scores import NAME

SPLIT = "train"  # the prepared split that holds all images
STAND_IN = "pictures"  # the built-in pictures of other classes, for nets trained on those of ours
PER_CLASS = 50  # pictures drawn

_STAND_IN = Protocol(
    title="built-in pictures of other classes",
    classes=0,
    clutter=(),
    table=(5, 15),
    layers=15,
    curve=(1, 2, 5, 10, 15, 30),
)


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A data set that features are tried on.

    Attributes:
      name: what its results are called by.
      protocol: of the paper, or like it.
      prepared: folder of its prepared images.
      source: what they are prepared from; None if they are there.
      identity: tells the images from others, as JSON values.
      count: images.
      where: how scripts.transfer is told where they are, a flag.
    """

    name: str
    protocol: Protocol
    prepared: Path
    source: Source | None
    identity: Mapping[str, Any]
    count: int
    where: str

    def open(self) -> tuple[PreparedSplit, Classes]:
        """Its images, and the classes that count.

        ValueError: there are not as many as the protocol wants.
        """
        split = open_prepared(self.prepared, SPLIT)
        return split, classes_of(self.protocol, split.labels, split.class_names)


def data_sets(
    context: Context, folders: Mapping[str, str]
) -> tuple[dict[str, DataSet], dict[str, str]]:
    """The data sets that there are, and why the others are not there, by name.

    Args:
      folders: of those with a protocol, class folders of photos or prepared images; '' if there is
        none.
    """
    found, reasons = {}, {}
    for name, folder in folders.items():
        if not folder:
            reasons[name] = f"it needs the photos of {PROTOCOLS[name].title}: --{name}=FOLDER"
            continue
        try:
            found[name] = _from_folder(context.run, name, Path(folder))
        except (ValueError, OSError) as error:
            reasons[name] = f"--{name}: {error}"
    # The stand-in is for those who named no photos: a wrong name is told.
    if context.run.config.data.source == "pictures" and not any(folders.values()):
        found[STAND_IN] = _drawn(context.workdir)
    return found, reasons


def _from_folder(run: Run, name: str, folder: Path) -> DataSet:
    """Photos in class folders, or images that are prepared already."""
    if (folder / SPLIT / "manifest.json").exists():
        manifest = read_manifest(folder / SPLIT)
        identity = {"fingerprint": manifest["fingerprint"]}
        prepared, source, count = folder, None, manifest["count"]
        where = f"--prepared_dir={folder}"
    else:
        source = FolderSource(str(folder), "the folder")
        identity, count = source.describe(), len(source)
        prepared = Path("data") / f"{name}-{run.config.data.image_size}"
        where = f"--folder={folder}"
    return DataSet(name, PROTOCOLS[name], prepared, source, identity, count, where)


def _drawn(workdir: Path) -> DataSet:
    source = PicturesSource("transfer", SPLIT, PER_CLASS, 0)
    prepared = workdir / FOLDER / NAME / "prepared" / STAND_IN
    where = f"--prepared_dir={prepared}"
    return DataSet(STAND_IN, _STAND_IN, prepared, source, source.describe(), len(source), where)
