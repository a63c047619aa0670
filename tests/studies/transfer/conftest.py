"""Images that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from zfnet_jax.data.prepared import PreparedSplit, open_prepared


@pytest.fixture(scope="module")
def train(prepared_pictures: Path) -> PreparedSplit:
    """The 70 training pictures, 7 of each of 10 classes."""
    return open_prepared(prepared_pictures, "train")
