"""What `transfer --dry_run` says, against what the study does and leaves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tests.studies.transfer import test_transfer
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.transfer import dry_run, features, folds, gram, heads, study
from zfnet_jax.studies.transfer.dry_run import Fit
from zfnet_jax.training.estimate import bytes_in_words

OPTIONS = dataclasses.replace(
    test_transfer.OPTIONS,
    per_class=(1, 3),
    softmax_grid=(1.0, 10.0, 100.0),
    cv_folds=3,
    tolerance=0.3,  # what is fitted counts, not how well
)


@pytest.fixture
def here(run: Run, tmp_path: Path) -> Run:
    """The run, as if its folder had no results."""
    return dataclasses.replace(run, directory=tmp_path)


@pytest.mark.slow
def test_what_it_says_is_what_the_study_does(here, train, monkeypatch):
    classes = folds.choose_classes(train.labels, train.class_names, [])

    def lines() -> dict[str, str]:
        found = dry_run.dry_run(here, train, classes, [OPTIONS], batch_size=20)
        return dict(line.split(": ", 1) for line in found)

    said = lines()
    assert list(said) == ["data", "pool1", "fc7", "disk", "memory", "time"]
    assert said["data"].endswith("10 classes that count; heads to fit: 16")
    assert not list(here.directory.iterdir())

    fit, fitted = heads.fit, []

    def seen(head, kernel, targets, cs, **how):
        matrix = heads._matrix(kernel)
        columns = targets.shape[1] * (len(cs) if head == "svm" else 1)
        fitted.append(Fit(head, *matrix.shape, columns, 1))
        return fit(head, kernel, targets, cs, **how)

    monkeypatch.setattr(heads, "fit", seen)
    study.measured(here, train, classes, [OPTIONS], given=(), batch_size=20, progress=False)
    dims = features.dimensions(here, OPTIONS.layers)
    told: list[Fit] = []
    for one in study.head_options(OPTIONS, ()):
        told += dry_run.fits(one, 10, dims[one.layer])
    assert _by_size(told) == _by_size(fitted)

    files = list((here.directory / "studies/transfer/features").glob("*.npy"))
    disk = sum(file.stat().st_size - 128 for file in files)  # less their headers
    assert said["disk"].startswith(f"{bytes_in_words(disk)} in ")
    assert lines() == {"data": said["data"].replace(": 16", ": 0")}


def _by_size(every: list[Fit]) -> dict[Fit, int]:
    """How often there is a fit of each size."""
    count: dict[Fit, int] = {}
    for one in every:
        key = one._replace(times=0)
        count[key] = count.get(key, 0) + one.times
    return count


def test_what_is_made_already_is_not_counted(here, train):
    classes = folds.choose_classes(train.labels, train.class_names, [])

    def line(begin: str) -> str:
        found = dry_run.dry_run(here, train, classes, [OPTIONS], batch_size=20)
        return next(one for one in found if one.startswith(begin))

    assert "of features to make" in line("pool1")
    assert "of inner products to make" in line("pool1")
    features.products(here, train, ["pool1"], batch_size=20, progress=False)
    assert "to make" not in line("pool1")
    assert "of features to make" in line("fc7")


@pytest.mark.parametrize("head", ["svm", "softmax"])
@pytest.mark.parametrize("dims", [60, 2000])
def test_memory_of_a_search_is_what_its_programs_take(head, dims):
    """As the compiler tells, and up to a third more, which lies beside them."""
    images, classes, cs = 999, 40, [0.1, 1.0]
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(images, dims)).astype(np.float32)
    kernel = gram.of_features(cloud, np.arange(images), np.arange(5)).train
    at_once = len(cs) if head == "svm" else 1
    columns = at_once * classes
    width = min(images, dims)
    weights = heads.Weights(jnp.zeros((width, columns)), jnp.zeros(columns))
    targets = jnp.asarray(np.tile(heads.one_hot(np.arange(images) % classes, classes), at_once))
    c = jnp.ones(columns if head == "svm" else 1)
    basis = heads._basis(kernel, min(heads.BASIS, width))
    state = heads._begin(head, kernel, basis, targets, c, jnp.ones_like(c), weights)
    compiled = heads._advance.lower(
        head, kernel, basis, targets, c, jnp.ones_like(c), jnp.float32(0.1), jnp.bool_(True), state
    ).compile()
    memory = compiled.memory_analysis()
    taken = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    taken -= memory.alias_size_in_bytes
    told = Fit(head, images, width, columns, 1).bytes
    assert taken < told < 4 / 3 * taken


def test_a_full_disk_is_said(here, train, monkeypatch):
    classes = folds.choose_classes(train.labels, train.class_names, [])
    free = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr(dry_run.shutil, "disk_usage", lambda _: free)
    found = dry_run.dry_run(here, train, classes, [OPTIONS], batch_size=20)
    line = next(one for one in found if one.startswith("disk"))
    assert line.endswith("1 kB are free; that does not fit")


def test_few_images_per_class_choose_nothing():
    one = study.head_options(dataclasses.replace(OPTIONS, per_class=(1,)), ())[0]
    assert dry_run.fits(one, 10, 500) == [Fit("softmax", 10, 10, 10, 1)]
