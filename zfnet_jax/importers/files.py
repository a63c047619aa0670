"""What all importers share in reading files that nobody vouches for."""

from __future__ import annotations

import contextlib
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

# Twice the largest net of the paper (237,560,936 parameters) with its training state.
LARGEST = 2**32  # bytes

# What a file may be instead of what was asked for, and what to do then.
_KINDS = {
    "html": ("an HTML page, not the file that it offers", "download the file itself"),
    "lfs": ("a Git LFS pointer, which stands for the file", "fetch the file with git lfs pull"),
    "safetensors": ("a safetensors file", "--format=pytorch reads it"),
    "pytorch": ("a file of PyTorch", "--format=pytorch reads it"),
    "torchscript": ("a TorchScript program, which is never run", "save its state_dict()"),
    "onnx": ("an ONNX model", "--format=onnx reads it"),
    "caffe": ("a .caffemodel", "--format=caffe reads it"),
    "hdf5": ("an HDF5 file, as Keras writes them", "--format=keras reads it"),
    "keras": ("a .keras file", "--format=keras reads it"),
    "npz": ("a NumPy archive", "give weights of PyTorch, ONNX, Keras or Caffe"),
    "npy": ("a NumPy array", "give weights of PyTorch, ONNX, Keras or Caffe"),
    "gzip": ("compressed (gzip)", "unpack it"),
    "text": ("a text file", "give the file of the weights"),
}
_FORMATS = {
    "safetensors": "pytorch",
    "pytorch": "pytorch",
    "onnx": "onnx",
    "hdf5": "keras",
    "keras": "keras",
    "text": "keras",  # model.json
    "caffe": "caffe",
}
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"\x93NUMPY": "npy",
    b"\x1f\x8b": "gzip",
    b"version https://git-lfs": "lfs",
    b"PK\x03\x04": "zip",
    b"\x80\x02": "pytorch",  # a pickle
}


def check(path: Path, *accepted: str) -> str:
    """What a file is by its first bytes, whatever it is called.

    Args:
      accepted: which of `_KINDS` it may be.

    Returns:
      one of `accepted`, or '' where nothing is known by its first bytes.

    Raises:
      ValueError: it is empty, larger than any net of this family, or of another kind.
    """
    size = path.stat().st_size
    if not size:
        raise ValueError(f"{path} is empty")
    if size > LARGEST:
        raise ValueError(f"{path} has {size} bytes, more than any net of this family")
    kind = _kind(path)
    if kind and kind not in accepted:
        what, advice = _KINDS[kind]
        raise ValueError(f"{path} is {what}: {advice}")
    return kind


def format_of(path: Path) -> str:
    """The format, as --format has it, of a file of weights by its first bytes.

    Raises:
      ValueError: it is empty or of another kind, or nothing is known by its first bytes.
    """
    kind = check(path, *_FORMATS)
    if not kind:
        formats = "|".join(dict.fromkeys(_FORMATS.values()))
        raise ValueError(f"{path} does not say what format it has: --format={formats}")
    return _FORMATS[kind]


def beside(folder: Path, name: str, what: str) -> Path:
    """A plain file in the folder of the file that says that `what` lies in it.

    Raises:
      ValueError: it is not there, a link or no plain file, or the name leads anywhere else.
    """
    if name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
        raise ValueError(
            f"{what} lies in the file {name!r}: only files in the model's own folder are read"
        )
    path = folder / name
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        raise ValueError(f"{what} lies in {name}, which must be beside the model") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{what} lies in {name}, which is a link or no plain file")
    return path


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(512)
    if _is_safetensors(start, path.stat().st_size):
        return "safetensors"
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return _kind_of_zip(path) if kind == "zip" else kind
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:9].lower() == b"<!doctype" or text[:5].lower() == b"<html":
        return "html"
    # The first fields of the two messages: ModelProto.ir_version, then a field of bytes or another
    # number; NetParameter.name.
    if len(start) > 2 and start[0] == 0x08 and 3 <= start[1] < 32 and start[2] & 7 in (0, 2):
        return "onnx"
    if len(start) > 1 and start[0] == 0x0A and start[2 : 2 + start[1]].isascii() and 0 in start:
        return "caffe"
    return "text" if _is_text(start) else ""


def _is_safetensors(start: bytes, size: int) -> bool:
    return start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= size - 8


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in start)


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return ""  # its reader says what is wrong
    if "model.weights.h5" in names:
        return "keras"
    if any("/code/" in name for name in names):
        return "torchscript"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "pytorch"


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turns whatever a parser makes of a broken file into one ValueError; the cause stays chained.

    A ValueError of our own code is taken over as it is, after the file's name.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        reason = lines[0][:300] if type(error) is ValueError else _named(error, lines[0])
        raise ValueError(f"{path}: {reason} ({what})") from error


def _named(error: Exception, line: str) -> str:
    return f"it cannot be read: {type(error).__name__}: {line[:200]}"
