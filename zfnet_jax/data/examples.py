"""What a source of pictures is, and how one of its examples becomes pixels.

A source is an ordered list of examples. The order depends on nothing but the source itself, so
the position of an example names it for good. Examples are cheap descriptions; `load` makes the
pixels, in worker processes or threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zfnet_jax.data import pictures
from zfnet_jax.data.decode import centre_square, decode, read


@dataclass(frozen=True)
class PictureRecipe:
    """What to draw: a class of `pictures` and the seed of one picture."""

    class_name: str
    seed: int


@dataclass(frozen=True)
class Example:
    """One picture of a source; `payload` is a file, encoded bytes, or what to draw."""

    key: str
    label: int
    payload: Path | bytes | PictureRecipe


class Source(Protocol):
    """An ordered set of labelled pictures."""

    class_names: tuple[str, ...]
    ignored: tuple[dict[str, str], ...]
    """Files that are no candidates at all, as {'key', 'reason'}; they go into the report."""
    state: str
    """Changes with what `describe` does not see, such as files written anew with the same size: a
    preparation goes on only where it has not changed. Empty where there is no such thing."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Example: ...

    def examples(self, start: int = 0) -> Iterator[Example]:
        """All examples in order, from position `start` on."""
        ...

    def notes(self) -> list[str]:
        """What who prepares it should know, one line each."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON-able; two sources with equal descriptions hold the same pictures."""
        ...


def load(payload: Path | bytes | PictureRecipe, image_size: int) -> np.ndarray:
    """Pixels of one example, uint8 `[image_size, image_size, 3]`.

    Raises:
      UnreadablePhotoError: the photo cannot be read or decoded.
    """
    if isinstance(payload, PictureRecipe):
        return pictures.draw(payload.class_name, payload.seed, image_size).image
    photo = read(payload) if isinstance(payload, Path) else decode(payload)
    return centre_square(photo, image_size)
