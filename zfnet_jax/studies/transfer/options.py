"""The options of Tables 4 to 7 and Fig. 9: heads on frozen features, and nets from scratch."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from zfnet_jax.studies.options import option

# A linear classifier on features: softmax regression, or a linear SVM for each class.
Head = Literal["softmax", "svm"]


@dataclasses.dataclass(frozen=True)
class Data:
    """Which images, and how they are divided into folds; see the texts."""

    data: str = option(
        ..., "Name of the data set; caltech101 and caltech256 have a protocol.", required=True
    )
    per_class: tuple[int, ...] = option(
        (), "Training images of each class, such as 15,30.", lowest=1
    )
    folds: int = option(5, "Random folds.", lowest=1)
    leave_out: tuple[str, ...] = option(
        (), "A class that does not count; the clutter class of a known data set never does."
    )
    test_per_class: int = option(50, "Test images of a class at most.", lowest=1)
    seed: int = option(0, "Of the folds.", lowest=0)


@dataclasses.dataclass(frozen=True)
class Options(Data):
    """Of heads on the features of a net; what the paper leaves open has our defaults."""

    layers: tuple[str, ...] = option(
        (), "An activation such as norm1, conv3 or fc7; may be repeated.", flag="layer"
    )
    heads: tuple[Head, ...] = option((), "A head; may be repeated.", flag="head")
    softmax_grid: tuple[float, ...] = option(
        (1.0, 10.0, 100.0, 1e3, 1e4), "C of softmax to choose from.", lowest=1e-9
    )
    svm_grid: tuple[float, ...] = option(
        (0.01, 0.1, 1.0, 10.0), "C of the SVM to choose from.", lowest=1e-9
    )
    cv_folds: int = option(3, "Of the cross-validation that chooses C.", lowest=2)
    tolerance: float = option(
        1e-4, "Of a head's gradient, where its search ends; see heads.fit.", lowest=0.0
    )

    def grid(self, head: Head) -> tuple[float, ...]:
        """What C is chosen from, ascending. ValueError: there is nothing to choose from."""
        grid = self.softmax_grid if head == "softmax" else self.svm_grid
        if not grid:
            raise ValueError(f"--{head}_grid is empty: give values of C, such as 0.1,1,10")
        return tuple(sorted(grid))


@dataclasses.dataclass(frozen=True)
class ScratchOptions(Data):
    """Of nets that are trained on the folds alone."""

    per_class: tuple[int, ...] = option((15, 30), "Training images of each class.", lowest=1)
    epochs: int | None = option(None, "As the run's recipe if not given.", lowest=1)


@dataclasses.dataclass(frozen=True)
class VocOptions:
    """Of PASCAL VOC 2012; see the texts."""

    layer: str | None = option(None, "An activation such as fc7; the last layer's output.")
    grid: tuple[float, ...] = option((0.1, 1.0, 10.0, 100.0, 1e3), "C to choose from.", lowest=1e-9)
    cv_folds: int = option(3, "Of the cross-validation that chooses C.", lowest=2)
    tolerance: float = option(1e-3, "Of the gradient; see heads.fit.", lowest=0.0)
    seed: int = option(0, "Of the cross-validation.", lowest=0)


@dataclasses.dataclass(frozen=True)
class FoldOptions:
    """Of one fold, which has a result of its own."""

    data: str = option(..., "Name of the data set.")
    left_out: tuple[str, ...] = option(..., "Classes of the data set that do not count.")
    test_per_class: int = option(..., "Test images of a class at most.")
    seed: int = option(..., "Of the folds.")
    per_class: int = option(..., "Training images of each class.")
    fold: int = option(..., "Its number, from 0.")


@dataclasses.dataclass(frozen=True)
class HeadOptions(FoldOptions):
    """Of one head on one layer, trained and tested on one fold."""

    layer: str = option(..., "An activation.")
    head: Head = option(..., "A head.")
    grid: tuple[float, ...] = option(..., "C to choose from, ascending.")
    cv_folds: int = option(..., "Of the cross-validation that chooses C.")
    tolerance: float = option(..., "Of the head's gradient, where its search ends.")


def of_fold(options: Data, left_out: tuple[str, ...], per_class: int, fold: int) -> dict[str, Any]:
    """The fields of `FoldOptions`."""
    return {
        "data": options.data,
        "left_out": left_out,
        "test_per_class": options.test_per_class,
        "seed": options.seed,
        "per_class": per_class,
        "fold": fold,
    }
