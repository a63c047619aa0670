"""How healthy a net is on one batch: what it sees, passes on, sends back, and can learn at all.

The plainest failure of nets of this age is a loss that stays at chance, ln(classes), for days: too
small initial weights for so many layers, pixels of another range, a rate too high or too low,
labels that are not the images'. Each leaves its mark in these numbers; `standing` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from ml_collections import ConfigDict

from zfnet_jax import model
from zfnet_jax.data import augment
from zfnet_jax.data.images import Split
from zfnet_jax.model import ZFNet
from zfnet_jax.training import layers as net_layers
from zfnet_jax.training import optimizer
from zfnet_jax.training.optimizer import Params


class Layer(NamedTuple):
    """Of one layer with weights.

    Attributes:
      deviation: of what it puts out, from image to image: standard deviation over the batch, RMS
        over places and maps.
      dead: share of its maps or units that are zero for every image; 0 for class scores.
      gradient: RMS of the gradient of its weights; 0 for a frozen layer.
      update: RMS of what a step adds to its weights, once momentum has gathered, as a share of the
        weights' own RMS; 0 for a frozen layer.
    """

    deviation: float
    dead: float
    gradient: float
    update: float


class Health(NamedTuple):
    """Of a net on one batch.

    Attributes:
      layers: by name from the first to that of the class scores.
      pixels: what the net sees: least, largest, mean, standard deviation.
      labels: how many training images of each class, int [classes].
      class_share: the largest share of one class in the training loss.
      loss: cross entropy without label smoothing.
      learned: the same after each of some steps on this batch alone, [steps] float32.
    """

    layers: dict[str, Layer]
    pixels: tuple[float, float, float, float]
    labels: np.ndarray
    class_share: float
    loss: float
    learned: np.ndarray


def of_run(
    net: ZFNet,
    config: ConfigDict,
    params: Params,
    train: Split,
    mean: np.ndarray,
    rate: float,
    weights: np.ndarray | None,
) -> Health:
    """The health of a run's net on `config.check.images` of its training images, see `measure`.

    Args:
      weights: [classes], see `class_weights.of_classes`.
    """
    count = min(config.check.images, len(train))
    rows = np.sort(np.random.default_rng(config.seed).permutation(len(train))[:count])
    found = measure(net, config, params, mean, train.rows(rows), train.labels[rows], rate)
    counts = np.bincount(train.labels, minlength=len(train.class_names))
    share = np.max(counts * (1 if weights is None else weights)) / len(train)
    return found._replace(labels=counts, class_share=float(share))


def measure(
    net: ZFNet,
    config: ConfigDict,
    params: Params,
    mean: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    rate: float,
) -> Health:
    """The health of a net on one batch, centre crops and no dropout, on one device.

    Args:
      config: the run's; of the check, its `config.check`.
      mean: [S, S, C] float32, the training set's.
      images: [B, S, S, C] uint8.
      labels: [B] int32.
      rate: learning rate.
    """
    inputs = augment.centre_crops(
        jnp.asarray(images), jnp.asarray(mean), config.augment.crop, config.augment.scale
    )
    shown = inputs, jnp.asarray(labels)
    frozen = net_layers.params_of(net.architecture, config.frozen)
    trained = net_layers.without(params, frozen)
    rest = {name: params[name] for name in frozen}
    (loss, (logits, activations)), gradients = _backward(net, trained, rest, *shown)
    gathered = rate / (1 - config.optimizer.momentum)
    if limit := config.optimizer.clip_norm:
        norm = float(optax.global_norm(gradients))
        gathered *= limit / max(norm, limit)
    layers = {}
    names = net_layers.in_order(net.architecture)
    for name in names:
        # The class scores may be maps: the last layer's, after what follows its filters.
        maps = np.asarray(logits if name == names[-1] else activations[name], np.float32)
        size = _rms_of_weights(params[name])
        step = _rms_of_weights(gradients[name]) if name in gradients else 0.0
        silent = ~(maps.reshape(-1, maps.shape[-1]) != 0).any(axis=0)
        layers[name] = Layer(
            deviation=_rms(maps.std(axis=0)),
            dead=0.0 if name == names[-1] else float(silent.mean()),
            gradient=step,
            update=gathered * step / max(size, np.finfo(np.float32).tiny),
        )
    recipe = _Recipe(
        config.check.by_heart_steps,
        config.optimizer.momentum,
        config.optimizer.weight_decay,
        config.optimizer.rms_limit,
        config.optimizer.clip_norm,
        frozen,
    )
    learned = _learned(net, recipe, params, *shown, jnp.float32(rate))
    seen = np.asarray(inputs)
    return Health(
        layers=layers,
        pixels=(seen.min().item(), seen.max().item(), seen.mean().item(), seen.std().item()),
        labels=(counts := np.bincount(labels, minlength=logits.shape[1])),
        class_share=float(counts.max() / len(labels)),
        loss=float(loss),
        learned=np.asarray(learned),
    )


def chance(
    labels: np.ndarray, classes: int, smoothing: float, weights: np.ndarray | None = None
) -> float:
    """The training loss of a net that tells no image from another but knows how often classes come:
    the entropy of their shares, ln(classes) where they are equal.

    Args:
      labels: [N] of the training set.
      smoothing: of the labels, which the loss counts in.
      weights: [classes], what the loss of an image is multiplied by, 1 on average over the images.
    """
    shares = np.bincount(labels, minlength=classes) / len(labels)
    shares *= 1 if weights is None else weights
    shares = (1 - smoothing) * shares + smoothing / classes
    return float(-np.sum(shares * np.log(np.where(shares > 0, shares, 1))))


def _loss(
    params: Params, net: ZFNet, inputs: jax.Array, labels: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, Mapping[str, jax.Array]]]:
    logits, activations = model.forward(net, params, inputs)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, (logits, activations)


@partial(jax.jit, static_argnames="net")
def _backward(
    net: ZFNet, trained: Params, rest: Params, inputs: jax.Array, labels: jax.Array
) -> Any:
    """What `_loss` returns, and its gradient by the parameters that are trained."""

    def loss_of(trained: Params) -> tuple[jax.Array, tuple[jax.Array, Mapping[str, jax.Array]]]:
        return _loss(rest | trained, net, inputs, labels)

    return jax.value_and_grad(loss_of, has_aux=True)(trained)


class _Recipe(NamedTuple):
    """What of a config a step on one batch follows."""

    steps: int
    momentum: float
    weight_decay: float
    rms_limit: float
    clip_norm: float
    frozen: tuple[str, ...]


@partial(jax.jit, static_argnames=("net", "recipe"))
def _learned(
    net: ZFNet,
    recipe: _Recipe,
    params: Params,
    inputs: jax.Array,
    labels: jax.Array,
    rate: jax.Array,
) -> jax.Array:
    """The loss after each step on one batch."""
    transform = optimizer.momentum(ConfigDict(recipe._asdict()))
    gradient_of = jax.grad(lambda trained: _loss(params | trained, net, inputs, labels)[0])

    def step(
        state: tuple[Params, optax.OptState], _: None
    ) -> tuple[tuple[Params, optax.OptState], jax.Array]:
        before, momentum = state
        updates, momentum = transform.update(gradient_of(before), momentum, before)
        after: Params = jax.tree.map(lambda p, u: p - rate * u, before, updates)
        if recipe.rms_limit:
            after = optimizer.limit_filter_rms(after, recipe.rms_limit)[0]
        return (after, momentum), _loss(params | after, net, inputs, labels)[0]

    trained = net_layers.without(params, recipe.frozen)
    return lax.scan(step, (trained, transform.init(trained)), None, length=recipe.steps)[1]


def _rms_of_weights(layer: Mapping[str, jax.Array]) -> float:
    """Over everything of a layer but its biases."""
    weights = [np.ravel(array) for name, array in layer.items() if name != "bias"]
    return _rms(np.concatenate(weights))


def _rms(array: np.ndarray | jax.Array) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(array, np.float64)))))
