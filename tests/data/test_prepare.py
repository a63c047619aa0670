"""Preparation: exact, complete, the same however it is interrupted or spread over workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import forked
from tests.photo_folders import SIZE, config, contents, damage, run, run_split, save_photos
from zfnet_jax.data import unfinished as partial
from zfnet_jax.data.decode import centre_square, decode
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.sources import FolderSource


def test_rows_labels_keys_and_mean(folder_data, tmp_path):
    run(folder_data)
    split = open_prepared(folder_data.prepared_dir, "train")

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
    validation = open_prepared(folder_data.prepared_dir, "validation")
    assert len(validation) == 3
    assert validation.mean is None
    assert validation.fingerprint != split.fingerprint


def test_worker_count_does_not_matter(tmp_path):
    source = FolderSource(str(save_photos(tmp_path / "photos", {"a": 20, "b": 21})))
    (tmp_path / "photos" / "a" / "007.png").write_bytes(b"broken")
    source = FolderSource(str(tmp_path / "photos"))
    run_split(source, tmp_path / "one", workers=1, max_unreadable=0.1)
    run_split(source, tmp_path / "two", workers=2, max_unreadable=0.1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


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


@pytest.mark.slow
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
        "import runpy; from zfnet_jax.data import unfinished; unfinished.COMMIT_EVERY = 16;"
        "runpy.run_module('scripts.prepare_data', run_name='__main__')"
    )

    def start(name: str, workers: int) -> forked.Popen:
        flags = (f"--workers={workers}", f"--config={tmp_path / name}.py")
        return forked.Popen([sys.executable, "-c", program, *flags])

    journal = tmp_path / "killed" / "train.partial" / "journal.jsonl"
    process = start("killed", 2)
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert 0 < len(journal.read_bytes().splitlines()) < 200
    assert not (tmp_path / "killed" / "train").exists()

    for name, workers in (("killed", 2), ("unbroken", 1)):
        process = start(name, workers)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert "200 images of 10 classes, 0 unreadable" in output
    assert contents(tmp_path / "killed" / "train") == contents(tmp_path / "unbroken" / "train")


def test_unfinished_preparation_of_another_size_is_refused(folder_data, tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "COMMIT_EVERY", 2)
    (tmp_path / "train" / "b" / "bad.png").write_text("bad")
    with pytest.raises(ValueError, match="unreadable"):
        run(folder_data)
    folder_data.update(image_size=SIZE + 1, max_unreadable=0.2)
    with pytest.raises(ValueError, match="--overwrite to begin afresh"):
        run(folder_data)
    run(folder_data, overwrite=True)
    assert open_prepared(folder_data.prepared_dir, "train").image_size == SIZE + 1


def test_two_preparations_of_one_folder_are_refused(tmp_path):
    with (
        partial.PartialSplit(tmp_path / "x.partial", {}, SIZE),
        pytest.raises(BlockingIOError, match="another preparation is writing here"),
    ):
        partial.PartialSplit(tmp_path / "x.partial", {}, SIZE)


def test_preparing_again_is_free_and_other_pictures_need_overwrite(
    folder_data, tmp_path, monkeypatch
):
    run(folder_data)
    before = contents(Path(folder_data.prepared_dir) / "train")
    with monkeypatch.context() as patch:
        patch.setattr("zfnet_jax.data.prepare.decode_in_order", None)  # nothing is decoded
        run(folder_data)
    assert contents(Path(folder_data.prepared_dir) / "train") == before

    Image.new("RGB", (30, 30)).save(tmp_path / "train" / "a" / "new.png")
    with pytest.raises(ValueError, match=r"remove it \(or pass --overwrite"):
        run(folder_data)
    run(folder_data, overwrite=True)
    assert len(open_prepared(folder_data.prepared_dir, "train")) == 10
    assert sorted(p.name for p in Path(folder_data.prepared_dir).iterdir()) == [
        "train",
        "validation",
    ]


def test_the_photos_themselves_are_never_replaced(folder_data, tmp_path):
    folder_data.prepared_dir = str(tmp_path)  # tmp_path/train holds the photos
    with pytest.raises(ValueError, match="holds no prepared pictures"):
        run(folder_data, overwrite=True)
    assert len(list((tmp_path / "train").rglob("*.png"))) == 9


def test_script_prepares_verifies_and_fails_in_one_line(folder_data, tmp_path):
    (tmp_path / "config.py").write_text(
        "from ml_collections import ConfigDict\n"
        f"def get_config(): return ConfigDict({{'data': {folder_data.to_dict()!r}}})\n"
    )

    def script(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "scripts.prepare_data", f"--config={tmp_path}/config.py"]
        return forked.run([*command, *flags])

    prepared = script("--workers=1")
    assert prepared.returncode == 0, prepared.stderr
    assert (
        f"{folder_data.prepared_dir}/train: 9 images of 2 classes, 0 unreadable" in prepared.stdout
    )
    assert script("--verify").stdout.count("all digests are right") == 2
    damage(Path(folder_data.prepared_dir) / "train" / "labels.npy", -1)
    failed = script("--verify")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1].endswith("--overwrite")
    assert "labels.npy damaged" in failed.stderr
    assert "Traceback" not in failed.stderr
