"""Photos of one kind of object, alike in size and pose, with the places of its parts (Fig. 8)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zfnet_jax.data import decode, pictures

LANDMARKS = "landmarks.json"


@dataclasses.dataclass(frozen=True)
class PartPhotos:
    """N photos, each cut to the square of its object, so that all objects have one size.

    Attributes:
      images: [N, S, S, 3] uint8.
      keys: the N names of the photos.
      boxes: [N, 4] int, where the object is: (top, left, bottom, right), pixels, half-open.
      parts: name -> [N, 2] float, the middle of the part: (row, column), pixels.
    """

    images: np.ndarray
    keys: tuple[str, ...]
    boxes: np.ndarray
    parts: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def fingerprint(self) -> str:
        """Short digest of images, boxes and parts."""
        digest = hashlib.sha256(self.images.tobytes() + self.boxes.astype(np.int64).tobytes())
        for name, centres in self.parts.items():
            digest.update(
                name.encode(errors="surrogatepass") + centres.astype(np.float64).tobytes()
            )
        return digest.hexdigest()[:16]


def read_photos(folder: str | Path, parts: Sequence[str], size: int) -> PartPhotos:
    """Reads a folder of photos with a landmarks.json.

    It says of every photo, in pixels (x, y) from its top left corner:

        {"images": {"FILE": {"face_box": [x0, y0, side], "right_eye": [x, y], ...}, ...}}

    and may give the photo's "size" [width, height], which is then compared. Each photo is cut to
    its face box, a square, and resized.

    Args:
      folder: of the photos.
      parts: names of the landmarks to take.
      size: S, pixels.

    Raises:
      FileNotFoundError: there is no landmarks.json.
      ValueError: it is not as above; a photo cannot be read, has no landmarks or another size; a
        box leaves its photo; a part lies outside its box; there are fewer than two photos.
    """
    folder = Path(folder)
    path = folder / LANDMARKS
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: it says where the parts of each photo are")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["images"]
        records = dict(sorted(records.items()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is not {{"images": {{FILE: ...}}}}: {error!r}') from error
    unknown = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.name.lower().endswith(decode.EXTENSIONS) and entry.name not in records
    )
    if unknown:
        raise ValueError(f"{path} does not mention {', '.join(unknown)}: add or remove the photos")
    found = [_read_photo(folder, name, record, parts, size) for name, record in records.items()]
    return _gather(str(folder), found, list(records), parts)


def draw_pictures(class_name: str, parts: Sequence[str], count: int, size: int) -> PartPhotos:
    """Draws built-in pictures of a class, each cut to the smallest square around its object.

    Their seeds are 1, 3, 5, ...: no run trains on odd ones.

    Raises:
      ValueError: there is no such class, a picture lacks a part, or `count` is below two.
    """
    found, keys = [], []
    for seed in range(1, 2 * count, 2):
        # Drawn larger than needed, since the object is cut out of it.
        picture = pictures.draw(class_name, seed, 2 * size)
        keys.append(f"{class_name}/{seed}")
        for name in parts:
            if name not in picture.parts:
                there = ", ".join(sorted(picture.parts))
                raise ValueError(f"the picture {keys[-1]} has no part {name!r}, only {there}")
        rows, columns = (np.flatnonzero(picture.mask.any(axis=axis)) for axis in (1, 0))
        box = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
        side = int(max(box[2] - box[0], box[3] - box[1]))
        corner = np.clip((box[:2] + box[2:] - side) // 2, 0, 2 * size - side)
        middles = {name: np.mean(np.reshape(picture.parts[name], (2, 2)), 0) for name in parts}
        found.append(
            _cut(Image.fromarray(picture.image), corner, side, box, middles, size, keys[-1])
        )
    return _gather(f"pictures of {class_name}", found, keys, parts)


_Cut = tuple[np.ndarray, np.ndarray, list[np.ndarray]]  # image, box, middles of the parts


def _read_photo(folder: Path, name: str, record: Any, parts: Sequence[str], size: int) -> _Cut:
    where = f"{folder / LANDMARKS}: {name}"
    left, top, side = _numbers(where, record, "face_box", 3)
    middles = {part: np.array(_numbers(where, record, part, 2)) for part in parts}
    try:
        photo = decode.read(folder / name)
    except decode.UnreadablePhotoError as error:
        raise ValueError(f"cannot read the photo {folder / name}: {error}") from error
    width, height = photo.size
    if "size" in record and tuple(_numbers(where, record, "size", 2)) != photo.size:
        raise ValueError(f"{where} has size {record['size']}, but the photo {[width, height]}")
    if side < 1 or left < 0 or top < 0 or left + side > width or top + side > height:
        raise ValueError(
            f"{where}: face_box {record['face_box']} (left, top, side) leaves the photo of"
            f" {width} x {height} pixels"
        )
    # Landmarks name pixels, whose middles are half a pixel further.
    middles = {part: middle + 0.5 for part, middle in middles.items()}
    box = np.array([top, left, top + side, left + side])
    return _cut(photo, np.array([top, left]), side, box, middles, size, where)


def _numbers(where: str, record: Any, field: str, count: int) -> list[float]:
    if not isinstance(record, dict) or field not in record:
        there = ", ".join(record) if isinstance(record, dict) else repr(record)
        raise ValueError(f"{where} has no {field!r}, only {there}")
    try:
        values = np.asarray(record[field], np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"{where}: {field} must be {count} numbers, got {record[field]!r}")
    return values.tolist()


def _cut(
    photo: Image.Image,
    corner: np.ndarray,
    side: float,
    box: np.ndarray,
    middles: dict[str, np.ndarray],
    size: int,
    where: str,
) -> _Cut:
    """Cuts out a square and resizes it to S; the object's box [4] and parts (x, y) go with it."""
    top, left = corner
    square = (float(left), float(top), float(left + side), float(top + side))
    image = photo.resize((size, size), Image.Resampling.BICUBIC, box=square)
    scale = size / side
    low = np.floor((box[:2] - corner) * scale + 1e-6)
    high = np.ceil((box[2:] - corner) * scale - 1e-6)
    places = []
    for name, (x, y) in middles.items():
        if not (box[0] <= y < box[2] and box[1] <= x < box[3]):
            raise ValueError(f"{where}: {name} at x {x:g}, y {y:g} lies outside the object's box")
        places.append((np.array([y, x]) - corner) * scale)
    return np.asarray(image), np.clip([*low, *high], 0, size).astype(int), places


def _gather(where: str, found: list[_Cut], keys: list[str], parts: Sequence[str]) -> PartPhotos:
    if len(found) < 2:
        raise ValueError(f"{where}: {len(found)} photos, but correspondence needs at least two")
    images, boxes, middles = zip(*found)
    return PartPhotos(
        images=np.stack(images),
        keys=tuple(keys),
        boxes=np.stack(boxes),
        parts=dict(zip(parts, np.moveaxis(np.array(middles), 1, 0))),
    )
