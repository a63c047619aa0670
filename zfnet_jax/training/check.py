"""A run looked at before it is trained: one batch through its net, and that batch by heart."""

from __future__ import annotations

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import model
from zfnet_jax.data import augment, colour, splits
from zfnet_jax.training import class_weights, health, layers, nonfinite, optimizer, standing
from zfnet_jax.training.health import Health
from zfnet_jax.training.start import from_net, in_our_names


def check(config: ConfigDict) -> list[str]:
    """What one batch says of the net of a config, in lines, and what to change if it says so.

    Raises:
      ValueError: the config does not fit the data.
    """
    augment.check(config)
    nonfinite.check_config(config)
    optimizer.check_drops(config.optimizer.drops)
    train = splits.open_split(config.data, "train")
    net = model.from_config(config.model, classes=len(train.class_names))
    config = in_our_names(config, net.architecture)
    layers.check_frozen(net.architecture, config.frozen)
    mean = train.mean
    assert mean is not None  # training splits have one
    params = model.initial_params(net, config.seed, config.augment.crop, mean.shape[2])
    if config.init_from:
        start = from_net(config, net.architecture, params, train.class_names, mean)
        params, mean = params | start.params, start.mean
    rate = optimizer.peak_rate(config.optimizer, config.batch_size)
    found = health.of_run(net, config, params, train, mean, rate)
    smoothing, classes = config.optimizer.label_smoothing, len(train.class_names)
    weights = class_weights.of_classes(config.optimizer.class_weights, train.labels, classes)
    chance = health.chance(train.labels, classes, smoothing, weights)
    deviations = np.sqrt(np.diag(colour.covariance(train)))
    told = lines(found, chance, deviations)
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
