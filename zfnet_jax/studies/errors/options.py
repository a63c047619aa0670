"""The options of predictions, of the numbers that sum them up, and of Tables 2 and 3."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zfnet_jax.data.images import Crops
from zfnet_jax.studies.options import option


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the predictions of a net; see the texts."""

    split: Literal["train", "validation"] = option("validation", "Images to evaluate on.")
    crops: Crops = option(10, "Crops whose probabilities are averaged; the paper's are 10.")
    probabilities: bool = option(True, "Keep all probabilities, which only ensembles need.")


@dataclasses.dataclass(frozen=True)
class Intervals:
    """Of confidence intervals: see `intervals`."""

    level: float = option(0.95, "Of the confidence intervals.")


@dataclasses.dataclass(frozen=True)
class ScoreOptions(Intervals):
    """Of the numbers that sum up predictions; see the texts."""

    bins: int = option(15, "Of the calibration error.", lowest=1)


@dataclasses.dataclass(frozen=True)
class TableOptions(Intervals):
    """Of Tables 2 and 3; see the texts."""

    crops: Crops = option(10, "Crops of the validation images (2, 3).")
    train_crops: Crops = option(1, "Crops of the training images (3).")

    @property
    def evaluations(self) -> tuple[Options, Options]:
        """What the tables are made of: predictions for validation and for training images."""
        return (
            Options("validation", self.crops),
            Options("train", self.train_crops, probabilities=False),
        )
