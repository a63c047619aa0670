"""Photos altered as people alter them, to see which copies the search for overlap finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageEnhance
from tqdm import tqdm

from zfnet_jax.data.decode import decode
from zfnet_jax.data.photo_set import FolderSet

QUALITY = 90


def _crop(photo: Image.Image) -> Image.Image:
    x, y = (round(0.08 * side) for side in photo.size)
    return photo.crop((x, y, photo.width - x, photo.height - y))


def _half_size(photo: Image.Image) -> Image.Image:
    return photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BICUBIC)


def _brightness(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda photo: ImageEnhance.Brightness(photo).enhance(factor)


def _off_centre(photo: Image.Image) -> Image.Image:
    return photo.crop((0, 0, round(0.92 * photo.width), round(0.92 * photo.height)))


Alteration = tuple[Callable[[Image.Image], Image.Image], int]  # and the quality of its JPEG

ALTERATIONS: dict[str, Alteration] = {
    "jpeg_30": (lambda photo: photo, 30),
    "half_size": (_half_size, QUALITY),
    "crop_8_a_side": (_crop, QUALITY),
    "brighter_30": (_brightness(1.3), QUALITY),
    "darker_30": (_brightness(0.7), QUALITY),
}
# Beyond what precision and recall are judged by: all of these but darkness at once, and 8% cut off
# two sides only.
HARDER: dict[str, Alteration] = {
    "all_at_once": (lambda photo: _half_size(_crop(_brightness(1.3)(photo))), 30),
    "off_centre": (_off_centre, QUALITY),
}


def link(
    folder: str | Path, half: str, to: Path, *, most: int | None, without: Sequence[str] = ()
) -> None:
    """Makes a folder of links to photos.

    Args:
      folder: of class folders.
      half: 'all' class folders, or those of 'even' or 'odd' number.
      most: photos, evenly spread; all if None.
      without: keys of photos to leave out.
    """
    source = Path(folder).resolve()
    keys = FolderSet(source, side=1, workers=1).keys
    classes = sorted({key.split("/")[0] for key in keys})
    if half != "all":
        classes = classes[int(half == "odd") :: 2]
    keys = [key for key in keys if key.split("/")[0] in classes and key not in without]
    count = min(most or len(keys), len(keys))
    for key in (keys[i * len(keys) // count] for i in range(count)):
        (to / key).parent.mkdir(parents=True, exist_ok=True)
        (to / key).symlink_to(source / key)


def write_copies(photos: Path, folder: Path, *, progress: bool) -> None:
    """Every photo altered in each way, as JPEG: FOLDER/WAY/KEY.jpg."""
    keys = FolderSet(photos, side=1, workers=1).keys
    for key in tqdm(keys, desc="copies", unit=" photos", disable=not progress):
        photo = decode((photos / key).read_bytes())
        for name, (alter, quality) in (ALTERATIONS | HARDER).items():
            path = folder / name / f"{key}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            alter(photo).save(path, quality=quality)
