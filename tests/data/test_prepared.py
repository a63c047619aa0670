"""Prepared arrays: opened only whole, unchanged and of the config that asks for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.benchmarks.sparse_images import make_sparse
from tests.conftest import ROOT
from tests.photo_folders import SIZE, config, damage, run, save_photos
from zfnet_jax.data.prepared import open_prepared, verify
from zfnet_jax.data.splits import open_split


@pytest.mark.parametrize(
    "name", ["images.npy", "labels.npy", "keys.json", "mean.npy", "skipped.json"]
)
def test_verify_finds_one_flipped_bit(folder_data, name):
    run(folder_data)
    verify(folder_data.prepared_dir, "train")
    damage(Path(folder_data.prepared_dir) / "train" / name, -3)
    with pytest.raises(ValueError, match=rf"{name} damaged"):
        verify(folder_data.prepared_dir, "train")


@pytest.mark.parametrize(
    "name", ["images.npy", "labels.npy", "keys.json", "mean.npy", "skipped.json"]
)
def test_open_finds_wrong_sizes_and_missing_files(folder_data, name):
    run(folder_data)
    path = Path(folder_data.prepared_dir) / "train" / name
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(ValueError, match=name):
        open_prepared(folder_data.prepared_dir, "train")
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        open_prepared(folder_data.prepared_dir, "train")


def test_open_finds_wrong_shapes(folder_data):
    run(folder_data)
    path = Path(folder_data.prepared_dir) / "train" / "images.npy"
    images = np.load(path)
    np.save(path, images.reshape(len(images), SIZE // 2, SIZE * 2, 3))
    with pytest.raises(ValueError, match=r"images.npy holds uint8\[9, 12, 48, 3\] and not"):
        open_prepared(folder_data.prepared_dir, "train")


def test_open_finds_a_changed_manifest(folder_data):
    run(folder_data)
    path = Path(folder_data.prepared_dir) / "train" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["class_names"].reverse()
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="was changed after preparation"):
        open_prepared(folder_data.prepared_dir, "train")


def test_unprepared_names_the_command(folder_data):
    with pytest.raises(FileNotFoundError, match=r"python -m scripts.prepare_data --config=CONFIG "):
        open_split(folder_data, "train")
    folder_data.streaming = True
    with pytest.raises(FileNotFoundError, match="--mean_only"):
        open_split(folder_data, "train")


def test_arrays_of_another_config_are_never_opened(folder_data, tmp_path):
    run(folder_data)
    assert len(open_split(folder_data, "train")) == 9
    folder_data.image_size = 32
    with pytest.raises(ValueError, match=r"image_size 24, but config\.data asks for image_size 32"):
        open_split(folder_data, "train")
    with pytest.raises(ValueError, match="source 'folder'"):
        open_split(config(tmp_path, source="pictures"), "train")


def test_streaming_equals_prepared(folder_data, tmp_path):
    (tmp_path / "train" / "a" / "000.png").write_bytes(b"broken")
    (tmp_path / "train" / "b" / "001.png").write_bytes(b"broken")
    folder_data.max_unreadable = 0.5
    run(folder_data)
    run(folder_data, store_images=False)
    assert not (Path(folder_data.prepared_dir) / "train_index" / "images.npy").exists()
    verify(folder_data.prepared_dir, "train_index")
    for name in ("train", "validation"):
        prepared = open_prepared(folder_data.prepared_dir, name)
        folder_data.streaming = True
        streamed = open_split(folder_data, name)
        assert streamed.fingerprint == prepared.fingerprint
        assert streamed.keys == prepared.keys
        assert streamed.class_names == prepared.class_names
        assert np.array_equal(streamed.labels, prepared.labels)
        assert np.array_equal(streamed.mean, prepared.mean)
        index = np.random.default_rng(0).permutation(len(prepared))
        assert np.array_equal(streamed.rows(index), prepared.rows(index))

    (tmp_path / "train" / "b" / "002.png").write_bytes(b"broken later")
    with pytest.raises(ValueError, match="made from other pictures"):
        open_split(folder_data, "train")


def test_splits_with_different_classes(folder_data, tmp_path):
    save_photos(tmp_path / "validation", {"c": 1})
    with pytest.raises(ValueError, match="only in validation: c"):
        run(folder_data)


def test_reading_needs_neither_jax_nor_tensorflow():
    """Workers start fast, and no --help pays for them."""
    program = (
        "import sys, scripts.prepare_data, zfnet_jax.data.batches;"
        "sys.exit(bool({'jax', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_split_of_holes_opens_as_one_of_photos(tmp_path):
    """`scripts.rehearse_imagenet` has a million images without their room on the disk."""
    make_sparse(tmp_path / "train", count=7000, classes=7, size=64)
    split = open_prepared(tmp_path, "train")
    assert (len(split), split.image_size) == (7000, 64)
    assert np.bincount(split.labels).tolist() == [1000] * 7
    assert split.rows(np.array([2, 6999]))[0].any()  # every second has a block of noise
    used, whole = (tmp_path / "train" / "images.npy").stat().st_blocks * 512, split.images.nbytes
    assert used < whole / 2
