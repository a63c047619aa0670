"""An export is compared with the run before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

from zfnet_jax.architecture import Architecture
from zfnet_jax.files import temporary_name
from zfnet_jax.runs.run import Run
from zfnet_jax.stages.stage import Activations

TOLERANCE = 1e-4  # of the largest value


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


def answer(net: Architecture, logits: jax.Array, activations: Activations) -> jax.Array:
    """What a net is compared by: its class scores, or without a classifier its last maps."""
    last = net.stages[-1]
    return logits if last.scores else activations[last.name]


def check(run: Run, what: str, forward: Callable[[np.ndarray], np.ndarray]) -> float:
    """Compares the net's answers on `test_images`, see `answer`, with the run's own.

    Args:
      what: is exported, for the message.
      forward: images [B, S, S, C] uint8 -> class scores [B, classes], or maps [B, h, w, C].

    Returns:
      the largest difference, as a share of the largest value.

    Raises:
      ValueError: it is larger than `TOLERANCE`.
    """
    images = test_images(run)
    expected = np.asarray(answer(run.architecture, *run.forward(run.inputs(images))))
    found = np.asarray(forward(images))
    if found.shape != expected.shape:
        raise ValueError(f"{what}: it gives {list(found.shape)}, the run {list(expected.shape)}")
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference <= TOLERANCE:
        which = "class scores" if run.architecture.stages[-1].scores else "last maps"
        raise ValueError(f"{what}: its {which} differ from the run's by {difference:.1e}")
    return difference
