from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jax
import pytest

from configs import ablations, imagenette, quickstart, tiny_imagenet, zfnet
from zfnet_jax import model
from zfnet_jax.training import cores


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine of four cores where JAX has not started; what it is told before it does."""
    told: dict[str, Any] = {}
    monkeypatch.setattr(cores, "_cores", lambda: 4)
    monkeypatch.setattr(cores.launch, "count_gpus", lambda: 0)
    monkeypatch.setattr(cores.determinism, "has_started", lambda: False)
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    return told


def test_a_small_net_has_a_device_for_each_core(four_cores: dict[str, Any]) -> None:
    cores.share_out(tiny_imagenet.get_config())
    assert four_cores == {"jax_num_cpu_devices": 4}
    sooner, one_thread = "--xla_backend_optimization_level=2", "--xla_cpu_multi_thread_eigen=false"
    assert os.environ["XLA_FLAGS"] == f"{sooner} {one_thread}"


@pytest.mark.usefixtures("four_cores")
def test_a_given_level_of_optimisation_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=1")
    cores.share_out(quickstart.get_config())
    assert os.environ["XLA_FLAGS"].count("optimization_level") == 1


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "devices"),
    [(64, 1, 4), (20, 1, 4), (6, 1, 3), (64, 32, 2), (7, 1, None), (64, 64, None)],
)
def test_a_batch_divides_among_the_devices(
    batch_size: int, accumulation: int, devices: int | None, four_cores: dict[str, Any]
) -> None:
    config = quickstart.get_config()
    config.batch_size, config.optimizer.accumulation = batch_size, accumulation
    cores.share_out(config)
    assert four_cores.get("jax_num_cpu_devices") == devices
    assert ("XLA_FLAGS" in os.environ) == (devices is not None)


def test_a_large_net_keeps_one_device(four_cores: dict[str, Any]) -> None:
    cores.share_out(zfnet.get_config())
    assert four_cores == {}
    assert "XLA_FLAGS" not in os.environ


def test_a_given_number_stays(four_cores: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    cores.share_out(quickstart.get_config())
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(type(jax.config), "values", {"jax_num_cpu_devices": 2})
    cores.share_out(quickstart.get_config())
    assert four_cores == {}


def test_where_there_is_a_gpu_or_jax_has_started_nothing_changes(
    four_cores: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores.launch, "count_gpus", lambda: 1)
    cores.share_out(quickstart.get_config())
    monkeypatch.setattr(cores.launch, "count_gpus", lambda: 0)
    monkeypatch.setattr(cores.determinism, "has_started", lambda: True)
    cores.share_out(quickstart.get_config())
    assert four_cores == {}


@pytest.mark.parametrize("config", [imagenette.get_config("small"), ablations.get_config("tiny")])
def test_weights_are_counted_but_for_the_classes(config: Any) -> None:
    params = model.initial_params(
        model.from_config(config.model, classes=1), 0, config.augment.crop, 3
    )
    assert cores._weights(config) == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_jax_starts_with_these_devices() -> None:
    code = (
        "from configs import quickstart; from zfnet_jax.training import cores; import jax;"
        " cores._cores = lambda: 3; config = quickstart.get_config(); config.batch_size = 63;"
        " cores.launch.count_gpus = lambda: 0; cores.share_out(config); print(jax.device_count())"
    )
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["3"]
