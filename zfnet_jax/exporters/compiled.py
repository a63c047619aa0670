"""A run as a function of its own: `jax.export` of pixels to class scores, weights included."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from jax import export as jax_export

from zfnet_jax import model
from zfnet_jax.data import augment
from zfnet_jax.exporters import parity
from zfnet_jax.runs.run import Run

PLATFORMS = ("cpu", "cuda", "tpu")


def export(run: Run, path: str | Path, batch_size: int | None = None) -> float:
    """Writes a function of centre crops [B, H, W, C] uint8 to class scores [B, classes] float32, or
    without a classifier to the last maps [B, h, w, C].

    It needs neither this package nor the run: `jax.export.deserialize(bytes).call(images)`.

    Args:
      batch_size: B; None for any.

    Returns:
      the largest difference, see `parity.check`.

    Raises:
      ValueError: what was written does not answer as the run.
    """
    height, width = run.input_size
    mean = np.asarray(augment.centre(run.mean, run.input_size), np.float32)
    scale = np.asarray(run.config.augment.scale, np.float32)
    params = jax.tree.map(np.asarray, run.params)

    def forward(images: jax.Array) -> jax.Array:
        inputs = (images.astype(np.float32) - mean) / scale
        return parity.answer(run.architecture, *model.forward(run.net, params, inputs))

    batch = jax_export.symbolic_shape("b")[0] if batch_size is None else batch_size
    images = jax.ShapeDtypeStruct((batch, height, width, mean.shape[2]), np.uint8)
    exported = jax_export.export(jax.jit(forward), platforms=PLATFORMS)(images)
    with parity.unfinished(Path(path)) as temporary:
        temporary.write_bytes(exported.serialize())
        read = jax_export.deserialize(bytearray(temporary.read_bytes()))

        def call(images: np.ndarray) -> np.ndarray:
            crops = augment.centre(images, run.input_size)
            size = len(crops) if batch_size is None else batch_size
            filled = np.pad(crops, ((0, -len(crops) % size), (0, 0), (0, 0), (0, 0)), mode="edge")
            scores = [read.call(filled[n : n + size]) for n in range(0, len(filled), size)]
            return np.concatenate(scores)[: len(images)]

        return parity.check(run, f"{path}", call)
