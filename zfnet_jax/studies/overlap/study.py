"""Overlap of two sets of photos on disk: what `measure` finds, with keys and provenance; its step.

It is of two folders, without a net: its files go where they are wanted.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import entry, parallel, passes
from zfnet_jax.data.photo_set import PhotoSet, open_photo_set
from zfnet_jax.runs import workdir
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.images import folder_of
from zfnet_jax.studies.options import arguments, command, identity
from zfnet_jax.studies.overlap import measure as overlap
from zfnet_jax.studies.overlap import page
from zfnet_jax.studies.overlap.measure import WINDOWS, Pairs
from zfnet_jax.studies.overlap.options import Options
from zfnet_jax.studies.step import Entry, Made, Step

NAME = "overlap"
DECODED = 64  # side of decoded photos; the small images are of 16
BATCH = 256  # photos made small at a time
BINS = 100  # of best scores from 0 to 1


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What two sets share.

    Attributes:
      sets: the photos of both; of a set with itself, the same twice.
      small: their `overlap.features`.
      pairs: rows and scores.
      found: all of it as JSON values, see `search`.
      seconds: what took how long.
    """

    sets: tuple[PhotoSet, PhotoSet]
    small: tuple[np.ndarray, np.ndarray]
    pairs: Pairs
    found: dict[str, Any]
    seconds: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Other:
    """Another set of photos, prepared: what a report calls it, and its split's folder."""

    title: str
    folder: Path


def search(
    first: str | Path, second: str | Path, options: Options, *, workers: int, progress: bool
) -> Overlap:
    """Finds the photos that two folders share; the same folder twice: those it holds twice.

    Args:
      first, second: see `photo_set.open_photo_set`; the first is what one trains on.
      options: from which correlation on two photos are one.
      workers: decoding processes.

    Returns:
      `found` holds 'threshold', 'within' (a set with itself), 'windows' ([share of each side, top,
      left], the latter two as shares of the rest), 'versions', for 'a' and 'b' {'folder', 'photos',
      'fingerprint', 'without_contrast' (keys), 'unreadable' (reasons by key)}, 'best_scores' (how
      many photos of b have which best score: counts in equal bins from 0 to 1), 'exclude' (keys of
      a) and 'pairs' {'a', 'b' (keys), 'score', 'window_a', 'window_b'} by falling score.

    Raises:
      FileNotFoundError, ValueError: a folder holds no photos, or the threshold is wrong.
    """
    threshold = options.threshold
    overlap.check_threshold(threshold)
    within = Path(first).resolve() == Path(second).resolve()
    one = open_photo_set(first, side=DECODED, workers=workers)
    other = one if within else open_photo_set(second, side=DECODED, workers=workers)
    began = time.monotonic()
    small_one = _features(one, str(first), progress)
    small_other = small_one if within else _features(other, str(second), progress)
    read = time.monotonic()
    pairs = overlap.find_pairs(small_one, None if within else small_other, threshold)
    compared = time.monotonic()
    rows = overlap.redundant(pairs.rows) if within else np.unique(pairs.rows[:, 0])
    found = {
        "threshold": threshold,
        "within": within,
        "windows": WINDOWS,
        "versions": workdir.versions(),
        "a": _describe(one, first, small_one),
        "b": _describe(other, second, small_other),
        "best_scores": np.histogram(pairs.best[1].clip(0, 1), BINS, (0, 1))[0].tolist(),
        "exclude": [one.keys[row] for row in rows],
        "pairs": [
            {
                "a": one.keys[a],
                "b": other.keys[b],
                "score": round(float(score), 4),
                "window_a": WINDOWS[window_a],
                "window_b": WINDOWS[window_b],
            }
            for (a, b), score, (window_a, window_b) in zip(pairs.rows, pairs.score, pairs.windows)
        ],
    }
    seconds = {"read": read - began, "compare": compared - read}
    return Overlap((one, other), (small_one, small_other), pairs, found, seconds)


def command_of(first: str | Path, second: str | Path, options: Options, out: Path) -> str:
    """The command that searches two folders and writes what it finds."""
    return command("overlap", first, second, *arguments(options), f"--out={out}")


def step(context: Context, others: Mapping[str, Other], missing: str) -> Step:
    """Images that are both in the training images and in other sets.

    Args:
      others: by name; each is prepared by the step data_NAME.
      missing: why there is none, if there is none.
    """
    options = Options()
    lacks = context.lacks("train")
    if not lacks and context.run.config.data.streaming:
        lacks = f"the training images are streamed: run {entry.typed('overlap')} on their folder"
    ours = Path() if lacks else folder_of(context.run, "train", context.prepared_dir)
    pages = {name: context.report / "overlap" / name for name in others}

    def make() -> Made:
        files, notes = [], []
        for name, other in others.items():
            shared = search(
                ours, other.folder, options, workers=os.cpu_count() or 1, progress=False
            )
            found, photos = shared.found, [one.photo for one in shared.sets]
            out = pages[name]
            files += parallel.by_writer(
                lambda out=out, found=found, photos=photos: page.write_folder(out, found, *photos)
            )
            notes.append(
                f"{other.title[0].upper()}{other.title[1:]}: {len(found['pairs'])} pairs of"
                f" {found['a']['photos']:,} training and {found['b']['photos']:,} other images"
                f" correlate at {found['threshold']:g} or more."
            )
        return Made(files, notes)

    split = None if lacks else context.split("train")
    return Step(
        name=NAME,
        title="Section 5.2: images in both data sets",
        make=make,
        needs=tuple(f"data_{name}" for name in others),
        options={"data": split and split.fingerprint, **identity(options)},
        commands=tuple(
            command_of(ours, other.folder, options, pages[name]) for name, other in others.items()
        ),
        seconds=5 + 5e-4 * len(split or ()),
        missing=lacks or (None if others else missing),
        entry=Entry(
            "Images in both data sets",
            "5.2",
            "Near-duplicates of test images among the training images would flatter the"
            " transferred net.",
            "44 images of Caltech-101 and 243 of Caltech-256, removed from training.",
        ),
    )


def _features(photos: PhotoSet, name: str, progress: bool) -> np.ndarray:
    """Of each process's share of the photos the small images, in every process."""
    count, processes = len(photos.keys), parallel.process_count()
    number = parallel.process_index()
    own = range(count * number // processes, count * (number + 1) // processes)
    with passes.bar(count, name, "photos", progress) as bar:

        def counted() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for rows, images in photos.batches(BATCH, own):
                yield rows, images
                bar.update(len(rows) * processes)

        small = overlap.features(counted(), count)
    for unreadable in parallel.from_all(photos.unreadable):
        photos.unreadable.update(unreadable)
    return small


def _describe(photos: PhotoSet, folder: str | Path, small: np.ndarray) -> dict[str, Any]:
    plain = [photos.keys[row] for row in overlap.without_contrast(small)]
    return {
        "folder": str(folder),
        "photos": len(photos.keys),
        "fingerprint": photos.fingerprint,
        "without_contrast": [key for key in plain if key not in photos.unreadable],
        "unreadable": photos.unreadable,
    }
