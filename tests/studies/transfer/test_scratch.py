"""Nets trained from scratch on a fold: on its training images alone, resumable, well judged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from zfnet_jax.data import splits
from zfnet_jax.data.images import Photos
from zfnet_jax.data.prepared import open_prepared, verify
from zfnet_jax.data.subset import write_subset
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.saved import Result
from zfnet_jax.studies.transfer import scratch
from zfnet_jax.studies.transfer.folds import choose_classes, make_fold
from zfnet_jax.studies.transfer.options import ScratchOptions


def test_a_subset_is_a_prepared_split_of_its_rows(train, tmp_path):
    classes = choose_classes(train.labels, train.class_names, train.class_names[:2])
    rows = np.flatnonzero(classes.labels >= 0)[::-1][:20]
    how = {"labels": classes.labels[rows], "class_names": classes.names}
    write_subset(train, rows, tmp_path / "some", **how, with_mean=True)
    verify(tmp_path, "some")
    some = open_prepared(tmp_path, "some")
    np.testing.assert_array_equal(some.images, train.images[rows])
    assert some.keys == tuple(train.keys[row] for row in rows)
    assert some.class_names == train.class_names[2:]
    for label, row in zip(some.labels, rows):
        assert some.class_names[label] == train.class_names[train.labels[row]]
    np.testing.assert_allclose(some.mean, train.images[rows].mean(axis=0), rtol=1e-6)
    write_subset(train, rows[:10], tmp_path / "other", **how | {"labels": some.labels[:10]},
                 with_mean=False)  # fmt: skip
    other = open_prepared(tmp_path, "other")
    assert other.mean is None
    assert other.fingerprint != some.fingerprint


def test_a_fold_is_trained_on_its_training_images_and_goes_on_where_it_stopped(
    run, tiny_config, train, tmp_path, monkeypatch, caplog
):
    run = dataclasses.replace(run, directory=tmp_path)
    classes = choose_classes(train.labels, train.class_names, ())
    fold = make_fold(classes, 5, 0, seed=3, test_per_class=50)
    tiny_config.epochs, seen = 2, []
    tiny_config.optimizer.schedule = "constant"  # of one program, whatever the epochs
    tiny_config.data.exclude = str(tmp_path / "of the run's own pictures.json")
    train_and_evaluate = scratch.train_and_evaluate

    def interrupted(config, directory):
        names = ("train", "validation", "test")
        seen.append([open_prepared(config.data.prepared_dir, name) for name in names])
        train_and_evaluate(config, directory, 4 if len(seen) == 1 else None)
        if len(seen) == 1:
            raise KeyboardInterrupt

    def measured(run=run, **changed) -> Result:
        options = ScratchOptions(data="pictures", per_class=(5,), folds=1, seed=3)
        options = dataclasses.replace(options, **changed)
        how = {"given": ["--prepared_dir=here"], "progress": False}
        (result,) = scratch.measured(run, tiny_config, train, classes, options, **how)
        return result

    monkeypatch.setattr(scratch, "train_and_evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured()
    assert not saved.find(tmp_path, "transfer")
    result = measured()
    # The third time nothing was left to train, also if the run has been trained on meanwhile.
    assert measured(dataclasses.replace(run, step=run.step + 1)).folder == result.folder
    assert len(seen) == 2

    training, watched, tested = seen[1]
    assert watched.keys == training.keys  # so few are all watched, which needs no warning
    assert splits.SAME_PHOTOS not in caplog.text
    assert training.keys == tuple(train.keys[row] for row in fold.train)
    assert set(watched.keys) <= set(training.keys)
    assert tested.keys == tuple(train.keys[row] for row in fold.test)
    assert not set(training.keys) & set(tested.keys)
    folder = tmp_path / "studies" / "transfer" / "scratch" / result.folder.name
    net = open_run(folder)
    assert net.step == 2 * (50 // 16)
    np.testing.assert_allclose(net.mean, train.images[fold.train].mean(axis=0), rtol=1e-6)

    photos = Photos(train.images[fold.test], train.labels[fold.test])
    answers = predict(net, photos, crops=1, batch_size=16, probabilities=False, progress=False)
    right = answers["predicted"] == photos.labels
    mean = np.mean([right[photos.labels == label].mean() for label in range(10)])
    assert result.about["accuracy"] == pytest.approx(mean)
    np.testing.assert_array_equal(result.arrays["predicted"], answers["predicted"])
    np.testing.assert_array_equal(result.arrays["rows"], fold.test)
    assert not (folder / "images").exists()
    assert tiny_config.data.source == "pictures"  # the recipe is not changed
    said = {name: result.about[name] for name in ("method", "epochs", "step", "run", "recipe_of")}
    assert said == {
        "method": "scratch",
        "epochs": 2,
        "step": net.step,
        "run": result.folder.name,
        "recipe_of": tmp_path.name,
    }
    assert result.about["command"] == (
        f"python -m scripts.scratch --workdir={tmp_path} --prepared_dir=here --data=pictures"
        " --per_class=5 --folds=1 --seed=3"
    )

    # Another recipe trains another net beside the first.
    other = measured(epochs=1)
    assert other.about["step"] == 50 // 16
    assert {one.folder for one in saved.find(tmp_path, "transfer")} == {
        result.folder,
        other.folder,
    }
    assert len(seen) == 3
    assert open_run(folder).step == net.step


def test_images_of_another_size_are_refused(tiny_config, train, tmp_path):
    tiny_config.data.image_size = 32
    with pytest.raises(ValueError, match="prepared at 64 pixels, but the recipe wants 32"):
        scratch.train_fold(tiny_config, train, None, None, tmp_path, progress=False)
