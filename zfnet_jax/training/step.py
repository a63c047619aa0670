"""One update of the net on one batch, as a pure function that runs on every device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from ml_collections import ConfigDict

from zfnet_jax.data import augment, colour
from zfnet_jax.data.batches import Batch
from zfnet_jax.model import ZFNet
from zfnet_jax.parallel import mean_over_devices
from zfnet_jax.training import layers
from zfnet_jax.training.optimizer import Params, limit_filter_rms


@flax.struct.dataclass
class TrainState:
    """Everything that changes from step to step, the same on every device.

    Attributes:
      step: updates done, int32 scalar.
      params: the model's parameters.
      momentum: state of `optimizer.momentum`, of the parameters that are trained.
      rate_scale: the plateau's factor on the learning rate, float32 scalar.
      sums: training metrics summed over the steps of this epoch, float32 scalars.
    """

    step: jax.Array
    params: Params
    momentum: optax.OptState
    rate_scale: jax.Array
    sums: dict[str, jax.Array]


SUMS = ("loss", "top1", "top5", "clipped", "steps")


def initial_state(
    params: Params, transform: optax.GradientTransformation, frozen: Sequence[str] = ()
) -> TrainState:
    """The state before the first step; parameters named in `frozen` are not trained.

    Made by NumPy, but for the parameters: JAX would compile a program for each shape of zeros.
    """
    momentum = jax.eval_shape(transform.init, layers.without(params, frozen))
    return TrainState(
        step=jax.device_put(np.int32(0)),
        params=params,
        momentum=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), momentum),
        rate_scale=jax.device_put(np.float32(1)),
        sums={name: jax.device_put(np.float32(0)) for name in SUMS},
    )


def make_train_step(
    model: ZFNet,
    config: ConfigDict,
    transform: optax.GradientTransformation,
    schedule: optax.Schedule,
    steps_per_epoch: int,
    *,
    class_weights: np.ndarray | None = None,
    colours: np.ndarray | None = None,
) -> Callable[..., tuple[TrainState, jax.Array]]:
    """The train step of a run: (state, mean [S, S, C], a device's rows of a batch) -> state, loss.

    Where a fourth argument, `healthy`, is given and False, the state stays as it is. Crop, flip and
    subtract the mean, forward, backward, SGD, RMS limit (Section 3). Mapped over devices: gradients
    and metrics are averaged over them. Of the layers that `config.frozen` names there is no
    gradient, and below the lowest that is trained no way back.

    Args:
      class_weights: [classes], see `class_weights.of_classes`; None: images count alike.
      colours: [3, 3], see `colour.noise`; None: images keep their colours.
    """
    parts = config.optimizer.accumulation
    frozen = layers.params_of(model.architecture, config.frozen)

    def loss_of(
        trained: Params, params: Params, mean: jax.Array, batch: Batch[jax.Array], epoch: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        keys = jax.vmap(jax.random.split)(augment.image_keys(config.seed, epoch, batch.index))
        images = augment.random_crops(
            batch.images,
            keys[:, 0],
            mean,
            config.augment.crop,
            config.augment.crops,
            config.augment.scale,
        )
        if colours is not None:
            added = colour.noise(keys[:, 0], jnp.asarray(colours))
            images += (added / jnp.float32(config.augment.scale))[:, None, None]
        logits, _ = model.apply(
            {"params": params | trained}, images, dropout_keys=keys[:, 1], frozen=frozen
        )
        targets = optax.smooth_labels(
            jax.nn.one_hot(batch.labels, logits.shape[1]), config.optimizer.label_smoothing
        )
        losses = optax.softmax_cross_entropy(logits, targets)
        if class_weights is not None:
            losses *= jnp.asarray(class_weights)[batch.labels]
        loss = losses.mean()
        top1, top5 = topk_hits(logits, batch.labels)
        return loss, {"loss": loss, "top1": top1.mean(), "top5": top5.mean()}

    gradient_of = jax.grad(loss_of, has_aux=True)

    def gradients(
        params: Params, mean: jax.Array, batch: Batch[jax.Array], epoch: jax.Array
    ) -> tuple[Params, dict[str, jax.Array]]:
        trained = layers.without(params, frozen)
        if parts == 1:
            return gradient_of(trained, params, mean, batch, epoch)
        # Accumulation: the mean over equal parts of the rows, one after the other.
        split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)

        def add(total: Any, part: Batch[jax.Array]) -> tuple[Any, None]:
            part = gradient_of(trained, params, mean, part, epoch)
            return jax.tree.map(jnp.add, total, part), None

        shapes = jax.eval_shape(
            gradient_of, trained, params, mean, jax.tree.map(lambda x: x[0], split), epoch
        )
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        total, _ = lax.scan(add, zeros, split)
        return jax.tree.map(lambda x: x / parts, total)

    def train_step(
        state: TrainState,
        mean: jax.Array,
        batch: Batch[jax.Array],
        healthy: jax.Array | bool = True,
    ) -> tuple[TrainState, jax.Array]:
        epoch, step_of_epoch = jnp.divmod(state.step, steps_per_epoch)
        grads, metrics = mean_over_devices(gradients(state.params, mean, batch, epoch))
        trained = layers.without(state.params, frozen)
        _, momentum = transform.update(grads, state.momentum, trained)
        momentum = _in_place(healthy, momentum, state.momentum)
        velocity = optax.tree_utils.tree_get(momentum, "trace")
        rate = schedule(state.step) * state.rate_scale + _zero_after(velocity)
        trained = jax.tree.map(lambda p, v: p - rate * v, trained, velocity)
        clipped = jnp.float32(0)
        if config.optimizer.rms_limit:
            trained, clipped = limit_filter_rms(trained, config.optimizer.rms_limit)
        news = {**metrics, "clipped": clipped, "steps": jnp.float32(1)}
        sums = {
            name: jnp.where(step_of_epoch == 0, 0, state.sums[name]) + news[name] for name in SUMS
        }
        state = dataclasses.replace(
            state,
            step=state.step + jnp.int32(healthy),
            params=_in_place(healthy, state.params | trained, state.params),
            momentum=momentum,
            sums=jax.tree.map(partial(jnp.where, healthy), sums, state.sums),
        )
        return state, metrics["loss"]

    return train_step


def _in_place(healthy: jax.Array | bool, after: Any, before: Any) -> Any:
    """What takes the place of `before` if all is well, to be read from there.

    Without the barrier XLA makes it anew in each loop that reads it, from the old values, which it
    then cannot overwrite: it copied all parameters and their momentum in every step.
    """
    return lax.optimization_barrier(
        jax.tree.map(lambda new, old: jnp.where(healthy, new, old), after, before)
    )


def _zero_after(arrays: Any) -> jax.Array:
    """Zero that is known once all arrays are, if they are finite.

    What needs it comes after the whole way back: XLA copies a parameter before it overwrites it
    unless all that reads the old one is known to have been computed.
    """
    return 0 * sum((leaf.ravel()[0] for leaf in jax.tree.leaves(arrays)), jnp.float32(0))


def topk_hits(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether the label is the most probable class, and among the five most: each bool [B].

    A class that is exactly as probable as the true one counts against it, so that a net that
    answers the same for every class scores nothing.
    """
    true = jnp.take_along_axis(logits, labels[:, None], axis=1)
    others = jnp.arange(logits.shape[1]) != labels[:, None]
    ahead = jnp.sum((logits >= true) & others, axis=1)
    finite = jnp.isfinite(true[:, 0])
    return (ahead < 1) & finite, (ahead < 5) & finite
