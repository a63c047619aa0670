"""A CPU's cores as devices of their own, where that trains faster."""

from __future__ import annotations

import math
import os

import jax
from ml_collections import ConfigDict

from zfnet_jax import determinism, launch, model

# Sharing out costs some 10 ns for each weight and step: every device updates all of them, and their
# gradients are summed over the devices. What it saves does not depend on them (docs/speed.md).
_MOST_WEIGHTS = 2_000_000
_DEVICES = "--xla_force_host_platform_device_count"
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"  # for each device, which has one core
_LEVEL = "--xla_backend_optimization_level"
_SOONER = f"{_LEVEL}=2"  # than 3 compiled, by 2.5 s of 11, as fast and to the same losses


def share_out(config: ConfigDict) -> None:
    """Makes each core of a CPU a device, where the net is small; before JAX starts.

    As one device they share each operation, and most of a small net's are over before that pays.
    As devices they share the batch, as GPUs do. A training differs by rounding, as it does between
    one GPU and two. A batch that does not divide among all cores is shared among fewer.

    A number of devices that was given stays: XLA_FLAGS=--xla_force_host_platform_device_count=N.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    given = jax.config.values["jax_num_cpu_devices"] > 0 or any(
        flag.startswith(_DEVICES) for flag in flags
    )
    if given or launch.count_gpus() or determinism.has_started():
        return
    if _weights(config) > _MOST_WEIGHTS:
        return
    parts = config.optimizer.accumulation
    shares = [n for n in range(2, _cores() + 1) if config.batch_size % (n * parts) == 0]
    if shares:
        if not any(flag.startswith(_LEVEL) for flag in flags):
            flags.append(_SOONER)
        os.environ["XLA_FLAGS"] = " ".join([*flags, _ONE_THREAD])
        jax.config.update("jax_num_cpu_devices", shares[-1])


def _weights(config: ConfigDict) -> int:
    """Of the net of a config, without those of its classes, which the data know."""
    net = model.from_config(config.model, classes=1)
    shape: tuple[int, ...] = (config.augment.crop, config.augment.crop, 3)
    count = 0
    for stage in net.architecture.stages:
        if stage.weights:
            made = stage.parameters(shape, net.kernel_init)
            count += sum(math.prod(size) for _, size in made.values())
        shape = stage.shape(shape)
    return count


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
