"""Which folders are classes, which files their photos, and what is said of all others."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from tests.photo_folders import config, run, run_split, save_photos
from zfnet_jax.data import prepared, unfinished
from zfnet_jax.data.photo_set import open_photo_set
from zfnet_jax.data.prepare import prepare
from zfnet_jax.data.prepared import open_prepared, verify
from zfnet_jax.data.sources import FolderSource, make_source
from zfnet_jax.data.splits import open_split


def photo(path: Path, seed: int = 0) -> Path:
    """A photo of its own at a path; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    taken = save_photos(path.parent / f".{path.stem}", {"x": 1}, seed=seed) / "x" / "000.png"
    return Path(shutil.move(taken, path))


def labelled(source: FolderSource) -> list[tuple[str, str]]:
    return [(one.key, source.class_names[one.label]) for one in source.examples()]


def killed_after(monkeypatch: pytest.MonkeyPatch, folder: Path, out: Path, photos: int) -> None:
    """A preparation that is stopped when so many photos are on the disk."""
    monkeypatch.setattr(unfinished, "COMMIT_EVERY", photos)

    class Killed(FolderSource):
        def examples(self, start=0):
            yield from list(super().examples(start))[:photos]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_split(Killed(str(folder)), out)


def test_folders_without_photos_are_no_classes_and_are_named(tmp_path, capsys):
    """The case phantom_class: what systems and archives leave beside the classes."""
    root = save_photos(tmp_path / "train", {"cat": 3, "dog": 3, "@eaDir/cat": 1, "__MACOSX": 1})
    for name in ("empty", "cat/@eaDir/1.jpg", ".ipynb_checkpoints", "raw", "lost+found"):
        (root / name).mkdir(parents=True, exist_ok=True)
    photo(root / "cat" / "@eaDir" / "1.jpg" / "thumbnail.jpg")
    photo(root / ".ipynb_checkpoints" / "x.jpg")
    (root / "raw" / "1.cr2").touch()
    (root / "cat" / "._1.jpg").touch()
    source = FolderSource(str(root))
    assert source.class_names == ("cat", "dog")
    assert len(source) == 6
    (note,) = source.notes()
    assert "no photos, so no class: empty, raw" in note
    assert "a folder of the system: @eaDir, __MACOSX, cat/@eaDir, lost+found" in note

    shutil.copytree(root, tmp_path / "validation")
    data = config(tmp_path)
    prepare(data, workers=1, store_images=True, overwrite=False)
    assert note in capsys.readouterr().out
    assert open_prepared(data.prepared_dir, "train").class_names == ("cat", "dog")


def test_photos_in_folders_of_a_class_belong_to_it_and_keep_their_names(tmp_path):
    """The case nested_photos, and Tiny ImageNet's own train/<wnid>/images/*.JPEG."""
    root = tmp_path / "train"
    keys = ["cat/1.png", "cat/kaggle/1.png", "cat/kaggle/old/1.png", "dog/images/1.png"]
    for number, key in enumerate(keys):
        photo(root / key, seed=number)
    source = FolderSource(str(root))
    assert labelled(source) == [(key, key.split("/")[0]) for key in keys]
    run_split(source, tmp_path / "out")
    split = open_prepared(tmp_path, "out")
    assert split.keys == tuple(keys)
    assert len({image.tobytes() for image in split.images}) == 4
    assert open_photo_set(root, side=8, workers=1).keys == tuple(keys)  # as scripts.overlap


def test_flat_folders_are_described_as_ever(tmp_path):
    """What was prepared by earlier versions is still of these photos."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"four")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.png").write_bytes(b"")
    digest = "b1d264e5252eb589"
    assert FolderSource(str(tmp_path)).describe()["listing_sha256"].startswith(digest)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (["train/a/1.png", "val/a/2.png"], r"holds splits, not classes: name one of .*/in/train,"),
        (["101/a/1.png", "101/b/2.png"], r"2 folders of .*/in/101 \(a, b\): if those are"),
        (["x/y/train/a/1.png", "x/y/test/b/2.png"], r"/in/x/y holds splits.*/in/x/y/train$"),
        (["train/1.png", "val/2.png"], r"holds splits \(train, val\) but no class folders"),
        (["1.png", "2.png"], r"no class folders, but photos \(1.png, 2.png\): put those of each"),
    ],
)
def test_a_folder_above_or_below_that_of_the_classes_is_told_where_they_are(tmp_path, keys, error):
    for key in keys:
        photo(tmp_path / "in" / key)
    with pytest.raises(ValueError, match=rf"^config.data.folder.train: .*{error}"):
        make_source(config(tmp_path, folder={"train": str(tmp_path / "in")}), "train")


def test_where_the_classes_may_lie_deeper_a_line_says_so(tmp_path):
    for key in ("pets/cat/1.png", "pets/dog/2.png", "birds/owl/3.png", "birds/owl/4.png"):
        photo(tmp_path / key)
    source = FolderSource(str(tmp_path))
    assert source.class_names == ("birds", "pets")
    (note,) = source.notes()
    assert "such as pets/cat, pets/dog, and count for the class" in note
    photo(tmp_path / "birds" / "5.png")
    assert FolderSource(str(tmp_path)).notes() == []


def test_every_folder_is_read_once_whatever_links_there_are(tmp_path):
    root = save_photos(tmp_path / "in", {"cat": 1, "dog": 1})
    elsewhere = save_photos(tmp_path / "elsewhere", {"owl": 2})
    (root / "kitty").symlink_to("cat")
    (root / "dog" / "up").symlink_to("..")
    (root / "dog" / "above").symlink_to(tmp_path)
    (root / "round").symlink_to("round")
    (root / "owl").symlink_to(elsewhere / "owl")
    (root / "owl again").symlink_to(elsewhere)
    (elsewhere / "owl" / "back").symlink_to(root)
    source = FolderSource(str(root))
    assert labelled(source) == [
        ("cat/000.png", "cat"),
        ("dog/000.png", "dog"),
        ("owl/000.png", "owl"),
        ("owl/001.png", "owl"),
    ]
    (note,) = source.notes()
    assert "a link to a folder that is read already: dog/above, dog/up, kitty" in note
    assert labelled(FolderSource(str(root)))[:2] == labelled(source)[:2]


def test_a_resume_needs_the_classes_that_it_was_begun_with(tmp_path, monkeypatch):
    """The case resume_mislabel: __MACOSX, then removed, was class 0 of the first photos alone."""
    root = save_photos(tmp_path / "in", {"cat": 4, "dog": 4})
    killed_after(monkeypatch, root, tmp_path / "out", photos=2)
    begun = tmp_path / "out.partial" / "description.json"
    description = json.loads(begun.read_text())
    assert description["class_names"] == ["cat", "dog"]
    begun.write_text(json.dumps(description | {"class_names": ["__MACOSX", "cat", "dog"]}))
    with pytest.raises(ValueError, match=r"unfinished .* of other .*differing: classes\)"):
        run_split(FolderSource(str(root)), tmp_path / "out")
    del description["class_names"]
    begun.write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"begun by an earlier version, which did not keep what"):
        run_split(FolderSource(str(root)), tmp_path / "out")


def test_a_resume_needs_the_photos_that_it_was_begun_with(tmp_path, monkeypatch):
    """Of two photos that change places with one size neither would be there."""
    root = save_photos(tmp_path / "in", {"cat": 2, "dog": 2})
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        path.write_bytes(path.read_bytes().ljust(20_000, b"%d" % number))
    killed_after(monkeypatch, root, tmp_path / "out", photos=1)
    cat, dog = root / "cat" / "000.png", root / "dog" / "000.png"
    cat.rename(root / "x")
    dog.rename(cat)
    (root / "x").rename(dog)
    with pytest.raises(ValueError, match=r"differing: times of the files\)"):
        run_split(FolderSource(str(root)), tmp_path / "out")


def test_files_written_anew_with_their_sizes_are_told_of(tmp_path, capsys):
    """Copying changes times, too: no reason to refuse what is prepared."""
    save_photos(tmp_path / "train", {"cat": 2, "dog": 2})
    save_photos(tmp_path / "validation", {"cat": 1, "dog": 1})
    data = config(tmp_path)
    run(data)
    os.utime(tmp_path / "train" / "cat" / "000.png", ns=(1, 1))
    prepare(data, workers=1, store_images=True, overwrite=False)
    out = capsys.readouterr().out
    assert out.count("is already prepared") == 2
    assert out.count("train: but files were written since, of the same names and sizes") == 1


def test_prepared_inside_the_photos_is_no_class(tmp_path):
    root = save_photos(tmp_path / "in", {"cat": 4, "dog": 4})
    folder = {"train": str(root), "validation": "", "held_out": 0.25}
    for inside in (root / "prepared", root / "cat" / "prepared"):
        data = config(tmp_path, folder=folder, prepared_dir=str(inside))
        run(data)
        run(data)
        assert open_split(data, "train").class_names == ("cat", "dog")
    (note,) = FolderSource(str(root)).notes()
    assert "prepared images: cat/prepared/train, cat/prepared/validation, prepared/train" in note


def dead_class(folder: Path, name: str) -> None:
    """Gives a prepared split a class without photos before its others, as it once came about."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["class_names"] = [name, *manifest["class_names"]]
    labels = np.load(folder / "labels.npy") + 1
    np.save(folder / "labels.npy", labels.astype(np.int32))
    manifest["files"]["labels.npy"] = prepared.file_record(folder / "labels.npy")
    manifest["fingerprint"] = prepared.fingerprint(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_classes_without_photos_of_before_open_and_are_told_of(tmp_path, capsys, monkeypatch):
    folder = str(save_photos(tmp_path / "in", {"cat": 4, "dog": 4}))
    data = config(tmp_path, folder={"train": folder, "validation": "", "held_out": 0.25})
    run(data)
    for split in ("train", "validation"):
        dead_class(Path(data.prepared_dir) / split, "__MACOSX")
    said: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    for _ in range(2):
        assert open_split(data, "train").class_names == ("__MACOSX", "cat", "dog")
    assert [text.split("has ")[1] for text in said] == ["no photo of 1 of its 3 classes: __MACOSX"]
    prepare(data, workers=1, store_images=True, overwrite=False)
    out = capsys.readouterr().out
    assert out.count("is already prepared from these pictures\n") == 2
    assert out.count("classes that hold no photo (__MACOSX), for which a net has dead outputs") == 2
    run(data, overwrite=True)
    assert open_split(data, "train").class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ([0, 0, 1, 1, 1, 2], "holds the label 2, but there are 2 classes"),
        ([0, 0, -1, 1, 1, 1], "holds the label -1"),
        ([0, 0, 0, 1, 1, 0], "labels dog/002.png as cat, which is not its folder"),
    ],
)
def test_wrong_labels_are_told_when_they_are_opened(tmp_path, labels, error):
    root = save_photos(tmp_path / "in", {"cat": 3, "dog": 3})
    run_split(FolderSource(str(root)), tmp_path / "out")
    folder = tmp_path / "out"
    np.save(folder / "labels.npy", np.array(labels, np.int32))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["labels.npy"] = prepared.file_record(folder / "labels.npy")
    manifest["fingerprint"] = prepared.fingerprint(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for look in (open_prepared, verify):
        with pytest.raises(ValueError, match=error):
            look(tmp_path, "out")


def test_one_folder_by_all_its_names(tmp_path, monkeypatch):
    save_photos(tmp_path / "train", {"a": 3, "b": 3})
    (tmp_path / "link").symlink_to("train")
    monkeypatch.chdir(tmp_path)
    names = ("train", str(tmp_path / "train"), "link", "./link/../train/")
    for name in names:
        data = config(tmp_path, folder={"train": name, "validation": "", "held_out": 0.25})
        run(data)  # of the first prepared, of the others already
        assert len(open_split(data, "train")) == 4
    moved = shutil.copytree("train", "copy")
    data.folder.train = moved
    assert len(open_split(data, "train")) == 4
    photo(Path(moved) / "a" / "new.png")
    with pytest.raises(ValueError, match=r"asks for folder 'copy': prepare that into another"):
        open_split(data, "train")


def test_validation_may_lack_photos_of_a_class_that_has_its_folder(tmp_path):
    save_photos(tmp_path / "train", {"a": 2, "b": 2, "c": 2})
    root = save_photos(tmp_path / "validation", {"a": 2, "c": 2})
    data = config(tmp_path)
    with pytest.raises(ValueError, match=r"differ \(only in train: b\)"):
        run(data)
    (root / "b").mkdir()
    run(data)
    split = open_split(data, "validation")
    assert split.class_names == ("a", "b", "c")
    assert split.labels.tolist() == [0, 0, 2, 2]


def test_what_no_net_can_learn_from_is_told_before_it_is_prepared(tmp_path, capsys):
    save_photos(tmp_path / "train", {"only": 3})
    same = str(tmp_path / "train")
    data = config(tmp_path, folder={"train": same, "validation": same + "/"})
    prepare(data, workers=1, store_images=True, overwrite=False)
    said = capsys.readouterr().out
    assert "there is one class only, only: no net can be trained on it" in said
    assert "validation holds the photos of train" in said
