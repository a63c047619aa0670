"""The paper's protocols on other data: classes and numbers of training images (Section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """How the paper uses a data set.

    Attributes:
      title: as people write it.
      classes: how many count; 0 if any number may.
      clutter: names under which the class that does not count is found.
      table: training images per class of Table 4 or 5.
      layers: training images per class of Table 7.
      curve: training images per class along Fig. 9.
    """

    title: str
    classes: int
    clutter: tuple[str, ...]
    table: tuple[int, ...]
    layers: int
    curve: tuple[int, ...]


PROTOCOLS = {
    "caltech101": Protocol(
        title="Caltech-101",
        classes=101,
        clutter=("BACKGROUND_Google", "background_google"),
        table=(15, 30),
        layers=30,
        curve=(1, 2, 3, 5, 7, 10, 15, 20, 25, 30),
    ),
    "caltech256": Protocol(
        title="Caltech-256",
        classes=256,
        clutter=("257.clutter", "clutter"),
        table=(15, 30, 45, 60),
        layers=60,
        curve=(1, 2, 3, 5, 7, 10, 15, 30, 45, 60),
    ),
}

# Table 7: a linear SVM on the outputs of these layers, and softmax on the two of TABLE7_SOFTMAX.
TABLE7_LAYERS = (1, 2, 3, 4, 5, 7)
TABLE7_SOFTMAX = (5, 7)
