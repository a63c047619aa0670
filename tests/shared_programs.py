"""Trainings of one recipe in one process share their programs: tests start the same one many times,
and tracing and compiling it takes most of their time."""

from __future__ import annotations

import dataclasses
import json
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


Programs = dict[Any, tuple[Any, Any, list[TrainState]]]


def share(patch: pytest.MonkeyPatch) -> Programs:
    """From now on `train.train_and_evaluate` has the programs that are returned, by recipe."""
    made: Programs = {}

    def set_up(
        config: ConfigDict, directory: Path | None = None, data: tuple[Split, Split] | None = None
    ) -> job.Job:
        ready = job.set_up(config, directory, data)
        fields = workdir.as_json(ready.config)
        recipe = {name: field for name, field in fields.items() if name not in _OF_THE_HOST}
        splits = ready.train, ready.validation
        key = (
            json.dumps(recipe, sort_keys=True),
            ready.steps_per_epoch,
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
        programs = ready.train_step, ready.evaluate, []
        train_step, evaluate, state = made.setdefault(key, programs)

        def initial() -> TrainState:
            if ready.start:
                return ready.initial()
            if not state:
                state.append(jax.tree.map(np.asarray, ready.initial()))
            return jax.tree.map(jnp.array, state[0])  # the first step takes them over

        return dataclasses.replace(ready, train_step=train_step, evaluate=evaluate, initial=initial)

    patch.setattr(train, "set_up", set_up)
    return made
