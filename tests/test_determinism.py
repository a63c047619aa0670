"""The option that makes a GPU's results the same each time: what it sets, when it is too late."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from zfnet_jax import determinism, distributed

FLAG = "--xla_gpu_deterministic_ops=true"


@pytest.fixture
def machine(monkeypatch) -> SimpleNamespace:
    """A machine with a GPU that has computed nothing yet."""
    it = SimpleNamespace(started=False, backend="gpu", config={"jax_platforms": None})
    bridge = SimpleNamespace(backends_are_initialized=lambda: it.started)
    fake = SimpleNamespace(
        default_backend=lambda: it.backend, config=SimpleNamespace(values=it.config)
    )
    monkeypatch.setattr(determinism, "jax", fake)
    monkeypatch.setattr(determinism, "xla_bridge", bridge)
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_enable_latency_hiding_scheduler=true")
    return it


def test_xla_has_its_flag_before_the_processes_are_joined(machine, monkeypatch):
    def join(*_: object) -> None:
        machine.started = True

    monkeypatch.setattr(distributed, "_join", join)
    for _ in range(2):  # the second time it is set: not too late
        with distributed.joined(deterministic=True):
            pass
        flags = f"--xla_gpu_enable_latency_hiding_scheduler=true {FLAG}"
        assert os.environ["XLA_FLAGS"] == flags


def test_it_says_so_when_it_is_too_late(machine):
    machine.started = True
    with pytest.raises(ValueError, match=f"the GPU is in use: set XLA_FLAGS={FLAG}"):
        determinism.require()
    machine.backend = "cpu"
    determinism.require()
    assert FLAG not in os.environ["XLA_FLAGS"]


def test_a_cpu_needs_no_flag(machine):
    machine.config["jax_platforms"] = "cpu"
    determinism.require()
    assert FLAG not in os.environ["XLA_FLAGS"]
