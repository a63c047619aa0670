"""What people drop on the page: photos by the rule of `prepare_data`, anything else one line."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from tests.data.test_bad_photos import bomb
from tests.explore.conftest import picture, png
from zfnet_jax.data import decode
from zfnet_jax.explore import photos
from zfnet_jax.explore.errors import NotThereError
from zfnet_jax.explore.photos import Photos

RGB = Image.effect_noise((40, 50), 60).convert("RGB")
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
NO_PHOTO = "not a JPEG, PNG, WebP or BMP photo"


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(RGB, "JPEG", exif=exif)


def profiled() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return encoded(RGB, "JPEG", icc_profile=profile.tobytes())


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def wide() -> bytes:
    """A BMP whose header says a billion pixels a row."""
    data = bytearray(encoded(Image.new("RGB", (4, 4)), "BMP"))
    data[18:22] = struct.pack("<i", 2**30)
    return bytes(data)


def text_bomb() -> bytes:
    """A PNG with a comment that unpacks to 10 MB."""
    said = PngImagePlugin.PngInfo()
    said.add_text("comment", "x" * 10**7, zip=True)
    return encoded(RGB, "PNG", pnginfo=said)


def deep() -> bytes:
    return encoded(Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)), "PNG")


REFUSED: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "bomb": (bomb, 413, "more than 50 million pixels"),
    "wide": (wide, 413, "more than 50 million pixels"),
    "text bomb": (text_bomb, 415, "cannot read the photo"),
    "truncated": (lambda: encoded(RGB, "JPEG")[:-200], 415, "truncated"),
    "half a PNG": (lambda: encoded(RGB, "PNG")[:300], 415, "cannot read the photo"),
    "html": (lambda: b"<!doctype html><script>alert(1)</script>", 415, NO_PHOTO),
    "svg": (lambda: SVG, 415, NO_PHOTO),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", 415, NO_PHOTO),
    "empty": (lambda: b"", 415, "empty file"),
    "gif": (lambda: animated("GIF"), 415, NO_PHOTO),
    "tiff": (lambda: encoded(RGB, "TIFF"), 415, NO_PHOTO),
    "noise": (lambda: np.random.default_rng(0).bytes(9999), 415, NO_PHOTO),
    "header alone": (lambda: encoded(RGB, "PNG")[:33], 415, "cannot read the photo"),
    "too many bytes": (lambda: b"\xff" * (photos.MOST_BYTES + 1), 413, "more than 32 MB"),
}
TAKEN: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(RGB, "JPEG"),
    "cmyk": lambda: encoded(RGB.convert("CMYK"), "JPEG"),
    "grey": lambda: encoded(RGB.convert("L"), "JPEG"),
    "animated webp": lambda: animated("WEBP"),
    "animated png": lambda: animated("PNG"),
    "1 x 1": lambda: encoded(RGB.resize((1, 1)), "PNG"),
    "1 x 3000": lambda: encoded(RGB.resize((1, 3000)), "PNG"),
    "turned": turned,
    "16 bits": deep,
    "palette": lambda: encoded(RGB.quantize(7), "PNG"),
    "alpha": lambda: encoded(RGB.convert("RGBA").rotate(30), "PNG"),
    "profile": profiled,
    "bmp": lambda: encoded(RGB, "BMP"),
}


def files(workdir: Path) -> set[Path]:
    return set(workdir.rglob("*"))


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_upload_is_one_line(kind, client, server, workdir):
    make, status, reason = REFUSED[kind]
    before = files(workdir)
    kept = server.explorer.photos
    there = len(kept)
    answer = client.post("/api/photos", content=make(), headers={"content-type": "image/png"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert reason in error
    assert len(error.splitlines()) == 1
    assert not re.search("<|Traceback", error)
    assert len(kept) == there
    assert client.get("/api/nets").status_code == 200
    assert files(workdir) == before


@pytest.mark.parametrize("kind", TAKEN)
def test_an_odd_photo_is_decoded_as_prepare_data_does(kind, client, get, workdir):
    data, before = TAKEN[kind](), files(workdir)
    photo = client.post("/api/photos", content=data).json()["photo"]
    shown = picture(get("/api/photo.png", photo=photo, whole=1))
    np.testing.assert_array_equal(shown, decode.centre_square(decode.decode(data), 64))
    assert files(workdir) == before


def test_photos_are_few_in_memory(face, monkeypatch):
    monkeypatch.setattr(photos, "_KEPT_BYTES", 3 * face.nbytes)
    kept = Photos([64])
    ids = [kept.add(png(face ^ n)) for n in range(5)]
    assert len(kept) == 3
    np.testing.assert_array_equal(kept.square(ids[-1], 64), face ^ 4)
    with pytest.raises(NotThereError, match="is not here any more: send it again"):
        kept.square(ids[0], 64)


def test_a_photo_is_kept_for_nets_of_all_sizes(face):
    kept = Photos([64, 32])
    photo = kept.add(png(face))
    np.testing.assert_array_equal(kept.square(photo, 64), face)
    assert kept.square(photo, 32).shape == (32, 32, 3)
    assert kept.put(face) == photo
