"""What a reproduction works on: the net, its images, and further data and runs that were named."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from zfnet_jax.data import splits
from zfnet_jax.data.images import Split
from zfnet_jax.runs import array_tree, provenance
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies.errors.predict import Crops


@dataclasses.dataclass(frozen=True)
class Sources:
    """Folders and files beside the run's own; empty where there is none.

    Attributes:
      images: photos for Figs. 1, 5 and 7, instead of validation images.
      labels: their classes; of none the names of their folders.
      faces: folder of photos with a landmarks.json, for Fig. 8 and Table 1.
      compare: runs beside this one in Fig. 6.
      sweeps: folders of sweeps, for Tables 2 and 3.
      caltech101, caltech256: photos in class folders, or prepared images, for Tables 4, 5 and 7
        and Fig. 9.
      voc: where TFDS keeps voc/2012, for Table 6.
      prepared_dir: prepared images, if not those of the run's config.
    """

    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    faces: str = ""
    compare: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    caltech101: str = ""
    caltech256: str = ""
    voc: str = ""
    prepared_dir: str = ""


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much is measured where the paper or its statistics leave the choice.

    Attributes:
      summary: images that Fig. 5 is summarised over.
      draws, permutations: of the random places of Table 1, and of its tests.
      resamples: of the bootstraps.
      crops: of the validation images in Tables 2 and 3.
      folds, scratch_folds: of Tables 4, 5 and 7, and of nets trained from scratch (0: none).
      curve: whether Fig. 9 has more points than the tables.
      draft: whether the report says that this is one.
    """

    summary: int = 500
    draws: int = 100
    permutations: int = 9999
    resamples: int = 10_000
    crops: Crops = 10
    folds: int = 5
    scratch_folds: int = 5
    curve: bool = True
    draft: bool = False


DRAFT = Effort(50, 20, 999, 1000, crops=1, folds=2, scratch_folds=1, curve=False, draft=True)
CROPS: Crops = 10  # of a validation image
LEVEL, BINS, SEED = 0.95, 15, 0  # of confidence intervals, of calibration, of all that is drawn

_OF_STEP = (  # scripts that are told which checkpoint
    "mine",
    "evaluate",
    "invariance",
    "occlusion",
    "correspondence",
    "transfer",
    "voc",
)
_FIGURES_OF_STEP = ("--figure=1", "--figure=2", "--figure=5")


class Study:
    """A run opened with its images; everything is read when it is asked for."""

    def __init__(
        self,
        workdir: Path,
        step: int | None = None,
        sources: Sources | None = None,
        effort: Effort | None = None,
        recipe: ConfigDict | None = None,
    ) -> None:
        """`recipe` is the config that nets are trained from scratch with; the run's own if None."""
        self.run: Run = open_run(workdir, step)
        self._step = step
        self.sources, self.effort = sources or Sources(), effort or Effort()
        sources, self.recipe = self.sources, recipe or self.run.config
        if sources.prepared_dir:
            self.run.config.data.prepared_dir = sources.prepared_dir
        self._splits: dict[str, Split] = {}

    @property
    def workdir(self) -> Path:
        return self.run.directory

    @property
    def report(self) -> Path:
        """Where figures, tables and the report lie."""
        return self.workdir / "report"

    def split(self, name: str) -> Split:
        """The 'train' or 'validation' images; errors as in `splits.open_split`."""
        if name not in self._splits:
            self._splits[name] = splits.open_split(self.run.config.data, name)
        return self._splits[name]

    def lacks(self, name: str) -> str | None:
        """Why the images of a split cannot be had; None if they can."""
        try:
            split = self.split(name)
        except (ValueError, OSError) as error:
            return f"there are no {name} images: {error}"
        if split.image_size != self.run.config.data.image_size:
            return (
                f"the {name} images have {split.image_size} pixels, the net's"
                f" {self.run.config.data.image_size}"
            )
        return None

    @functools.cached_property
    def net(self) -> str:
        """Digest of weights and preprocessing."""
        content = {
            "weights": provenance.weights_digest(self.run),
            "mean": array_tree.digest(self.run.mean),
            "crop": self.run.input_size,
            "step": self.run.step,
            "classes": self.run.class_names,
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def command(self, script: str, *arguments: str) -> str:
        """A command on this run, as it is typed in a shell."""
        prepared = self.sources.prepared_dir
        if prepared and script in ("mine", "evaluate", "invariance"):
            arguments = (*arguments, f"--prepared_dir={prepared}")
        of_step = script in _OF_STEP or (script == "figures" and arguments[0] in _FIGURES_OF_STEP)
        if self._step is not None and of_step and not any("--step=" in one for one in arguments):
            arguments = (*arguments, f"--step={self._step}")
        return " ".join([f"python -m scripts.{script}", f"--workdir={self.workdir}", *arguments])


def content_digest(path: str | Path) -> str:
    """Digest of a whole file, such as a photo."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def other_run(workdir: str | Path) -> dict[str, Any]:
    """What tells a finished run from another, from its folder alone.

    Raises:
      FileNotFoundError: there is no run.
    """
    workdir = Path(workdir)
    if not (workdir / "config.json").exists():
        raise FileNotFoundError(f"{workdir} holds no run")
    names = (path.name for path in (workdir / "checkpoints").glob("*") if path.name.isdigit())
    steps = sorted(map(int, names))
    return {
        "run": workdir.resolve().name,
        "config": content_digest(workdir / "config.json"),
        "step": steps[-1] if steps else None,
    }
