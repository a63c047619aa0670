"""Weights from PyTorch: a state_dict in a .pt or .pth file, or the same tensors as .safetensors.

Nothing in the file is executed: pickles go through PyTorch's weights-only loader, which builds
tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.importers import files
from zfnet_jax.importers.chain import Link
from zfnet_jax.importers.presets import PRESETS, Preset

# Where training scripts put the state_dict inside what they save.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors by name, and the metadata of a .safetensors file.

    Raises:
      ValueError: PyTorch or safetensors is not installed, or the file is damaged, too large, or
        holds anything but tensors.
    """
    path = Path(path)
    files.check_size(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_pickle(path), {}


def read_chain(tensors: Mapping[str, np.ndarray], preset: str) -> tuple[list[Link], Preset]:
    """The layers of a published net.

    Args:
      tensors: a state_dict.
      preset: a name in `presets.PRESETS`.

    Raises:
      ValueError: there is no such preset, or the first tensor that does not fit it.
    """
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}, only {', '.join(PRESETS)}")
    chosen = PRESETS[preset]
    return chosen.chain(tensors), chosen


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise files.missing("PyTorch") from None
    with files.reading(path, "weights of PyTorch"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > files.LARGEST:
                raise ValueError(
                    f"it unpacks to {unpacked} bytes, more than any net of this family"
                )
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {name: _array(name, value) for name, value in _state_dict(content).items()}


def _state_dict(content: Any) -> dict[str, Any]:
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"it holds a {type(content).__name__}, expected a state_dict")
    # DataParallel puts this before every name.
    return {name.removeprefix("module."): value for name, value in content.items()}


def _array(name: str, value: Any) -> np.ndarray:
    import torch

    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} is a {type(value).__name__}, expected a tensor")
    if not value.dtype.is_floating_point or value.layout != torch.strided or value.is_meta:
        raise ValueError(f"{name} is no tensor of numbers: {value.dtype}, {value.layout}")
    return value.detach().to(torch.float32).numpy()


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        from safetensors import safe_open
    except ImportError:
        raise files.missing("safetensors") from None
    with files.reading(path, "weights as safetensors"), safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, dict(file.metadata() or {})
