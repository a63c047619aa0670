"""Weights from PyTorch: a state_dict in a .pt or .pth file, or the same tensors as .safetensors.

Nothing in the file is executed: pickles go through PyTorch's weights-only loader, which builds
tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import extras
from zfnet_jax.importers import files
from zfnet_jax.importers.chain import Link
from zfnet_jax.importers.presets import PRESETS, Preset

# Where training scripts put the state_dict inside what they save, if they save several.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_DEEPEST = 4  # containers around it

# What wrappers put into names: DataParallel and torch.compile around the whole net or a part ...
_WRAPPED = ("module", "_orig_mod")
# ... and attributes of whatever trained the net, in front of all names.
_OWNERS = ("model", "net")

_UNUSED = "num_batches_tracked"  # batch norm counts them in training


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors by name, and the metadata of a .safetensors file.

    Raises:
      ValueError: PyTorch or safetensors is not installed, or the file is damaged, too large, or
        holds anything but tensors.
    """
    path = Path(path)
    return _read_pickle(path) if keeps_order(path) else _read_safetensors(path)


def keeps_order(path: str | Path) -> bool:
    """Whether a file has tensors in the order in which the net's modules were made, as pickles do;
    .safetensors files have an order of their own. Errors as of `files.check`."""
    path = Path(path)
    kind = files.check(path, "pytorch", "safetensors")
    return not (kind == "safetensors" or (not kind and path.suffix.lower() == ".safetensors"))


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
            # Given the path PyTorch would go by its ending.
            with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
                content = torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            raise ValueError(
                "it cannot be read: it is damaged, or holds more than tensors, which is never run;"
                " in that case save the model's state_dict() alone"
            ) from error
        tensors = _renamed(_state_dict(content))
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
        stored = file.keys()
        names = _renamed({name: name for name in stored})
        tensors = {name: np.asarray(file.get_tensor(its)) for name, its in names.items()}
        return tensors, dict(file.metadata() or {})


def _state_dict(content: Any) -> Mapping[str, Any]:
    """The state_dict in what a file holds: it, or the one that lies in its dicts and lists.

    Raises:
      ValueError: there is none, or there are several and none has the name of a net's.
    """
    level, seen = {"": content}, set()
    for _ in range(_DEEPEST):
        found = {key: value for key, value in level.items() if _is_state_dict(value)}
        usual = [key for wrapper in _WRAPPERS for key in found if key.split(".")[-1] == wrapper]
        if len(found) > 1 and not usual:
            names = ", ".join(found)
            raise ValueError(f"it holds several state_dicts ({names}): save the net's alone")
        if found:
            return found[usual[0] if usual else next(iter(found))]
        level = {
            f"{key}.{inner}".lstrip("."): value
            for key, outer in level.items()
            for inner, value in _items(outer)
            if id(value) not in seen and not seen.add(id(value))
        }
    raise ValueError(f"it holds a {type(content).__name__}, expected a state_dict")


def _is_state_dict(value: Any) -> bool:
    """Whether it is a dict with a tensor that is named as weights are."""
    return isinstance(value, Mapping) and any(
        isinstance(name, str) and name.split(".")[-1] in ("weight", "bias") and hasattr(x, "dtype")
        for name, x in value.items()
    )


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return enumerate(value) if is_list else ()


def _renamed(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """By names without what wrappers put into them; what evaluation does not read left out."""
    plain = {
        tuple(part for part in str(name).split(".") if part not in _WRAPPED): value
        for name, value in tensors.items()
        if str(name).split(".")[-1] != _UNUSED
    }
    while plain and all(len(name) > 1 and name[0] in _OWNERS for name in plain):
        plain = {name[1:]: value for name, value in plain.items()}
    renamed = {".".join(name): value for name, value in plain.items()}
    kept = sum(str(name).split(".")[-1] != _UNUSED for name in tensors)
    if len(renamed) < kept:
        raise ValueError("two of its tensors have one name but for prefixes: save one net alone")
    return renamed


def _check_unpacked(sizes: Iterable[int]) -> None:
    unpacked = sum(sizes)
    if unpacked > files.LARGEST:
        raise ValueError(f"it unpacks to {unpacked} bytes, more than any net of this family")


def _array(name: str, tensor: Any) -> np.ndarray:
    import torch

    if not tensor.dtype.is_floating_point:
        raise ValueError(f"{name} is {tensor.dtype}, not floating point")
    return tensor.detach().to(torch.float32).numpy()
