"""Trainings of one recipe in one process share their programs: tests start the same one many times,
and tracing and compiling it takes most of their time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from zfnet_jax import parallel
from zfnet_jax.data.images import Split
from zfnet_jax.runs import workdir
from zfnet_jax.training import job, train
from zfnet_jax.training.step import TrainState

# What of a config is for the host alone; of data the fingerprints count.
_OF_THE_HOST = (
    "check",
    "checkpoint",
    "data",
    "early_stopping",
    "init_from",
    "init_layers",
    "log_every_steps",
    "on_nonfinite",
    "rollback",
    "rules",
)


# Of the rest what neither the state before the first step nor a validation depends on.
_OF_THE_STEP = ("batch_size", "epochs")
_OF_THE_RATE = ("drops", "learning_rate", "plateau", "schedule")
_OF_TRAINING = (*_OF_THE_STEP, "frozen", "optimizer")

Programs = dict[Any, Any]


def share(patch: pytest.MonkeyPatch) -> Programs:
    """From now on `train.train_and_evaluate` has the programs that are returned, by recipe."""
    made: Programs = {}

    def set_up(
        config: ConfigDict, directory: Path | None = None, data: tuple[Split, Split] | None = None
    ) -> job.Job:
        ready = job.set_up(config, directory, data)
        recipe = _without(workdir.as_json(ready.config), _OF_THE_HOST)
        begun = _without(recipe, _OF_THE_STEP)
        begun |= {"optimizer": _without(recipe["optimizer"], _OF_THE_RATE)}
        step = recipe | {"optimizer": _without(recipe["optimizer"], ("drops", "plateau"))}
        if ready.config.optimizer.schedule != "cosine":
            del step["epochs"]
        splits = ready.train, ready.validation
        context = (
            *((split.fingerprint, np.asarray(split.labels).tobytes()) for split in splits),
            parallel.local_devices()[0],
            parallel.device_count(),
            # What tests put others in the place of.
            job.make_train_step,
            job.make_evaluator,
            job.nonfinite.watched,
            job.optimizer.momentum,
            parallel.map_over_devices,
        )

        def shared(what: str, fields: dict[str, Any], *rest: Any, new: Any) -> Any:
            return made.setdefault((what, json.dumps(fields, sort_keys=True), *rest, *context), new)

        states: list[TrainState] = shared("states", begun, new=[])

        def initial() -> TrainState:
            if ready.start:
                return ready.initial()
            if not states:
                states.append(jax.tree.map(np.asarray, ready.initial()))
            return jax.tree.map(jnp.array, states[0])  # the first step takes them over

        return dataclasses.replace(
            ready,
            train_step=shared("step", step, ready.steps_per_epoch, new=ready.train_step),
            evaluate=shared("evaluate", _without(recipe, _OF_TRAINING), new=ready.evaluate),
            initial=initial,
        )

    patch.setattr(train, "set_up", set_up)
    return made


def _without(fields: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: field for name, field in fields.items() if name not in names}
