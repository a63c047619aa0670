"""Where photos come from: folders, a share held out, built-in pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.photo_folders import config, run, save_photos
from zfnet_jax.data.sources import FolderSource, PicturesSource, make_source
from zfnet_jax.data.splits import open_split


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
    data.folder.train += "/"  # as a shell completes it
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
