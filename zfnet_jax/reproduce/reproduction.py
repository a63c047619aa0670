"""What a reproduction works on: the net, its images, and further data and runs that were named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ml_collections import ConfigDict

from zfnet_jax.data.images import Crops
from zfnet_jax.runs.steps import Which
from zfnet_jax.studies.context import Context


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
      crops: of the validation images in Tables 2 and 3.
      folds, scratch_folds: of Tables 4, 5 and 7, and of nets trained from scratch (0: none).
      curve: whether Fig. 9 has more points than the tables.
      draft: whether the report says that this is one.
    """

    summary: int = 500
    draws: int = 100
    permutations: int = 9999
    crops: Crops = 10
    folds: int = 5
    scratch_folds: int = 5
    curve: bool = True
    draft: bool = False


DRAFT = Effort(50, 20, 999, crops=1, folds=2, scratch_folds=1, curve=False, draft=True)
SEED = 0  # of all that is drawn


class Reproduction(Context):
    """A run opened with its images, and what else a reproduction works on."""

    def __init__(
        self,
        workdir: Path,
        step: Which | None = None,
        sources: Sources | None = None,
        effort: Effort | None = None,
        recipe: ConfigDict | None = None,
    ) -> None:
        """`recipe` is the config that nets are trained from scratch with; the run's own if None."""
        self.sources, self.effort = sources or Sources(), effort or Effort()
        super().__init__(workdir, step, self.sources.prepared_dir)
        self.recipe = recipe or self.run.config
