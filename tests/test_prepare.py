"""Preparation: exact, complete, the same however it is interrupted or spread over workers."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from zfnet_jax.data import partial
from zfnet_jax.data.decode import centre_square, decode
from zfnet_jax.data.prepare import prepare, prepare_split
from zfnet_jax.data.prepared import open_prepared, verify
from zfnet_jax.data.sources import FolderSource, PicturesSource, make_source
from zfnet_jax.data.splits import open_split
from zfnet_jax.run import load_photo

SIZE = 24


def save_photos(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            shape = (*rng.integers(20, 60, 2), 3)
            photo = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
            photo.save(root / name / f"{number:03d}.png")
    return root


def config(tmp_path: Path, **overrides: object) -> ConfigDict:
    folders = {split: str(tmp_path / split) for split in ("train", "validation")}
    data = ConfigDict()
    data.source = "folder"
    data.folder = folders
    data.tfds = {
        "name": "",
        "train": "train",
        "validation": "test",
        "data_dir": "",
        "manual_dir": "",
    }
    data.pictures = {
        "family": "objects",
        "train_per_class": 3,
        "validation_per_class": 2,
        "seed": 0,
    }
    data.prepared_dir = str(tmp_path / "prepared")
    data.image_size = SIZE
    data.max_unreadable = 0.0
    data.streaming = False
    data.update(overrides)
    return data


def run(data: ConfigDict, *, workers: int = 1, store_images: bool = True, overwrite: bool = False):
    return prepare(
        data, workers=workers, store_images=store_images, overwrite=overwrite, progress=False
    )


def run_split(source, folder: Path, *, workers: int = 1, max_unreadable: float = 0.0):
    return prepare_split(
        source,
        folder,
        image_size=SIZE,
        max_unreadable=max_unreadable,
        with_mean=True,
        workers=workers,
        progress=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def photos(tmp_path):
    save_photos(tmp_path / "train", {"b": 5, "a": 4}, seed=1)
    save_photos(tmp_path / "validation", {"a": 1, "b": 2}, seed=2)
    return config(tmp_path)


def test_rows_labels_keys_and_mean(photos, tmp_path):
    run(photos)
    split = open_prepared(photos.prepared_dir, "train")

    assert split.class_names == ("a", "b")
    expected_keys = [f"a/{n:03d}.png" for n in range(4)] + [f"b/{n:03d}.png" for n in range(5)]
    assert list(split.keys) == expected_keys
    assert split.labels.tolist() == [0] * 4 + [1] * 5
    expected = [
        centre_square(decode((tmp_path / "train" / k).read_bytes()), SIZE) for k in split.keys
    ]
    assert np.array_equal(split.images, expected)
    assert split.images.dtype == np.uint8
    assert split.labels.dtype == np.int32
    assert np.array_equal(split.mean, np.mean(expected, axis=0, dtype=np.float64).astype("float32"))
    assert np.array_equal(split.rows(np.array([7, 0, 7])), np.stack(expected)[[7, 0, 7]])
    assert not split.images.flags.writeable
    validation = open_prepared(photos.prepared_dir, "validation")
    assert len(validation) == 3
    assert validation.mean is None
    assert validation.fingerprint != split.fingerprint


def test_pictures_have_disjoint_seeds_and_all_classes(tmp_path):
    data = config(tmp_path, source="pictures")
    run(data)
    train, validation = (open_split(data, split) for split in ("train", "validation"))
    classes = len(train.class_names)
    assert len(train) == 3 * classes
    assert np.bincount(train.labels).tolist() == [3] * classes
    assert np.bincount(validation.labels).tolist() == [2] * classes
    assert not set(train.keys) & set(validation.keys)
    pixels = [row.tobytes() for split in (train, validation) for row in split.images]
    assert len(set(pixels)) == len(pixels)


def test_more_pictures_begin_with_the_same_ones():
    few, many = (PicturesSource("objects", "train", count, seed=3) for count in (2, 5))
    assert list(few.examples()) == list(many.examples())[: len(few)]
    other = PicturesSource("objects", "train", 2, seed=4)
    assert not {e.key for e in other.examples()} & {e.key for e in many.examples()}


def test_worker_count_does_not_matter(tmp_path):
    source = FolderSource(str(save_photos(tmp_path / "photos", {"a": 20, "b": 21})))
    (tmp_path / "photos" / "a" / "007.png").write_bytes(b"broken")
    source = FolderSource(str(tmp_path / "photos"))
    run_split(source, tmp_path / "one", workers=1, max_unreadable=0.1)
    run_split(source, tmp_path / "two", workers=2, max_unreadable=0.1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_unreadable_photos_are_named_and_an_error_above_the_share(photos, tmp_path):
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
        run(photos)
    assert all(name in str(error.value) for name in names)
    assert not (Path(photos.prepared_dir) / "train").exists()

    photos.max_unreadable = 0.4
    assert run(photos)["train"]["unreadable"] == 4
    report = json.loads((Path(photos.prepared_dir) / "train" / "skipped.json").read_text())
    assert {entry["key"] for entry in report["unreadable"]} == set(names)
    assert all(entry["reason"] for entry in report["unreadable"])
    assert {entry["key"] for entry in report["ignored"]} == {"b/notes.txt", "readme.md"}
    split = open_prepared(photos.prepared_dir, "train")
    assert len(split) == 8
    assert not set(split.keys) & set(names)


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


def test_a_source_that_ends_early_is_an_error(tmp_path):
    class Short(FolderSource):
        def examples(self, start=0):
            yield from list(super().examples(start))[:-1]

    source = Short(str(save_photos(tmp_path / "photos", {"a": 3})))
    with pytest.raises(ValueError, match="ended after 2 of its 3 pictures"):
        run_split(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stop_after", [0, 1, 4, 5, 11])
def test_resumed_after_an_exception_gives_the_same_bytes(tmp_path, monkeypatch, stop_after):
    monkeypatch.setattr(partial, "COMMIT_EVERY", 2)
    save_photos(tmp_path / "photos", {"a": 6, "b": 6})
    (tmp_path / "photos" / "a" / "001.png").write_bytes(b"broken")
    source = FolderSource(str(tmp_path / "photos"))
    run_split(source, tmp_path / "unbroken", max_unreadable=0.1)

    class Interrupted(FolderSource):
        def examples(self, start=0):
            for position in range(start, len(self)):
                if position == stop_after:
                    raise KeyboardInterrupt
                yield self[position]

    with pytest.raises(KeyboardInterrupt):
        run_split(Interrupted(str(tmp_path / "photos")), tmp_path / "broken", max_unreadable=0.1)
    assert not (tmp_path / "broken").exists()
    starts = []

    class Watched(FolderSource):
        def examples(self, start=0):
            starts.append(start)
            return super().examples(start)

    run_split(Watched(str(tmp_path / "photos")), tmp_path / "broken", max_unreadable=0.1)
    assert starts == [stop_after // 2 * 2]
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")


@pytest.mark.parametrize("cut_images", [0, 1, 5000])
@pytest.mark.parametrize("cut_journal", [0, 1, 40])
def test_torn_files_are_repaired(tmp_path, monkeypatch, cut_images, cut_journal):
    """Whatever the disk lost of both files' ends, resuming gives the same bytes."""
    monkeypatch.setattr(partial, "COMMIT_EVERY", 2)
    source = FolderSource(str(save_photos(tmp_path / "photos", {"a": 6, "b": 6})))
    run_split(source, tmp_path / "unbroken")

    class Interrupted(FolderSource):
        def examples(self, start=0):
            yield from list(super().examples(start))[:9]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_split(Interrupted(str(tmp_path / "photos")), tmp_path / "broken")
    for name, cut in (("images.npy", cut_images), ("journal.jsonl", cut_journal)):
        path = tmp_path / "broken.partial" / name
        os.truncate(path, path.stat().st_size - cut)
    run_split(source, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")


def test_killed_process_resumes_to_the_same_bytes(tmp_path):
    """SIGKILL of the real command with worker processes, then the same command again."""
    for name in ("killed", "unbroken"):
        data = config(tmp_path, source="pictures", prepared_dir=str(tmp_path / name))
        data.pictures.update(train_per_class=20, validation_per_class=1)
        (tmp_path / f"{name}.py").write_text(
            "from ml_collections import ConfigDict\n"
            f"def get_config(): return ConfigDict({{'data': {data.to_dict()!r}}})\n"
        )
    program = (
        "import runpy; from zfnet_jax.data import partial; partial.COMMIT_EVERY = 16;"
        "runpy.run_module('scripts.prepare_data', run_name='__main__')"
    )

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", program, "--workers=2", f"--config={tmp_path / name}.py"],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    journal = tmp_path / "killed" / "train.partial" / "journal.jsonl"
    with start("killed") as process:
        deadline = time.monotonic() + 60
        while not (journal.exists() and journal.stat().st_size) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert 0 < len(journal.read_bytes().splitlines()) < 200
    assert not (tmp_path / "killed" / "train").exists()

    for name in ("killed", "unbroken"):
        with start(name) as process:
            output, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
        assert "200 images of 10 classes, 0 unreadable" in output.decode()
    assert contents(tmp_path / "killed" / "train") == contents(tmp_path / "unbroken" / "train")


def test_unfinished_preparation_of_another_size_is_refused(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "COMMIT_EVERY", 2)
    (tmp_path / "train" / "b" / "bad.png").write_text("bad")
    with pytest.raises(ValueError, match="unreadable"):
        run(photos)
    photos.update(image_size=SIZE + 1, max_unreadable=0.2)
    with pytest.raises(ValueError, match="--overwrite to begin afresh"):
        run(photos)
    run(photos, overwrite=True)
    assert open_prepared(photos.prepared_dir, "train").image_size == SIZE + 1


def test_two_preparations_of_one_folder_are_refused(tmp_path):
    with (
        partial.PartialSplit(tmp_path / "x.partial", {}, SIZE),
        pytest.raises(BlockingIOError, match="another preparation is writing here"),
    ):
        partial.PartialSplit(tmp_path / "x.partial", {}, SIZE)


def test_preparing_again_is_free_and_other_pictures_need_overwrite(photos, tmp_path, monkeypatch):
    run(photos)
    before = contents(Path(photos.prepared_dir) / "train")
    with monkeypatch.context() as patch:
        patch.setattr("zfnet_jax.data.prepare.decode_in_order", None)  # nothing is decoded
        run(photos)
    assert contents(Path(photos.prepared_dir) / "train") == before

    Image.new("RGB", (30, 30)).save(tmp_path / "train" / "a" / "new.png")
    with pytest.raises(ValueError, match="pass --overwrite"):
        run(photos)
    run(photos, overwrite=True)
    assert len(open_prepared(photos.prepared_dir, "train")) == 10
    assert sorted(p.name for p in Path(photos.prepared_dir).iterdir()) == ["train", "validation"]


def test_the_photos_themselves_are_never_replaced(photos, tmp_path):
    photos.prepared_dir = str(tmp_path)  # tmp_path/train holds the photos
    with pytest.raises(ValueError, match="holds no prepared pictures"):
        run(photos, overwrite=True)
    assert len(list((tmp_path / "train").rglob("*.png"))) == 9


def damage(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["images.npy", "labels.npy", "keys.json", "mean.npy", "skipped.json"]
)
def test_verify_finds_one_flipped_bit(photos, name):
    run(photos)
    verify(photos.prepared_dir, "train")
    damage(Path(photos.prepared_dir) / "train" / name, -3)
    with pytest.raises(ValueError, match=rf"{name} damaged"):
        verify(photos.prepared_dir, "train")


@pytest.mark.parametrize(
    "name", ["images.npy", "labels.npy", "keys.json", "mean.npy", "skipped.json"]
)
def test_open_finds_wrong_sizes_and_missing_files(photos, name):
    run(photos)
    path = Path(photos.prepared_dir) / "train" / name
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(ValueError, match=name):
        open_prepared(photos.prepared_dir, "train")
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        open_prepared(photos.prepared_dir, "train")


def test_open_finds_wrong_shapes(photos):
    run(photos)
    path = Path(photos.prepared_dir) / "train" / "images.npy"
    images = np.load(path)
    np.save(path, images.reshape(len(images), SIZE // 2, SIZE * 2, 3))
    with pytest.raises(ValueError, match=r"images.npy holds uint8\[9, 12, 48, 3\] and not"):
        open_prepared(photos.prepared_dir, "train")


def test_open_finds_a_changed_manifest(photos):
    run(photos)
    path = Path(photos.prepared_dir) / "train" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["class_names"].reverse()
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="was changed after preparation"):
        open_prepared(photos.prepared_dir, "train")


def test_unprepared_names_the_command(photos):
    with pytest.raises(FileNotFoundError, match=r"python -m scripts.prepare_data --config=CONFIG "):
        open_split(photos, "train")
    photos.streaming = True
    with pytest.raises(FileNotFoundError, match="--mean_only"):
        open_split(photos, "train")


def test_arrays_of_another_config_are_never_opened(photos, tmp_path):
    run(photos)
    assert len(open_split(photos, "train")) == 9
    photos.image_size = 32
    with pytest.raises(ValueError, match=r"image_size 24, but config\.data asks for image_size 32"):
        open_split(photos, "train")
    with pytest.raises(ValueError, match="source 'folder'"):
        open_split(config(tmp_path, source="pictures"), "train")


def test_streaming_equals_prepared(photos, tmp_path):
    (tmp_path / "train" / "a" / "000.png").write_bytes(b"broken")
    (tmp_path / "train" / "b" / "001.png").write_bytes(b"broken")
    photos.max_unreadable = 0.5
    run(photos)
    run(photos, store_images=False)
    assert not (Path(photos.prepared_dir) / "train_index" / "images.npy").exists()
    verify(photos.prepared_dir, "train_index")
    for name in ("train", "validation"):
        prepared = open_prepared(photos.prepared_dir, name)
        photos.streaming = True
        streamed = open_split(photos, name)
        assert streamed.fingerprint == prepared.fingerprint
        assert streamed.keys == prepared.keys
        assert streamed.class_names == prepared.class_names
        assert np.array_equal(streamed.labels, prepared.labels)
        assert np.array_equal(streamed.mean, prepared.mean)
        index = np.random.default_rng(0).permutation(len(prepared))
        assert np.array_equal(streamed.rows(index), prepared.rows(index))

    (tmp_path / "train" / "b" / "002.png").write_bytes(b"broken later")
    with pytest.raises(ValueError, match="made from other pictures"):
        open_split(photos, "train")


@pytest.mark.parametrize(
    ("folders", "error"),
    [([], "no folder"), (["train"], "holds no class folders"), (["train/a"], "no photos")],
)
def test_folders_without_photos(tmp_path, folders, error):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises((ValueError, FileNotFoundError), match=f"config.data.folder.train.*{error}"):
        make_source(config(tmp_path), "train")


def test_a_share_of_one_folder_is_held_out(tmp_path):
    counts = {"a": 10, "b": 3, "c": 2}
    save_photos(tmp_path / "photos", counts)
    folder = {"train": str(tmp_path / "photos"), "validation": "", "held_out": 0.2}
    data = config(tmp_path, folder=folder)
    parts = {split: make_source(data, split) for split in ("train", "validation")}
    keys = {split: [example.key for example in part.examples()] for split, part in parts.items()}
    everything = [e.key for e in FolderSource(str(tmp_path / "photos")).examples()]
    assert sorted(keys["train"] + keys["validation"]) == everything
    assert [sum(key[0] == name for key in keys["validation"]) for name in counts] == [2, 1, 1]
    assert [parts["train"][at].label for at in range(3)] == [0, 0, 0]

    run(data)
    assert open_split(data, "train").keys == tuple(keys["train"])
    assert open_split(
        config(tmp_path, folder=folder | {"train": "", "held_out": 0.0}), "validation"
    )
    with pytest.raises(ValueError, match=r"made from .*held_out 0.2.*asks for held_out 0.3"):
        open_split(config(tmp_path, folder=folder | {"held_out": 0.3}), "train")

    Image.new("RGB", (30, 30)).save(tmp_path / "photos" / "a" / "new.png")
    later = [e.key for e in make_source(data, "validation").examples()]
    assert len(set(later) ^ set(keys["validation"])) <= 2


@pytest.mark.parametrize(
    ("folder", "error"),
    [
        ({"held_out": 1.0}, "held_out 1.0: must be between"),
        ({"held_out": 0.5, "validation": "there"}, "validation or held_out, not both"),
        ({"held_out": 0.5}, "class b has one photo"),
    ],
)
def test_what_cannot_be_held_out(tmp_path, folder, error):
    photos = str(save_photos(tmp_path / "photos", {"a": 2, "b": 1}))
    data = config(tmp_path, folder={"train": photos, "validation": "", **folder})
    with pytest.raises(ValueError, match=error):
        make_source(data, "train")


def test_splits_with_different_classes(photos, tmp_path):
    save_photos(tmp_path / "validation", {"c": 1})
    with pytest.raises(ValueError, match="only in validation: c"):
        run(photos)


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"source": "web"}, "config.data.source 'web'"),
        ({"source": "pictures", "pictures": {"family": "cats"}}, "pictures.family 'cats'"),
        ({"source": "pictures", "pictures": {"train_per_class": 0}}, "train_per_class is 0"),
        ({"folder": {"train": ""}}, "config.data.folder.train is empty"),
    ],
)
def test_wrong_configs_name_the_field(tmp_path, overrides, error):
    with pytest.raises(ValueError, match=error):
        make_source(config(tmp_path, **overrides), "train")


def test_script_prepares_verifies_and_fails_in_one_line(photos, tmp_path):
    (tmp_path / "config.py").write_text(
        "from ml_collections import ConfigDict\n"
        f"def get_config(): return ConfigDict({{'data': {photos.to_dict()!r}}})\n"
    )

    def script(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "scripts.prepare_data", f"--config={tmp_path}/config.py"]
        root = Path(__file__).parent.parent
        return subprocess.run([*command, *flags], cwd=root, capture_output=True, text=True)

    prepared = script("--workers=1")
    assert prepared.returncode == 0, prepared.stderr
    assert f"{photos.prepared_dir}/train: 9 images of 2 classes, 0 unreadable" in prepared.stdout
    assert script("--verify").stdout.count("all digests are right") == 2
    damage(Path(photos.prepared_dir) / "train" / "labels.npy", -1)
    failed = script("--verify")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1].endswith("--overwrite")
    assert "labels.npy damaged" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_reading_needs_neither_jax_nor_tensorflow():
    """Workers start fast, and no --help pays for them."""
    program = (
        "import sys, scripts.prepare_data, zfnet_jax.data.batches;"
        "sys.exit(bool({'jax', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent.parent, check=True)
