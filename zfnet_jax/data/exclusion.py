"""Photos that training leaves out, such as those that another data set holds too.

The file is JSON with a list `keys`, as `python -m scripts.overlap` writes it: names of photos of
the training split, as its keys.json has them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from zfnet_jax.data.images import Split

_NAMED = 5  # keys named in an error message


class ExcludingSplit:
    """A split without some of its pictures, with the same interface as `splits.Split`.

    The per-pixel mean stays that of all pictures. The fingerprint tells how many are left out and
    which, as '<fingerprint>-less-<count>-<digest>'.

    Attributes:
      left_out: how many pictures are left out.
    """

    def __init__(self, split: Split, left_out: np.ndarray):
        """`left_out`: rows of `split`, in ascending order."""
        self._split = split
        self._rows = np.delete(np.arange(len(split)), left_out)
        names = json.dumps([split.keys[row] for row in left_out]).encode()
        self.left_out = len(left_out)
        self.labels = split.labels[self._rows]
        self.keys = tuple(split.keys[row] for row in self._rows)
        self.class_names = split.class_names
        self.mean = split.mean
        self.image_size = split.image_size
        digest = hashlib.sha256(names).hexdigest()[:8]
        self.fingerprint = f"{split.fingerprint}-less-{self.left_out}-{digest}"

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """The pictures at `index` `[b]`: uint8 `[b, S, S, 3]`."""
        return self._split.rows(self._rows[index])


def exclude(split: Split, path: str | Path) -> Split:
    """A split without the pictures that an exclusion file names; itself if that names none.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no exclusion file, names pictures that the split does not have, or all that
        it has.
    """
    keys = read_keys(path)
    there = set(split.keys)
    missing = [key for key in keys if key not in there]
    if missing:
        more = ", ..." if len(missing) > _NAMED else ""
        raise ValueError(
            f"{path} names {len(keys)} pictures, of which the training split has not "
            f"{len(missing)}: {', '.join(missing[:_NAMED])}{more}. Was it made from other photos?"
        )
    names = set(keys)
    left_out = np.array([row for row, key in enumerate(split.keys) if key in names], np.int64)
    if len(left_out) == len(split):
        raise ValueError(f"{path} leaves no training picture")
    return ExcludingSplit(split, left_out) if len(left_out) else split


def read_keys(path: str | Path) -> list[str]:
    """The names in an exclusion file. Errors as in `exclude`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"config.data.exclude: no file {str(path)!r}")
    try:
        keys = json.loads(path.read_text(encoding="utf-8"))["keys"]
    except (ValueError, KeyError, TypeError):
        keys = None
    if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys):
        raise ValueError(
            f'{path} is no exclusion file: it must be JSON such as {{"keys": ["cat/1.jpg"]}}'
        )
    return keys
