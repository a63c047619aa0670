"""Every kind of photo becomes the upright RGB square that the paper's geometry asks for."""

from __future__ import annotations

import errno
import io
import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zfnet_jax.data.decode import UnreadablePhotoError, centre_square, decode, read


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """A photo-like ramp that survives JPEG with small errors."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * y / height, 255 * x / width, 0 * x + 90], -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})]
)
def test_lossless_rgb_is_exact(kind, options):
    pixels = noise(11, 17, 3)
    assert np.array_equal(decode(encode(Image.fromarray(pixels), kind, **options)), pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_rgb_is_close(kind):
    pixels = smooth(40, 60)
    decoded = np.asarray(decode(encode(Image.fromarray(pixels), kind, quality=95))).astype(int)
    assert np.abs(decoded - pixels).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_grey_is_repeated_over_the_channels(kind):
    pixels = noise(9, 12)
    decoded = np.asarray(decode(encode(Image.fromarray(pixels), kind)))
    assert np.array_equal(decoded, np.repeat(pixels[..., None], 3, -1))


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": "4:4:4"}),
        ("RGB", {"subsampling": "4:2:2", "progressive": True}),
        ("RGB", {"subsampling": "4:2:0", "quality": 30}),
        ("L", {}),
        ("RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
        ("CMYK", {}),
    ],
)
def test_jpegs_are_those_of_pillow_to_the_last_bit(mode, options):
    """Whichever package decodes them here."""
    photo = Image.fromarray(noise(37, 53, 3) // 4 + smooth(37, 53) // 2).convert(mode)
    data = encode(photo, "JPEG", **options)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    np.testing.assert_array_equal(decode(data), expected)


def test_grey_jpeg():
    decoded = np.asarray(decode(encode(Image.new("L", (20, 10), 77), "JPEG")))
    assert decoded.shape == (10, 20, 3)
    assert np.abs(decoded.astype(int) - 77).max() <= 1


def test_one_bit_png():
    pixels = noise(8, 8) > 127
    decoded = np.asarray(decode(encode(Image.fromarray(pixels), "PNG")))
    assert np.array_equal(decoded[..., 0], pixels * np.uint8(255))


def test_palette_png():
    pixels = noise(6, 7, 3) // 128 * 255  # eight colours: the palette is exact
    indexed = Image.fromarray(pixels).quantize(8)
    assert indexed.mode == "P"
    assert np.array_equal(decode(encode(indexed, "PNG")), pixels)


@pytest.mark.parametrize(
    ("level", "expected"), [(0, 0), (255, 0), (256, 1), (40000, 156), (65535, 255)]
)
def test_16_bit_grey_png_keeps_the_high_byte(level, expected):
    image = Image.fromarray(np.full((5, 6), level, np.uint16))
    data = encode(image, "PNG")
    assert data[24] == 16  # the PNG header's bit depth
    assert np.all(np.asarray(decode(data)) == expected)


def test_alpha_is_laid_on_white():
    pixels = noise(13, 10, 4)
    colour, alpha = pixels[..., :3].astype(float), pixels[..., 3:] / 255
    expected = alpha * colour + (1 - alpha) * 255
    decoded = np.asarray(decode(encode(Image.fromarray(pixels), "PNG")))
    assert np.abs(decoded - expected).max() <= 1


def test_grey_alpha_is_laid_on_white():
    pixels = np.zeros((4, 4, 2), np.uint8)
    pixels[:2, :, 1] = 255  # the upper half is opaque black, the lower transparent
    decoded = np.asarray(decode(encode(Image.fromarray(pixels), "PNG")))
    assert np.all(decoded[:2] == 0)
    assert np.all(decoded[2:] == 255)


def test_transparent_palette_entry_is_laid_on_white():
    indexed = Image.frombytes("P", (2, 1), bytes([0, 1]))
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    decoded = np.asarray(decode(encode(indexed, "PNG", transparency=0)))
    assert decoded.tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_cmyk_jpeg():
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    red, green, blue = np.asarray(decode(encode(ink, "JPEG", quality=95)))[8, 8].tolist()
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    upright = noise(5, 8, 3)
    # How a camera stores the upright photo under each orientation (EXIF 2.3, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    assert np.array_equal(decode(data), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_lose_the_photo():
    plain = encode(Image.fromarray(smooth(16, 24)), "JPEG")
    block = b"Exif\0\0II*\0\xff\xff\xff\xff"  # the directory's offset points beyond the block
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    assert np.array_equal(decode(data), decode(plain))


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.all(np.asarray(decode(data)) == (255, 0, 0))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"not a photo at all", "not a JPEG, PNG, WebP or BMP photo"),
        (encode(Image.fromarray(noise(64, 64, 3)), "JPEG")[:-900], "truncated"),
        (encode(Image.fromarray(noise(64, 64, 3)), "PNG")[:3000], "truncated"),
        (encode(Image.fromarray(noise(64, 64, 3)), "WEBP")[:700], "OSError"),
        (encode(Image.fromarray(noise(64, 64, 3)), "BMP")[:5000], "truncated"),
        (encode(Image.fromarray(noise(64, 64, 3)), "GIF"), "not a JPEG, PNG, WebP or BMP photo"),
    ],
    ids=["empty", "text", "jpeg", "png", "webp", "bmp", "other format"],
)
def test_unreadable_photos_say_why(data, reason):
    with pytest.raises(UnreadablePhotoError, match=reason):
        decode(data)


def test_decompression_bomb_is_unreadable(monkeypatch):
    data = encode(Image.fromarray(noise(30, 30, 3)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadablePhotoError, match="DecompressionBomb"):
        decode(data)


def cubic(x: float) -> float:
    """The Catmull-Rom-like kernel with a = -1/2 (Keys 1981), the usual meaning of 'bicubic'."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def resize_rows(pixels: np.ndarray, size: int) -> np.ndarray:
    """Antialiased bicubic resize of axis 0 from its definition, float64."""
    scale = len(pixels) / size
    width = max(scale, 1.0)  # the kernel is stretched when shrinking: that is the antialiasing
    rows = []
    for row in range(size):
        centre = (row + 0.5) * scale
        first = max(0, math.floor(centre - 2 * width))
        last = min(len(pixels), math.ceil(centre + 2 * width))
        weights = np.array([cubic((k + 0.5 - centre) / width) for k in range(first, last)])
        rows.append(np.tensordot(weights / weights.sum(), pixels[first:last], 1))
    return np.stack(rows)


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (37, 113), (20, 33), (48, 48), (32, 100)])
def test_centre_square_is_resize_then_crop(shape):
    size = 32
    pixels = noise(*shape, 3, seed=1) // 2 + 64  # no clipping, so the order of the axes is free
    height, width = (max(size, round(side * size / min(shape))) for side in shape)
    resized = resize_rows(pixels.astype(float), height)
    resized = resize_rows(resized.transpose(1, 0, 2), width).transpose(1, 0, 2)
    top, left = (height - size) // 2, (width - size) // 2
    expected = resized[top : top + size, left : left + size]

    square = centre_square(Image.fromarray(pixels), size)

    assert square.shape == (size, size, 3)
    assert square.dtype == np.uint8
    assert np.abs(square - expected).max() <= 2  # 8-bit rounding between the two passes
    assert np.abs(square - expected).mean() < 0.5


def test_centre_square_of_the_right_size_copies_pixels():
    pixels = noise(40, 61, 3)
    assert np.array_equal(centre_square(Image.fromarray(pixels), 40), pixels[:, 10:50])


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 3)])
def test_extreme_shapes(shape):
    image = Image.fromarray(np.full((*shape, 3), 9, np.uint8))
    assert np.all(centre_square(image, 24) == 9)
    assert centre_square(image, 24).shape == (24, 24, 3)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM])
def test_a_failing_disk_is_no_reason_to_leave_a_photo_out(tmp_path, monkeypatch, number):
    """A preparation stops, and goes on when the disk is back: a photo left out would stay out."""
    (tmp_path / "a.png").write_bytes(encode(Image.fromarray(noise(30, 30, 3)), "PNG"))

    def read_bytes(path):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(OSError, match=r"\[Errno .*a\.png"):
        read(tmp_path / "a.png")
