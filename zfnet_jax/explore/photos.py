"""The photos that people bring: bounded, decoded as training's are, and kept in memory alone."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image

from zfnet_jax.data import decode
from zfnet_jax.explore.errors import NoPhotoError, NotThereError, TooLargeError
from zfnet_jax.explore.kept import Kept

MOST_BYTES = 32 * 2**20  # of a photo's file
MOST_PIXELS = 50_000_000  # as the largest phones take; decoded they are 150 MB
_KEPT_BYTES = 64 * 2**20  # of all photos as nets see them; one at 256 pixels has 0.2 MB

Squares = Mapping[int, np.ndarray]  # [S, S, 3] uint8 by S, as nets are shown a photo


class Photos:
    """Photos as the nets take them, by id: the digest of these pixels.

    Args:
      sizes: S of the nets, see `runs.run.load_photo`.
    """

    def __init__(self, sizes: Iterable[int]) -> None:
        self._sizes = sorted(set(sizes))
        self._kept: Kept[str, Squares] = Kept(_KEPT_BYTES, _bytes_of)

    def add(self, data: bytes) -> str:
        """Decodes a photo's file by the rule of `data.decode` and keeps it; its id.

        Raises:
          TooLargeError: see MOST_BYTES, MOST_PIXELS.
          NoPhotoError: it is no whole photo, and why.
        """
        if len(data) > MOST_BYTES:
            raise TooLargeError(too_many_bytes())
        _check_pixels(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what Pillow says of odd files; they are decoded
                image = decode.decode(data)
        except decode.UnreadablePhotoError as error:
            raise NoPhotoError(f"cannot read the photo: {error}") from error
        return self._keep({size: decode.centre_square(image, size) for size in self._sizes})

    def put(self, square: np.ndarray) -> str:
        """Keeps a photo that was decoded already, [S, S, 3] uint8, resized where a net takes
        another size; its id."""
        image = Image.fromarray(square)
        return self._keep({size: decode.centre_square(image, size) for size in self._sizes})

    def square(self, photo: str, size: int) -> np.ndarray:
        """[size, size, 3] uint8 of a photo. NotThereError: it is not kept any more."""
        squares = self._kept.get(photo)
        if squares is None:
            raise NotThereError(f"photo {photo[:16]} is not here any more: send it again")
        return squares[size]

    def __len__(self) -> int:
        return len(self._kept)

    def _keep(self, squares: Squares) -> str:
        digest = hashlib.sha256()
        for size, pixels in squares.items():
            digest.update(f"{size}".encode() + pixels.tobytes())
        photo = digest.hexdigest()[:16]
        self._kept.put(photo, squares)
        return photo


def too_many_bytes() -> str:
    return f"the file has more than {MOST_BYTES // 2**20} MB, which is more than is taken"


def _check_pixels(data: bytes) -> None:
    """Refuses a photo whose header says that it has too many pixels, before any is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            width, height = Image.open(io.BytesIO(data), formats=decode.FORMATS).size
    except Image.DecompressionBombError:
        width, height = 0, 0
    except Exception:  # `decode` says what is wrong with it
        return
    if not width or width * height > MOST_PIXELS:
        size = f"{width} x {height}, " if width else ""
        raise TooLargeError(
            f"the photo has {size}more than {MOST_PIXELS // 10**6} million pixels, which is more"
            " than is taken"
        )


def _bytes_of(squares: Squares) -> int:
    return sum(pixels.nbytes for pixels in squares.values())
