"""Photos that cannot be read are named and left out, and harm no other."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.photo_folders import SIZE, contents, run, run_split
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.sources import FolderSource
from zfnet_jax.runs.run import load_photo


def bomb() -> bytes:
    """A PNG of 100 bytes that says it has 20,000 x 20,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999))
    return b"\x89PNG\r\n\x1a\n" + image + chunk(b"IEND", b"")


def bad_photos(folder: Path) -> dict[str, str]:
    """Every kind of bad photo in a class folder: the reason to be given, by name."""
    jpeg = encoded(Image.effect_noise((40, 50), 60).convert("RGB"), "JPEG")
    frames = [Image.new("P", (9, 9), colour) for colour in (1, 2)]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    tiff = encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF")
    files = {
        "truncated.jpg": (jpeg[:-200], "truncated"),
        "zero.jpg": (b"", "empty file"),
        "text.png": (b"no photo at all", "not a JPEG, PNG, WebP or BMP photo"),
        "animated.jpg": (gif, "not a JPEG, PNG, WebP or BMP photo"),
        "animated.gif": (gif, "extension is not one of a photo"),
        "nan.jpg": (tiff, "not a JPEG, PNG, WebP or BMP photo"),
        "nan.tif": (tiff, "extension is not one of a photo"),
        "wrong.txt": (jpeg, "extension is not one of a photo"),
        "bomb.png": (bomb(), "DecompressionBombError"),
        "line\nbreak <script>.jpg": (b"<script>", "not a JPEG, PNG, WebP or BMP photo"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    (folder / "loop.jpg").symlink_to("pool.jpg")
    (folder / "pool.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    reasons = {name: reason for name, (_, reason) in files.items()}
    return reasons | {"loop.jpg": "OSError", "pool.jpg": "OSError", "pipe.jpg": "not a file"}


def strange_photos(folder: Path) -> None:
    """Photos that look odd and are used."""
    rgb = Image.effect_noise((40, 50), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, data in {
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "deep.png": encoded(
            Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)), "PNG"
        ),
        "palette.png": encoded(rgb.quantize(7), "PNG"),
        "turned.jpg": encoded(rgb, "JPEG", exif=exif),
        "pixel.png": encoded(rgb.resize((1, 1)), "PNG"),
        "a jpeg called.png": encoded(rgb, "JPEG"),
        "line\nbreak <b>.jpg": encoded(rgb, "JPEG"),
    }.items():
        (folder / name).write_bytes(data)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_unreadable_photos_are_named_and_an_error_above_the_share(folder_data, tmp_path):
    train = tmp_path / "train"
    (train / "a" / "002.png").write_bytes((train / "a" / "002.png").read_bytes()[:-300])
    (train / "b" / "empty.jpg").touch()
    (train / "b" / "text.jpg").write_text("not a photo")
    (train / "b" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (train / "b" / "notes.txt").write_text("no photo, and says so")
    (train / "b" / ".hidden.jpg").write_text("ignored")
    (train / "readme.md").write_text("no class")
    names = ["a/002.png", "b/empty.jpg", "b/text.jpg", "b/gone.jpg"]

    with pytest.raises(ValueError, match="4 of 12 photos are unreadable") as error:
        run(folder_data)
    assert all(name in str(error.value) for name in names)
    assert not (Path(folder_data.prepared_dir) / "train").exists()

    folder_data.max_unreadable = 0.4
    assert run(folder_data)["train"]["unreadable"] == 4
    report = json.loads((Path(folder_data.prepared_dir) / "train" / "skipped.json").read_text())
    assert {entry["key"] for entry in report["unreadable"]} == set(names)
    assert all(entry["reason"] for entry in report["unreadable"])
    assert {entry["key"] for entry in report["ignored"]} == {"b/notes.txt", "readme.md"}
    split = open_prepared(folder_data.prepared_dir, "train")
    assert len(split) == 8
    assert not set(split.keys) & set(names)


def test_among_every_kind_of_bad_photo_a_thousand_good_ones_are_as_without_them(tmp_path):
    rng = np.random.default_rng(0)
    clean, dirty = tmp_path / "clean" / "a", tmp_path / "dirty" / "a"
    clean.mkdir(parents=True)
    for number in range(1000):
        pixels = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)
        (clean / f"{number:04d}.bmp").write_bytes(encoded(Image.fromarray(pixels), "BMP"))
    strange_photos(clean)
    shutil.copytree(clean, dirty)
    reasons = bad_photos(dirty)
    (tmp_path / "dirty" / "circle").symlink_to("circle")

    expected = run_split(FolderSource(str(clean.parent)), tmp_path / "expected")
    found = run_split(FolderSource(str(dirty.parent)), tmp_path / "found", max_unreadable=0.1)

    assert expected["count"] == found["count"] == 1007
    wanted = contents(tmp_path / "expected")
    for name in ("images.npy", "labels.npy", "keys.json", "mean.npy"):
        assert contents(tmp_path / "found")[name] == wanted[name], name
    skipped = json.loads((tmp_path / "found" / "skipped.json").read_text())
    listed = {entry["key"]: entry["reason"] for kind in skipped.values() for entry in kind}
    assert listed.pop("circle") == "not inside a class folder"
    assert listed.keys() == {f"a/{name}" for name in reasons}
    for name, reason in reasons.items():
        assert reason in listed[f"a/{name}"]
        if not reason.startswith("extension"):  # and so says every script that takes --image
            with pytest.raises(ValueError, match=re.escape(f"{reason}")):
                load_photo(dirty / name, SIZE)


def test_nothing_readable_is_an_error_at_any_share(tmp_path):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "x.jpg").write_text("text")
    with pytest.raises(ValueError, match="no photo is left"):
        run_split(FolderSource(str(tmp_path / "photos")), tmp_path / "out", max_unreadable=1.0)
