"""Other data sets: where their images come from, and how they are used (Section 5.2)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zfnet_jax.data.examples import Source
from zfnet_jax.data.prepare import prepare_split
from zfnet_jax.data.prepared import PreparedSplit, open_prepared, read_manifest
from zfnet_jax.data.sources import FolderSource, PicturesSource
from zfnet_jax.reproduce.study import Study
from zfnet_jax.studies.step import Made, Step
from zfnet_jax.studies.transfer.folds import Classes, classes_of
from zfnet_jax.studies.transfer.protocols import PROTOCOLS, Protocol

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
      name: as in WORKDIR/analysis/transfer.
      protocol: of the paper, or like it.
      prepared: folder of its prepared images.
      source: what they are prepared from; None if they are there.
      identity: tells the images from others, as JSON values.
      count: images.
      flag: how a script is told where it is.
    """

    name: str
    protocol: Protocol
    prepared: Path
    source: Source | None
    identity: Mapping[str, Any]
    count: int
    flag: str

    def open(self) -> tuple[PreparedSplit, Classes]:
        """Its images, and the classes that count.

        ValueError: there are not as many as the protocol wants.
        """
        split = open_prepared(self.prepared, SPLIT)
        return split, classes_of(self.protocol, split.labels, split.class_names)


def data_sets(study: Study) -> tuple[dict[str, DataSet], dict[str, str]]:
    """The data sets that there are, and why the others are not there, by name."""
    found, reasons = {}, {}
    folders = {"caltech101": study.sources.caltech101, "caltech256": study.sources.caltech256}
    for name, folder in folders.items():
        title = PROTOCOLS[name].title
        if not folder:
            reasons[name] = f"it needs the photos of {title}: --{name}=FOLDER"
            continue
        try:
            found[name] = _from_folder(study, name, Path(folder))
        except (ValueError, OSError) as error:
            reasons[name] = f"--{name}: {error}"
    # The stand-in is for those who named no photos: a wrong name is told.
    if study.run.config.data.source == "pictures" and not any(folders.values()):
        found[STAND_IN] = _drawn(study)
    return found, reasons


def prepare_step(study: Study, data: DataSet) -> Step:
    """Decodes the images to the size that the net was trained on."""

    def make() -> Made:
        if data.source is not None:
            prepare_split(
                data.source,
                data.prepared / SPLIT,
                image_size=study.run.config.data.image_size,
                max_unreadable=study.run.config.data.max_unreadable,
                with_mean=False,
                workers=os.cpu_count() or 1,
                progress=False,
            )
        data.open()  # finds what is wrong with it
        return Made([data.prepared / SPLIT / "manifest.json"])

    return Step(
        name=f"data_{data.name}",
        title=f"Preparing the images: {data.protocol.title}",
        make=make,
        options=dict(data.identity),
        seconds=0 if data.source is None else 2 + 0.005 * data.count,
    )


def _from_folder(study: Study, name: str, folder: Path) -> DataSet:
    """Photos in class folders, or images that are prepared already."""
    if (folder / SPLIT / "manifest.json").exists():
        manifest = read_manifest(folder / SPLIT)
        identity = {"fingerprint": manifest["fingerprint"]}
        prepared, source, count = folder, None, manifest["count"]
        flag = f"--prepared_dir={folder}"
    else:
        source = FolderSource(str(folder), "the folder")
        identity, count = source.describe(), len(source)
        prepared = Path("data") / f"{name}-{study.run.config.data.image_size}"
        flag = f"--folder={folder}"
    return DataSet(name, PROTOCOLS[name], prepared, source, identity, count, flag)


def _drawn(study: Study) -> DataSet:
    source = PicturesSource("transfer", SPLIT, PER_CLASS, 0)
    prepared = study.workdir / "analysis" / "transfer" / STAND_IN / "prepared"
    flag = f"--prepared_dir={prepared}"
    return DataSet(STAND_IN, _STAND_IN, prepared, source, source.describe(), len(source), flag)
