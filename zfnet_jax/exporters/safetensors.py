"""A run as .safetensors: tensors laid out and named as a PyTorch state_dict of the same layers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from zfnet_jax import extras
from zfnet_jax.exporters import metadata, parity
from zfnet_jax.importers import own, pytorch
from zfnet_jax.runs.run import Run


def export(run: Run, path: str | Path) -> float:
    """Writes '{layer}.weight' and '{layer}.bias' of every layer and 'mean' [S, S, C].

    Filters are [maps, inputs, k, k], weights [units, inputs], flattened as map, row, column. The
    metadata hold config and class names, so that scripts.import_weights reads it back.

    Returns:
      the largest difference when read back, see `parity.check`.

    Raises:
      ValueError: safetensors is not installed, or what was written does not answer as the run.
    """
    try:
        from safetensors.numpy import save
    except ImportError:
        raise extras.missing("safetensors", "import") from None
    tensors = own.to_foreign(run.architecture, run.params, run.input_size)
    tensors["mean"] = np.ascontiguousarray(run.mean, np.float32)
    with parity.unfinished(Path(path)) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata.of_run(run)))
        return parity.check(run, f"{path}", lambda images: _forward(run, temporary, images))


def _forward(run: Run, path: Path, images: np.ndarray) -> np.ndarray:
    read = own.imported(*pytorch.read_tensors(path), {})
    again = dataclasses.replace(run, params=read.net.params)
    return np.asarray(parity.answer(run.architecture, *again.forward(run.inputs(images))))
