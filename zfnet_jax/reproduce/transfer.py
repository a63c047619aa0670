"""Images that are both in the training images and in another data set (Section 5.2)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from zfnet_jax.data.prepared import INDEX_SUFFIX
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.overlap import measure as overlap
from zfnet_jax.studies.overlap import page as overlap_page
from zfnet_jax.studies.overlap import study as overlap_study
from zfnet_jax.studies.step import Entry, Made, Step
from zfnet_jax.studies.transfer.data_sets import SPLIT, DataSet


def overlap_step(study: Context, sets: Mapping[str, DataSet], reasons: Mapping[str, str]) -> Step:
    """Images that are both in the training images and in another data set."""
    config = study.run.config.data
    lacks = study.lacks("train")
    if not lacks and config.streaming:
        lacks = "the training images are streamed: run python -m scripts.overlap on their folder"
    ours = Path(config.prepared_dir) / (SPLIT + INDEX_SUFFIX * config.streaming)
    pages = {name: study.report / "overlap" / name for name in sets}

    def make() -> Made:
        files, notes = [], []
        for name, data in sets.items():
            shared = overlap_study.search(
                ours,
                data.prepared / SPLIT,
                threshold=overlap.THRESHOLD,
                workers=os.cpu_count() or 1,
                progress=False,
            )
            found, photos = shared.found, [one.photo for one in shared.sets]
            files += overlap_page.write_folder(pages[name], found, *photos)
            notes.append(
                f"{data.protocol.title[0].upper()}{data.protocol.title[1:]}:"
                f" {len(found['pairs'])} pairs of"
                f" {found['a']['photos']:,} training and {found['b']['photos']:,} other images"
                f" correlate at {found['threshold']:g} or more."
            )
        return Made(files, notes)

    split = None if lacks else study.split("train")
    return Step(
        name="overlap",
        title="Section 5.2: images in both data sets",
        make=make,
        needs=tuple(f"data_{name}" for name in sets),
        options={"data": split and split.fingerprint, "threshold": overlap.THRESHOLD},
        commands=tuple(
            f"python -m scripts.overlap {ours} {sets[name].prepared / SPLIT} --out={pages[name]}"
            for name in sets
        ),
        seconds=5 + 5e-4 * len(split or ()),
        missing=lacks or (None if sets else "; ".join(reasons.values())),
        entry=Entry(
            "Images in both data sets",
            "5.2",
            "Near-duplicates of test images among the training images would flatter the"
            " transferred net.",
            "44 images of Caltech-101 and 243 of Caltech-256, removed from training.",
        ),
    )
