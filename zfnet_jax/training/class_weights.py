"""Weights of classes in the training loss, for sets whose classes are not equally frequent."""

from __future__ import annotations

import numpy as np


def of_classes(rule: str, labels: np.ndarray, classes: int) -> np.ndarray | None:
    """[classes] float32: what the training loss of an image is multiplied by, by its class.

    Args:
      rule: `config.optimizer.class_weights`. 'inverse': inversely proportional to how many images
        the class has, so that classes count alike, and 1 on average over the images, so that the
        learning rate keeps its meaning. 'none': no weights, None is returned.
      labels: [N] int, of the training set.
      classes: how many there are; one without images has weight 0.

    Raises:
      ValueError: there is no such rule.
    """
    if rule == "none":
        return None
    if rule != "inverse":
        raise ValueError(f"config.optimizer.class_weights {rule!r}: must be 'none' or 'inverse'")
    counts = np.bincount(labels, minlength=classes)
    shares = len(labels) / np.count_nonzero(counts) / np.maximum(counts, 1)
    return np.where(counts, shares, 0).astype(np.float32)
