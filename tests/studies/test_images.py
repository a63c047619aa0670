"""A net is shown any images of its classes, wherever they lie and in whatever order they are."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import copied
from zfnet_jax.data import pictures
from zfnet_jax.data.images import Relabelled
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.subset import write_subset
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies import images
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.errors import predictions, summary
from zfnet_jax.studies.errors.options import Options, ScoreOptions
from zfnet_jax.studies.errors.study import predicted
from zfnet_jax.studies.invariance import study as invariance
from zfnet_jax.studies.invariance.options import SplitOptions

OPTIONS = Options(crops=1, probabilities=False)


@pytest.fixture
def here(tiny_run, tmp_path, monkeypatch) -> Run:
    """The tiny run, in a folder of its own that is the current one."""
    monkeypatch.chdir(tmp_path)
    return open_run(copied(tiny_run, tmp_path / "run"))


def imported(run: Run) -> Run:
    """The run as if its net came from elsewhere, with its classes in another order."""
    run.config.data.source, run.config.data.prepared_dir = "prepared", "nowhere"
    return dataclasses.replace(run, class_names=run.class_names[::-1])


def photo_folder(root: Path, names: tuple[str, ...], count: int = 2) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for seed in range(count):
            drawn = pictures.draw(name, 100 + seed, 64).image
            Image.fromarray(drawn).save(root / name / f"{seed}.png")
    return root


def answers(run: Run, split) -> dict[str, np.ndarray]:
    result = predicted(run, split, OPTIONS, batch_size=8, progress=False)
    return predictions.of_result(result).arrays


def test_classes_in_another_order_are_matched_by_name(here, split):
    """TinyVGG's case: all ten classes are there, and were refused: 10, not 10."""
    turned = tuple(np.roll(here.class_names, 3))
    number = [turned.index(name) for name in split.class_names]
    others = dataclasses.replace(
        split, labels=np.array(number, np.int32)[split.labels], class_names=turned, fingerprint="x"
    )
    found, expected = answers(here, others), answers(here, split)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    curves = [
        invariance.of_split(
            here,
            one,
            SplitOptions(count=4, horizontal="0:4:4", vertical="", scale="", rotation=""),
            prepared_dir=None,
            progress=False,
        ).arrays["labels"]
        for one in (split, others)
    ]
    np.testing.assert_array_equal(*curves)


def test_some_of_the_classes_are_measured_over_all_that_the_net_knows(here, split):
    rows = np.flatnonzero(split.labels >= 7)
    where = here.directory.parent / "some" / "validation"
    write_subset(
        split,
        rows,
        where,
        labels=split.labels[rows] - 7,
        class_names=split.class_names[7:],
        with_mean=False,
    )
    some = images.open_split(here, "validation", str(where.parent))
    assert images.open_split(here, "validation", str(where)).keys == some.keys
    result = predicted(here, some, OPTIONS, batch_size=8, progress=False)
    found, whole = predictions.of_result(result), answers(here, split)
    np.testing.assert_array_equal(found.labels, whole["labels"][rows])
    np.testing.assert_array_equal(found.rank, whole["rank"][rows])
    (row,) = summary.scored([here.directory], [result], ScoreOptions())
    named = ", ".join(here.class_names[:5])
    expected = f"no image is of 7 of the net's 10 classes: {named} and 2 more"
    assert summary.classes_without_images(row) == expected


def test_a_plain_folder_is_decoded_once_and_may_be_called_by_any_name(here, monkeypatch):
    names = here.class_names[2:4]
    root = photo_folder(here.directory.parent / "my photos", names)
    net = imported(here)
    shown = images.open_split(net, "validation", "my photos")
    (folder,) = Path("data").iterdir()
    assert folder.name.startswith("my photos-64-")
    assert shown.class_names == names[::-1]
    assert images.in_classes_of(net, shown).labels.tolist() == [6, 6, 7, 7]
    monkeypatch.setattr("zfnet_jax.data.prepare.decode_in_order", None)  # nothing is decoded again
    again = images.open_split(net, "validation", str(root) + "/")
    assert again.fingerprint == shown.fingerprint
    with pytest.raises(ValueError, match="count as validation images"):
        images.open_split(net, "train", "my photos")
    context = Context(here.directory, prepared_dir="my photos")
    assert context.lacks("validation", of_classes=True) is None
    assert "count as validation" in str(context.lacks("train"))


def test_a_set_that_is_tried_whole_is_prepared_or_photos(here, prepared_pictures, tmp_path):
    root = photo_folder(tmp_path / "zoo", here.class_names[:2])
    (root / here.class_names[1]).rename(root / "zebra")  # the net need not know them
    for split in ("train", "validation"):  # photos are of whatever split
        found = images.open_set(here, split, "zoo")
        assert found.class_names == (here.class_names[0], "zebra")
        assert (len(found), found.image_size) == (4, 64)
    assert len(list(Path("data").iterdir())) == 1  # decoded once
    whole = images.open_set(here, "train", prepared_pictures)
    alone = images.open_set(here, "train", prepared_pictures / "train")
    assert whole.fingerprint == alone.fingerprint
    here.config.data.image_size = 48
    with pytest.raises(ValueError, match=r"prepared at 64 pixels, but the net was trained at 48"):
        images.open_set(here, "train", prepared_pictures)


def test_a_class_that_the_net_does_not_know_is_one_line(here):
    root = photo_folder(here.directory.parent / "photos", here.class_names[:1])
    shutil.copytree(root / here.class_names[0], root / "zebra\nfish")
    shown = images.open_split(here, "validation", str(root))
    said = r"other classes than run: 2 .*, not 10 .*; it does not know zebra\\nfish: name a folder"
    with pytest.raises(ValueError, match=said):
        predicted(here, shown, OPTIONS, progress=False)
    context = Context(here.directory, prepared_dir=str(root))
    assert context.lacks("validation") is None  # what mines may show them
    assert "does not know" in str(context.lacks("validation", of_classes=True))


def test_what_is_not_there_is_told_with_what_to_do(here, prepared_pictures, tmp_path):
    net = imported(here)
    with pytest.raises(FileNotFoundError, match=r"imported without .*: add --prepared_dir=FOLDER"):
        images.open_split(net, "validation")
    net.config.data.prepared_dir = str(prepared_pictures)
    assert len(images.open_split(net, "validation")) == 30
    net.config.data.image_size = 48
    with pytest.raises(FileNotFoundError, match=r"without validation images of 48 pixels"):
        images.open_split(net, "validation")
    with pytest.raises(ValueError, match=r"prepared at 64 pixels, but the net was trained at 48"):
        images.open_split(net, "validation", str(prepared_pictures))
    shutil.copytree(prepared_pictures / "train", tmp_path / "half" / "train")
    with pytest.raises(FileNotFoundError, match="half holds no prepared validation images, only"):
        images.open_split(here, "validation", str(tmp_path / "half"))
    with pytest.raises(FileNotFoundError, match=r"--prepared_dir: no folder 'gone'"):
        images.open_split(here, "validation", "gone")


def test_the_runs_own_images_elsewhere_are_its_own(here, prepared_pictures, tmp_path):
    moved = shutil.copytree(prepared_pictures, tmp_path / "moved")
    (tmp_path / "less.json").write_text(json.dumps({"keys": list(own_keys(moved)[:3])}))
    here.config.data.exclude = str(tmp_path / "less.json")
    assert len(images.open_split(here, "train", str(moved))) == 67
    here.config.data.pictures.seed += 1
    assert len(images.open_split(here, "train", str(moved))) == 70  # others, and all of them


def own_keys(folder: Path) -> tuple[str, ...]:
    return open_prepared(folder, "train").keys


def test_a_relabelled_split_is_one(split):
    one = Relabelled(split, split.labels, split.class_names, split.fingerprint)
    assert (len(one), one.keys, one.mean) == (len(split), split.keys, split.mean)
    assert (one.fingerprint, one.image_size) == (split.fingerprint, split.image_size)
    np.testing.assert_array_equal(one.labels, split.labels)
    np.testing.assert_array_equal(one.rows(np.array([3])), split.images[3:4])


def test_a_class_name_that_two_of_the_nets_have_is_not_guessed(here, split):
    """ImageNet has two classes "crane"."""
    names = ("car", "car", *here.class_names[2:])
    net = dataclasses.replace(here, class_names=names)
    assert images.in_classes_of(net, dataclasses.replace(split, class_names=names))
    with pytest.raises(ValueError, match="car are two of its: name a folder"):
        images.in_classes_of(net, dataclasses.replace(split, class_names=names[1:]))


def test_ids_of_imagenet_and_their_titles_are_the_same_classes(here, split):
    ids, names = ("n01440764", "n01443537"), ("goldfish", "tench")
    eight = here.class_names[2:]
    for own, theirs, numbers in (
        ((*ids, *eight), names, [1, 0]),
        ((*names, *eight), ids, [1, 0]),
        ((*ids, *eight), ids[::-1], [1, 0]),
    ):
        net = dataclasses.replace(here, class_names=own)
        some = dataclasses.replace(split, class_names=theirs, labels=np.arange(2, dtype=np.int32))
        assert images.in_classes_of(net, some).labels.tolist() == numbers


def test_a_title_that_two_ids_of_imagenet_have_matches_neither(here, split):
    bird, machine = "n02012849", "n03126707"  # crane and crane
    eight = here.class_names[2:]
    for own, theirs in ((("crane", "tench"), (bird,)), ((machine, "tench"), ("crane",))):
        net = dataclasses.replace(here, class_names=(*own, *eight))
        some = dataclasses.replace(split, class_names=theirs, labels=np.zeros(3, np.int32))
        with pytest.raises(ValueError, match="it does not know"):
            images.in_classes_of(net, some)


def test_what_titles_decided_is_of_other_images_when_they_change(here, split):
    """A result that was found by the titles of before must not be found again."""
    names = ("goldfish", "tench")
    some = dataclasses.replace(split, class_names=names, labels=np.zeros(3, np.int32))
    found = []
    for titles in (("goldfish", "tench"), ("tench", "goldfish")):
        net = dataclasses.replace(here, class_names=("one", "two", *here.class_names[2:]))
        net.__dict__["class_titles"] = (*titles, *here.class_names[2:])  # as run.json says them
        found.append(images.in_classes_of(net, some).fingerprint)
    by_name = dataclasses.replace(here, class_names=(*names, *here.class_names[2:]))
    found.append(images.in_classes_of(by_name, some).fingerprint)
    assert len(set(found)) == 3
    assert found[2] == split.fingerprint
