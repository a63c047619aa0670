"""A run looked at before it is trained: one batch through its net, and that batch by heart."""

from __future__ import annotations

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import parallel
from zfnet_jax.data import colour
from zfnet_jax.training import health, optimizer, standing
from zfnet_jax.training.health import Health
from zfnet_jax.training.job import set_up


def check(config: ConfigDict) -> list[str]:
    """What one batch says of the net of a config, in lines, and what to change if it says so; of
    several processes the writing one looks.

    Raises:
      ValueError: the config does not fit the data or the devices.
    """
    job = set_up(config)
    if not parallel.is_writer():
        return []
    params = job.initial().params
    rate = optimizer.peak_rate(job.config.optimizer, job.config.batch_size)
    found = health.of_run(job.net, job.config, params, job.train, job.mean, rate, job.class_weights)
    deviations = np.sqrt(np.diag(colour.covariance(job.train)))
    told = lines(found, job.chance, deviations)
    return [*told, *(standing.reasons(found) or ["nothing that stops learning"])]


def lines(found: Health, chance: float, deviations: np.ndarray) -> list[str]:
    """The numbers, a line for each layer and one for each thing else.

    Args:
      chance: see `health.chance`.
      deviations: of red, green and blue in the training images, [3].
    """
    rows: list[tuple[str, ...]] = [("layer", "deviation", "dead", "gradient", "update")]
    rows += [
        (
            name,
            f"{one.deviation:.2g}",
            f"{one.dead:.0%}",
            f"{one.gradient:.1e}",
            f"{one.update:.1e}",
        )
        for name, one in found.layers.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    low, high, mean, deviation = found.pixels
    labels = found.labels
    of_photos = ", ".join(f"{deviation:.4g}" for deviation in deviations)
    return [
        *table,
        f"pixels: {low:.4g} to {high:.4g}, mean {mean:.2g}, deviation {deviation:.3g}",
        f"photos: deviation of red, green and blue {of_photos}",
        f"labels: {len(labels)} classes of {labels.min()} to {labels.max()} images",
        f"loss: {found.loss:.3f}; of a net that tells no image from another {chance:.3f}",
        f"one batch by heart: {found.loss:.3f} to {found.learned[-1]:.3f} in"
        f" {len(found.learned)} steps",
    ]
