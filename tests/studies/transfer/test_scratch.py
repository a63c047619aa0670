"""Nets trained from scratch on a fold: on its training images alone, resumable, well judged."""

from __future__ import annotations

import numpy as np
import pytest

from zfnet_jax.data.images import Photos
from zfnet_jax.data.prepared import open_prepared, verify
from zfnet_jax.data.subset import write_subset
from zfnet_jax.runs.checkpoint import open_checkpoints
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.transfer import scores as transfer_scores
from zfnet_jax.studies.transfer import scratch
from zfnet_jax.studies.transfer.folds import choose_classes, make_fold
from zfnet_jax.studies.transfer.scores import Score, Study, TransferScores
from zfnet_jax.training.metrics import read_metrics


@pytest.fixture
def train(prepared_pictures):
    return open_prepared(prepared_pictures, "train")


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
    tiny_config, train, tmp_path, monkeypatch
):
    names = train.class_names
    study = Study("pictures", train.fingerprint, names, (7,) * 10, (), 50, seed=3)
    transfer_scores.save(tmp_path, TransferScores(study, {}, ()))
    fold = make_fold(choose_classes(train.labels, names, ()), 5, 0, seed=3, test_per_class=50)
    tiny_config.epochs, seen = 2, []
    tiny_config.data.exclude = str(tmp_path / "of the run's own pictures.json")
    train_and_evaluate = scratch.train_and_evaluate

    def interrupted(config, directory):
        parts = ("train", "validation", "test")
        seen.append([open_prepared(config.data.prepared_dir, part) for part in parts])
        train_and_evaluate(config, directory, 4 if len(seen) == 1 else None)
        if len(seen) == 1:
            raise KeyboardInterrupt

    def train_folds(*, replace: bool = False) -> TransferScores:
        how = {"run": "tiny", "per_class": [5], "folds": 1, "progress": False}
        return scratch.train_folds(tiny_config, train, tmp_path, replace=replace, **how)

    monkeypatch.setattr(scratch, "train_and_evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_folds()
    (score,) = train_folds().scores
    assert transfer_scores.load(tmp_path) == train_folds()
    assert len(seen) == 2  # the third time nothing was left to train

    training, watched, tested = seen[1]
    assert training.keys == tuple(train.keys[row] for row in fold.train)
    assert set(watched.keys) <= set(training.keys)
    assert tested.keys == tuple(train.keys[row] for row in fold.test)
    assert not set(training.keys) & set(tested.keys)
    run = open_run(tmp_path / "scratch" / "5-0" / "run")
    assert run.step == 2 * (50 // 16)
    np.testing.assert_allclose(run.mean, train.images[fold.train].mean(axis=0), rtol=1e-6)

    photos = Photos(train.images[fold.test], train.labels[fold.test])
    answers = predict(run, photos, crops=1, batch_size=16, probabilities=False, progress=False)
    right = answers["predicted"] == photos.labels
    mean = np.mean([right[photos.labels == label].mean() for label in range(10)])
    assert score == Score("scratch", None, None, 5, 0, pytest.approx(mean), None, 20)
    with np.load(transfer_scores.answers_path(tmp_path, score)) as saved:
        np.testing.assert_array_equal(saved["predicted"], answers["predicted"])
        np.testing.assert_array_equal(saved["rows"], fold.test)
    assert not (tmp_path / "scratch" / "5-0" / "data").exists()
    assert tiny_config.data.source == "pictures"  # the recipe is not changed

    tiny_config.epochs = 3
    with pytest.raises(ValueError, match="epochs is 2 there and 3 here"):
        train_folds()
    # Dropped once: the same command again goes on with what it has trained since.
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        train_folds(replace=True)
    assert not transfer_scores.load(tmp_path).scores
    half = tmp_path / "scratch" / "5-0" / "run" / "checkpoints" / "4"
    assert half.exists()
    (score,) = train_folds(replace=True).scores
    with open_checkpoints(half.parent) as checkpoints:
        assert checkpoints.all_steps() == [6, 9]
    assert read_metrics(half.parents[1])[0]["step"] == 3  # of the first, interrupted session


def test_images_of_another_size_are_refused(tiny_config, train, tmp_path):
    tiny_config.data.image_size = 32
    with pytest.raises(ValueError, match="prepared at 64 pixels, but the recipe wants 32"):
        scratch.train_fold(tiny_config, train, None, None, tmp_path, progress=False)
