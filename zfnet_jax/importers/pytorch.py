"""Weights from PyTorch: a state_dict in a .pt or .pth file, or the same tensors as .safetensors.

Nothing in the file is executed: pickles go through PyTorch's weights-only loader, which builds
tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import extras
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
    read = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
    return read(path)


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


def _read_pickle(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        import torch
    except ImportError:
        raise extras.missing("PyTorch", "import") from None
    with files.reading(path, "weights of PyTorch"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_unpacked(entry.file_size for entry in archive.infolist())
        try:
            with warnings.catch_warnings(action="ignore"):  # of what it then refuses
                content = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            raise ValueError(
                "it cannot be read: it is damaged, or holds more than tensors, which is never run;"
                " in that case save the model's state_dict() alone"
            ) from error
        tensors = _state_dict(content)
        for name, tensor in tensors.items():
            if not isinstance(tensor, torch.Tensor):
                raise ValueError(f"{name} is a {type(tensor).__name__}, expected a tensor")
            if tensor.layout != torch.strided or tensor.is_meta:
                raise ValueError(f"{name} is no tensor with values: {tensor.layout}")
        # One value may stand for a whole tensor.
        _check_unpacked(tensor.nbytes for tensor in tensors.values())
        return {name: _array(name, tensor) for name, tensor in tensors.items()}, {}


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        from safetensors import safe_open
    except ImportError:
        raise extras.missing("safetensors", "import") from None
    # As jax arrays, because NumPy's have no bfloat16.
    with files.reading(path, "weights as safetensors"), safe_open(path, "flax") as file:
        names = file.keys()
        tensors = {_name(name): np.asarray(file.get_tensor(name)) for name in names}
        return tensors, dict(file.metadata() or {})


def _state_dict(content: Any) -> dict[str, Any]:
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"it holds a {type(content).__name__}, expected a state_dict")
    return {_name(name): value for name, value in content.items()}


def _name(name: str) -> str:
    """A tensor's name without what DataParallel, around the whole net or a part, puts into it."""
    return ".".join(part for part in name.split(".") if part != "module")


def _check_unpacked(sizes: Iterable[int]) -> None:
    unpacked = sum(sizes)
    if unpacked > files.LARGEST:
        raise ValueError(f"it unpacks to {unpacked} bytes, more than any net of this family")


def _array(name: str, tensor: Any) -> np.ndarray:
    import torch

    if not tensor.dtype.is_floating_point:
        raise ValueError(f"{name} is {tensor.dtype}, not floating point")
    return tensor.detach().to(torch.float32).numpy()
