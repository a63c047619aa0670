"""An export is compared with the run before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from zfnet_jax.files import temporary_name
from zfnet_jax.runs.run import Run

TOLERANCE = 1e-4  # of the largest class score


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes its place if nothing is raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def test_images(run: Run) -> np.ndarray:
    """Two images [2, S, S, C] uint8 of smooth random patches and noise, always the same."""
    size, channels = run.mean.shape[0], run.mean.shape[2]
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (2, 8, 8, channels), np.uint8)
    rows = np.arange(size) * 8 // size
    images = patches[:, rows][:, :, rows].astype(np.int16)
    return np.clip(images + rng.normal(0, 20, images.shape), 0, 255).astype(np.uint8)


def check(run: Run, what: str, forward: Callable[[np.ndarray], np.ndarray]) -> float:
    """Compares class scores on `test_images` with the run's own.

    Args:
      what: is exported, for the message.
      forward: images [B, S, S, C] uint8 -> class scores [B, classes].

    Returns:
      the largest difference, as a share of the largest score.

    Raises:
      ValueError: it is larger than `TOLERANCE`.
    """
    images = test_images(run)
    expected = np.asarray(run.forward(run.inputs(images))[0])
    found = np.asarray(forward(images))
    if found.shape != expected.shape:
        raise ValueError(f"{what}: it gives {list(found.shape)}, the run {list(expected.shape)}")
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference <= TOLERANCE:
        raise ValueError(f"{what}: its class scores differ from the run's by {difference:.1e}")
    return difference
