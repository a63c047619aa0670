"""The paper's optimiser (Section 3): SGD with momentum, filters limited in RMS, annealing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

Params = dict[str, Any]
Drops = Sequence[Sequence[float]]  # (epoch, factor), see `dropped`


def momentum(config: ConfigDict) -> optax.GradientTransformation:
    """What a step moves along, before the learning rate: momentum of the (decayed) gradients.

    The learning rate is multiplied in the train step, where schedule and plateau meet.
    Weight decay acts on filters and weight matrices, not on biases. `config.clip_norm` limits the
    gradient's norm over all that is trained, before weight decay (Pascanu et al. 2013).
    """
    if config.clip_norm < 0:
        raise ValueError(f"config.optimizer.clip_norm {config.clip_norm}: must be 0 or more")
    return optax.chain(
        # Without a limit no link of the chain: its state is that of the runs before there was one.
        *([optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []),
        optax.add_decayed_weights(
            config.weight_decay, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
        )
        if config.weight_decay
        else optax.identity(),
        optax.trace(decay=config.momentum),
    )


def learning_rate_schedule(
    config: ConfigDict, *, batch_size: int, epochs: int, steps_per_epoch: int
) -> optax.Schedule:
    """Learning rate by step, without the plateau's factor.

    `config.scale_with_batch` multiplies it by batch_size / 128, the paper's batch (Goyal et al.
    2017); `config.warmup_epochs` climbs to it linearly; schedule 'cosine' goes down to zero at
    the last step, 'plateau' and 'constant' stay.
    """
    peak = peak_rate(config, batch_size)
    warmup = round(config.warmup_epochs * steps_per_epoch)
    total = epochs * steps_per_epoch
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, max(total - warmup, 1))
    elif config.schedule in ("plateau", "constant"):
        after = optax.constant_schedule(peak)
    else:
        raise ValueError(
            f"optimizer.schedule must be plateau, cosine or constant, got {config.schedule!r}"
        )
    if not warmup:
        return after
    climb = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([climb, after], [warmup])


def dropped(drops: Drops, epoch: int) -> float:
    """The factor of `config.optimizer.drops` on the learning rate in an epoch, the first being 0.

    Each (epoch, factor) multiplies it from then on, once so many epochs are done: by hand, as the
    paper annealed (Section 3), on top of whatever the schedule does.
    """
    return math.prod(factor for done, factor in drops if done <= epoch)


def check_drops(drops: Drops) -> None:
    """ValueError unless drops are (epoch, factor), epochs ascending and factors positive."""
    pairs = all(isinstance(one, Sequence) and len(one) == 2 for one in drops)
    epochs = [one[0] for one in drops] if pairs else []
    if (
        not pairs
        or not all(isinstance(epoch, int) and epoch >= 0 for epoch in epochs)
        or epochs != sorted(set(epochs))
        or not all(0 < factor < math.inf for _, factor in drops)
    ):
        raise ValueError(
            f"config.optimizer.drops is {drops}: it must be pairs of an epoch, ascending, and a"
            " positive factor, such as ((30, 0.1), (50, 0.1))"
        )


def check_resumed(earlier: Mapping[str, Any], config: ConfigDict, epochs_begun: int) -> None:
    """ValueError where a resumed run's schedule would be another in steps that are made.

    Args:
      earlier: the config that the run had before, as JSON values.
      config: the one that it is resumed with.
      epochs_begun: how many of its epochs have steps that are made.
    """
    old, new = earlier["optimizer"]["drops"], config.optimizer.drops
    for epoch in range(epochs_begun):
        was, now = dropped(old, epoch), dropped(new, epoch)
        if was != now:
            raise ValueError(
                f"config.optimizer.drops: epoch {epoch + 1} has begun with the rate times {was:g},"
                f" not {now:g}: what is dropped after {epochs_begun} epochs or more can be changed,"
                f" ({epochs_begun}, FACTOR) being the first; or choose another --workdir"
            )
    if config.optimizer.schedule == "cosine" and earlier["epochs"] != config.epochs:
        raise ValueError(
            f"config.epochs is {earlier['epochs']} there and {config.epochs} here, and the cosine"
            " schedule's rate in every step depends on it: to train on, start another --workdir"
            " with --config.init_from; epochs can be added to schedules plateau and constant"
        )


def peak_rate(config: ConfigDict, batch_size: int) -> float:
    """The highest learning rate of the schedule."""
    return config.learning_rate * (
        batch_size / config.reference_batch if config.scale_with_batch else 1
    )


def limit_filter_rms(params: Params, radius: float) -> tuple[Params, jax.Array]:
    """Rescales each conv filter whose RMS exceeds `radius` to that RMS (Section 3, Fig. 6).

    A filter is one output map's weights, over rows, columns and input maps. Dense layers and
    biases are left alone.

    Returns:
      the params, and the share of filters that were rescaled, float32 scalar.
    """
    limited, clipped, filters = {}, jnp.int32(0), 0
    for name, layer in params.items():
        kernel = layer.get("kernel")
        if kernel is not None and kernel.ndim == 4:
            rms = jnp.sqrt(jnp.mean(jnp.square(kernel), axis=(0, 1, 2)))
            over = rms > radius
            kernel = jnp.where(over, kernel * (radius / jnp.where(over, rms, 1)), kernel)
            clipped, filters = clipped + over.sum(), filters + over.size
            layer = {**layer, "kernel": kernel}
        limited[name] = layer
    return limited, clipped / max(filters, 1)


@dataclasses.dataclass(frozen=True)
class Plateau:
    """Annealing by plateau: the paper's hand on the learning rate, as a rule.

    After `patience` epochs in which validation error has not fallen by `min_improvement`, the
    learning rate is multiplied by `factor`, at most `max_drops` times. A host-side rule: pure,
    fed once an epoch, kept in the checkpoint.

    `rollbacks` counts the times that a run went back after a number that was not finite; `scale`
    has their factors in it.
    """

    best: float = float("inf")
    waited: int = 0
    drops: int = 0
    scale: float = 1.0
    rollbacks: int = 0

    def after(self, error: float, config: ConfigDict) -> Plateau:
        """The state after an epoch that ended with this validation error."""
        if error < self.best - config.min_improvement:
            return dataclasses.replace(self, best=error, waited=0)
        if self.waited + 1 < config.patience or self.drops >= config.max_drops:
            return dataclasses.replace(self, waited=self.waited + 1)
        return dataclasses.replace(
            self, waited=0, drops=self.drops + 1, scale=self.scale * config.factor
        )

    def rolled_back(self, rollbacks: int, factor: float) -> Plateau:
        """The state after so many rollbacks in all, each of which multiplies the learning rate."""
        scale = self.scale * factor ** (rollbacks - self.rollbacks)
        return dataclasses.replace(self, scale=scale, rollbacks=rollbacks)
