"""Encoded photos to the square uint8 images of the paper (Section 3), with Pillow.

Where simplejpeg is installed it decodes plain JPEGs: the same library below it, the same pixels, in
less than half of the time (docs/speed.md).

Every source of encoded photos passes through here, so a photo gives the same pixels whether it
comes from a folder or from TFDS, prepared beforehand or streamed.
"""

from __future__ import annotations

import errno
import functools
import importlib.util
import io
import stat
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, ImageOps, features

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")

# The system's errors that are a photo's own: it is not there, a circle of links, not ours to read.
_OF_THE_FILE = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM),
)

# What the pixels depend on beside the photo itself: kept in every manifest.
DECODER = {
    "geometry": "smallest side resized, centre square",
    "filter": "bicubic, antialiased",
    "pillow": PIL.__version__,
    "libjpeg": features.version("jpg"),
}
if importlib.util.find_spec("simplejpeg"):  # it has a libjpeg of its own
    DECODER["simplejpeg"] = metadata.version("simplejpeg")


class UnreadablePhotoError(ValueError):
    """The bytes are not a whole photo in one of `FORMATS`; the message is the reason."""


def read(path: Path) -> Image.Image:
    """Reads and decodes the photo in a file, see `decode`.

    Raises:
      UnreadablePhotoError: as `decode`, and where there is no such file or it may not be read.
      OSError: the disk, its server or the system fails, which says nothing of the photo.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for without end
            raise UnreadablePhotoError("not a file")
        data = path.read_bytes()
    except OSError as error:
        if error.errno not in _OF_THE_FILE:
            raise
        raise UnreadablePhotoError(f"{type(error).__name__}: {error.strerror or error}") from error
    return decode(data)


def decode(data: bytes) -> Image.Image:
    """Decodes one photo to an upright 8-bit RGB image.

    Grey, palette, CMYK and 16-bit photos are converted, transparency is laid on white, the EXIF
    orientation is applied, and of an animation the first frame is taken. Pixels are always decoded
    at full size (no JPEG draft mode), so that they do not depend on the size asked for later.

    Raises:
      UnreadablePhotoError: empty, truncated, not a photo, or beyond Pillow's decompression limit.
    """
    if not data:
        raise UnreadablePhotoError("empty file")
    if plain := _plain_jpeg(data):
        return plain
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
        return _to_rgb(_upright(image))
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadablePhotoError("not a JPEG, PNG, WebP or BMP photo") from None
    except Exception as error:  # broken files make Pillow raise nearly anything
        raise UnreadablePhotoError(f"{type(error).__name__}: {error}") from error


def centre_square(image: Image.Image, size: int) -> np.ndarray:
    """Resizes the smallest side to `size` and cuts the centre square: uint8 `[size, size, 3]`."""
    width, height = image.size
    short = min(width, height)
    # Both sides of the resized photo, and the crop's corner in it, in whole pixels ...
    resized = [max(size, round(side * size / short)) for side in (width, height)]
    corner = [(side - size) // 2 for side in resized]
    # ... mapped back to the photo, so that only the square itself is resampled.
    scale = [side / new for side, new in zip((width, height), resized)]
    left, top = (c * s for c, s in zip(corner, scale))
    right, bottom = ((c + size) * s for c, s in zip(corner, scale))
    # Float rounding must not leave the photo.
    box = (left, top, min(right, width), min(bottom, height))
    square = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(square, dtype=np.uint8)


def _plain_jpeg(data: bytes) -> Image.Image | None:
    """An upright JPEG of three colours or grey, without a flaw; None of anything else, on which
    Pillow has the last word."""
    fast = _simplejpeg()
    # EXIF and XMP may hold an orientation.
    if not fast or not data.startswith(b"\xff\xd8") or b"Exif\0" in data or b"ns.adobe" in data:
        return None
    try:
        height, width, colours, _ = fast.decode_jpeg_header(data)
        most = Image.MAX_IMAGE_PIXELS
        if colours not in ("YCbCr", "Gray") or (most and height * width > most):
            return None
        return Image.fromarray(fast.decode_jpeg(data))
    except ValueError:
        return None


@functools.cache
def _simplejpeg() -> Any:
    if not importlib.util.find_spec("simplejpeg"):
        return None
    import simplejpeg

    return simplejpeg


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block says nothing of the orientation; the pixels are whole
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: the high byte, as Pillow does for 16-bit colour
        levels = np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8
        image = Image.fromarray(levels.astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
