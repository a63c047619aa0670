"""The runs that are explored, their checkpoints opened as they are asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax

from zfnet_jax.data.images import Split
from zfnet_jax.explore.errors import NotThereError
from zfnet_jax.explore.kept import Kept
from zfnet_jax.runs import provenance
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.runs.steps import Which
from zfnet_jax.studies import images

MOST_BYTES = 2**31  # of parameters in memory; the newest net counts however large it is


@dataclasses.dataclass(frozen=True)
class Folder:
    """A run's folder.

    Attributes:
      shown: the one to begin with.
      samples: its validation images, or what scripts.look has left; None where there are none.
    """

    directory: Path
    shown: Run
    samples: Split | None

    @property
    def steps(self) -> tuple[int, ...]:
        """Of its checkpoints, oldest first, as they are now: it may be trained meanwhile."""
        names = {path.name for path in (self.directory / "checkpoints").glob("*")}
        there = {int(name) for name in names if name.isdecimal()}
        return tuple(sorted(there | {self.shown.step}))

    def label(self, step: int) -> str:
        """What a step is called: by its epoch where the folder says how long one is."""
        epoch = provenance.epoch_of(self.shown, step)
        return f"step {step}" if epoch is None else f"epoch {round(epoch, 2):g}"


def open_folder(directory: Path, step: Which | None = None) -> Folder:
    """A run's folder; `step` and errors as of `open_run`."""
    run = open_run(directory, step)
    return Folder(directory, placed(run), _samples(run))


class Nets:
    """Some runs."""

    def __init__(self, folders: Sequence[Folder]) -> None:
        self._kept: Kept[tuple[int, int], Run] = Kept(MOST_BYTES, _bytes_of)
        self.folders = list(folders)
        for number, folder in enumerate(self.folders):
            self._kept.put((number, folder.shown.step), folder.shown)

    def folder(self, run: int) -> Folder:
        if not 0 <= run < len(self.folders):
            raise NotThereError(f"there are runs 0 to {len(self.folders) - 1}, not {run}")
        return self.folders[run]

    def kept(self, run: int, step: int | None) -> Run | None:
        """A checkpoint that is open already; the one to begin with if `step` is None."""
        folder = self.folder(run)
        step = folder.shown.step if step is None else step
        if step not in folder.steps:
            steps = ", ".join(map(str, folder.steps))
            raise NotThereError(f"{folder.directory.name} has no step {step}, only {steps}")
        return self._kept.get((run, step))

    def open(self, run: int, step: int | None) -> Run:
        """Any checkpoint."""
        folder, kept = self.folder(run), self.kept(run, step)
        if kept:
            return kept
        opened = placed(open_run(folder.directory, folder.shown.step if step is None else step))
        return self._kept.put((run, opened.step), opened)


def _samples(run: Run) -> Split | None:
    """The run's validation images; of an imported net those that scripts.look decoded."""
    looked = sorted((run.directory / "photos").glob("*/validation/manifest.json"))
    for where in (None, *(str(path.parents[1]) for path in looked)):
        try:
            return images.open_split(run, "validation", where)
        except (FileNotFoundError, ValueError):
            continue
    return None


def placed(run: Run) -> Run:
    """The run with its parameters on the device, where they are used many times."""
    return dataclasses.replace(run, params=jax.device_put(run.params))


def _bytes_of(run: Run) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(run.params))
