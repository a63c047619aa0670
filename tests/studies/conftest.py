"""Studies measure nets of any depth alike: here one of two layers of maps."""

from __future__ import annotations

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from zfnet_jax.runs.run import Run, open_run


@pytest.fixture
def tiny_config(shallow_config: ConfigDict) -> ConfigDict:
    return shallow_config


@pytest.fixture(scope="session")
def tiny_run(shallow_run: Path) -> Path:
    return shallow_run


@pytest.fixture(scope="session")
def run(tiny_run: Path) -> Run:
    """`tiny_run`, opened."""
    return open_run(tiny_run)
