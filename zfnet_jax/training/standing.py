"""A loss that stands at chance: when to say so, and which of the known reasons shows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from zfnet_jax.training.health import Health


@dataclasses.dataclass(frozen=True)
class Limits:
    """Where a number of `Health` is no longer one of a net that learns.

    Measured on nets that learn and on nets that do not, see docs/train.md. Between limits nothing
    is said.

    Attributes:
      scores: least deviation of class scores from image to image, as the first layer's.
      pixels: least standard deviation of what the net sees, for initial weights of the paper.
      dead: largest share of maps or units of a layer that are zero for all images.
      slow, fast: of an update as a share of the weights: the largest among the layers is to be
        above `slow`, the median below `fast`.
      class_share: largest share of one class among the images.
      learned: what is left of the loss after the steps on one batch, as a share.
      below_chance: how far a mean loss may lie below chance and still stand there, as a share.
    """

    scores: float = 1e-4
    pixels: float = 2.0
    dead: float = 0.95
    slow: float = 1e-5
    fast: float = 0.3
    class_share: float = 0.9
    learned: float = 0.5
    below_chance: float = 0.01


LIMITS = Limits()


def reasons(health: Health, limits: Limits = LIMITS) -> list[str]:
    """Why a net with this health learns nothing, each with what to change; [] if nothing shows.

    The first is the most likely: what follows may come of it.
    """
    found = []
    low, high, _, deviation = health.pixels
    first, *_, scores = health.layers.values()
    if low == high:
        found.append(f"all pixels that the net sees are {low:g}: look at the prepared photos")
    if health.class_share > limits.class_share:
        found.append(
            f"{health.class_share:.0%} of the images are of one class: prepare photos of all of"
            " them alike, or set config.optimizer.class_weights to inverse"
        )
    dead = {name: one.dead for name, one in health.layers.items() if one.dead > limits.dead}
    if dead:
        worst = next(iter(dead))
        found.append(
            f"{dead[worst]:.0%} of {worst} are zero for all images and get no gradient: a rate too"
            " high does that; begin anew with a lower config.optimizer.learning_rate"
        )
    elif low < high and scores.deviation < limits.scores * max(first.deviation, 1.0):
        fades = (
            f"class scores hardly differ from image to image, by {scores.deviation:.1g} where layer"
            f" 1 has {first.deviation:.1g}"
        )
        if deviation < limits.pixels:
            found.append(
                f"{fades}, and pixels have a deviation of {deviation:.2g}: such initial weights are"
                " for pixels from 0 to 255; lower config.augment.scale to 1, or set"
                " config.model.init to he"
            )
        else:
            found.append(
                f"{fades}: the initial weights are too small for so many layers of these widths;"
                " set config.model.init to he"
            )
    # Of the layers that are trained.
    updates = [one.update for one in health.layers.values() if one.update] or [0.0]
    if not found and max(updates) < limits.slow:
        found.append(
            f"a step changes weights by {max(updates):.1g} of their size at most: raise"
            " config.optimizer.learning_rate"
        )
    if not found and np.median(updates) > limits.fast:
        found.append(
            f"a step changes weights by {np.median(updates):.2g} of their size: lower"
            " config.optimizer.learning_rate"
        )
    left = health.learned[-1] / health.loss if len(health.learned) else 0.0
    if not found and not left < limits.learned:
        found.append(
            f"one batch alone is not learned in {len(health.learned)} steps (its loss goes from"
            f" {health.loss:.3g} to {health.learned[-1]:.3g}): raise"
            " config.optimizer.learning_rate, or set config.model.init to he"
        )
    return found


def at_chance(loss: float, steps: int, chance: float, found: list[str]) -> str:
    """What is said of a run whose loss has stood at chance for so many steps.

    Args:
      loss: the mean of these steps.
      found: see `reasons`.
    """
    why = "; ".join(found) or (
        "pixels, activations and updates look sound, and one batch is learned by heart: do the"
        " labels belong to the photos?"
    )
    return (
        f"the loss has stood at chance or above for {steps} steps ({loss:.3f}, and {chance:.3f} for"
        f" a net that tells no image from another): {why}"
    )


class Watch:
    """Tells once that the training loss has stood at chance, or above.

    Args:
      chance: see `health.chance`.
      steps: over so many steps or more; 0 tells nothing.
    """

    def __init__(self, chance: float, steps: int) -> None:
        self.chance = chance
        self._steps, self._told = steps, False
        self._loss, self._seen = 0.0, 0  # since the newest mean was looked at
        self._before: Mapping[str, float] = {}  # the sums at the newest call of this epoch

    def due(self, step: int) -> bool:
        """Whether `stands` is to be asked after a step within an epoch; after its last one it is
        always."""
        return self._steps > 0 and not self._told and step % self._steps == 0

    def stands(self, sums: Mapping[str, float], *, epoch_ends: bool) -> tuple[float, int] | None:
        """The mean loss and over how many steps, if it has stood at chance and was not told.

        Args:
          sums: `TrainState.sums`, which begin anew with each epoch.
        """
        self._loss += sums["loss"] - self._before.get("loss", 0.0)
        self._seen += round(sums["steps"] - self._before.get("steps", 0.0))
        self._before = {} if epoch_ends else dict(sums)
        if self._told or not self._steps or self._seen < self._steps:
            return None
        mean, seen = self._loss / self._seen, self._seen
        self._loss, self._seen = 0.0, 0
        if not (1 - LIMITS.below_chance) * self.chance <= mean < math.inf:
            return None
        self._told = True
        return mean, seen
