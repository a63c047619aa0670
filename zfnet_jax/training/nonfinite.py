"""Divergence: which tensor of a step is the first that is not finite, and the way back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import logging
from ml_collections import ConfigDict

from zfnet_jax import files, parallel
from zfnet_jax.data import batches
from zfnet_jax.data.images import Split
from zfnet_jax.runs import array_tree
from zfnet_jax.training.optimizer import Params
from zfnet_jax.training.step import TrainState

_NAMED = 8  # images named in a message; the file beside the run names all
_ADVICE = (
    "lower the learning rate (--config.optimizer.learning_rate) or let the run do it "
    "(--config.on_nonfinite=rollback); the last checkpoint is from before"
)


class NonFiniteError(FloatingPointError):
    """A step gave a number that is not finite; the checkpoints are from before.

    `rollbacks` is how often the run had gone back before.
    """

    def __init__(self, message: str, rollbacks: int) -> None:
        super().__init__(message)
        self.rollbacks = rollbacks


def watched(train_step: Callable[..., tuple[TrainState, jax.Array]]) -> Callable[..., Any]:
    """A train step (state, healthy, ...) that returns (state, healthy, loss).

    `healthy`, a bool scalar, says whether all steps so far were finite, this one included. From the
    first that was not on the state stays as that step left it: the host, which never waits for the
    step that it just started, finds it there and asks `culprit_of`. So a step needs no branch, for
    which a GPU would wait for the host.

    Where the parameters are finite so was the gradient: reading them once is all that a step pays.
    """

    def step(
        state: TrainState, healthy: jax.Array, *arguments: Any
    ) -> tuple[TrainState, jax.Array, jax.Array]:
        state, loss = train_step(state, *arguments, healthy)
        finite = jnp.isfinite(loss) & jnp.all(_finite(jax.tree.leaves(state.params)))
        return state, healthy & finite, loss

    return step


def culprit_of(
    state: TrainState, loss: jax.Array, layers: Sequence[str], *, clipped: bool = False
) -> str:
    """The first tensor that is not finite of the step that left this state.

    The order is that of the computation: the loss, the gradients from the last layer back to the
    first (in the momentum that they enter), the new parameters.

    Args:
      layers: the names of the layers' parameters, from the image up.
      clipped: whether the gradient's norm was limited. Then no layer's is finite where one is not.
    """
    momentum = optax.tree_utils.tree_get(state.momentum, "trace")
    lost, of_momentum, of_params = _not_finite(loss, momentum, state.params)
    if lost:
        return "the loss"
    if broken := _in_order(of_momentum, layers):
        return (
            "the gradient, whose norm is limited," if clipped else f"the gradient of {broken[-1]}"
        )
    return f"the parameter {_in_order(of_params, layers)[0]}"


def _in_order(flags: Params, layers: Sequence[str]) -> list[str]:
    """The names of the arrays whose flag is set, layer by layer."""
    named = array_tree.named_leaves(flags)
    ordered = [name for layer in layers for name in named if name.split("/")[0] == layer]
    return [name for name in ordered if named[name]]


@jax.jit
def _not_finite(*trees: Any) -> Any:
    """Of each array of some trees, whether not all of it is finite."""
    return jax.tree.map(lambda leaf: ~jnp.all(jnp.isfinite(leaf)), trees)


def error_of_step(
    step: int, tensor: str, directory: Path, train: Split, config: ConfigDict, rollbacks: int
) -> NonFiniteError:
    """The error of a step, which names the images of its batch; all are listed in a file."""
    epoch, start = divmod(step - 1, batches.train_steps_per_epoch(len(train), config.batch_size))
    rows = next(
        batches.train_rows(
            len(train),
            seed=config.seed,
            epoch=epoch,
            start=start,
            batch_size=config.batch_size,
            process_index=0,
            process_count=1,
        )
    )
    keys = [train.keys[row] for row in rows]
    path = directory / f"nonfinite-{step}.json"
    if parallel.is_writer():
        files.write_json(path, {"step": step, "tensor": tensor, "images": keys})
    shown = ", ".join(json.dumps(key) for key in keys[:_NAMED])
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return NonFiniteError(
        f"{tensor} is not finite at step {step}, whose images are {shown}{more} (all in {path}): "
        f"{_ADVICE}",
        rollbacks,
    )


def check_validation(step: int, loss: float, rollbacks: int) -> None:
    """NonFiniteError unless the validation loss after a step is finite."""
    if not math.isfinite(loss):
        raise NonFiniteError(
            f"the validation loss is not finite at step {step}: {_ADVICE}", rollbacks
        )


def next_rollback(error: NonFiniteError, config: ConfigDict) -> int:
    """How often the run has gone back once it does again, with a message.

    Raises:
      NonFiniteError: the error itself, where `config` allows no (further) way back.
    """
    allowed, factor = config.rollback.max_times, config.rollback.rate_factor
    if config.on_nonfinite != "rollback" or error.rollbacks >= allowed:
        raise error
    count = error.rollbacks + 1
    if parallel.is_writer():
        logging.error("%s. Going back: %d of %d, rate times %g", error, count, allowed, factor)
    return count


def check_config(config: ConfigDict) -> None:
    """ValueError unless `config.on_nonfinite` and `config.rollback` make sense."""
    if config.on_nonfinite not in ("stop", "rollback"):
        raise ValueError(
            f"config.on_nonfinite must be 'stop' or 'rollback', got {config.on_nonfinite!r}"
        )
    if not 0 < config.rollback.rate_factor < 1:
        raise ValueError(
            f"config.rollback.rate_factor must lie between 0 and 1, got "
            f"{config.rollback.rate_factor}"
        )


def _finite(leaves: list[jax.Array]) -> jax.Array:
    """Of each array whether all of it is finite."""
    # Zero times inf or nan is no zero. On a CPU a sum takes a quarter of the time that `all` does,
    # for which XLA writes and reads an array of truths.
    return jnp.stack([jnp.sum(0 * leaf) == 0 for leaf in leaves])
