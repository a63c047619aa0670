"""Transfer: features, inner products, heads, folds, and the study from images to scores."""

from __future__ import annotations

import dataclasses
import os
import shlex
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_info, threadpool_limits

from tests.conftest import run_script
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import saved
from zfnet_jax.studies.saved import Result
from zfnet_jax.studies.transfer import cross_validation, features, folds, gram, heads, measure
from zfnet_jax.studies.transfer import study as transfer
from zfnet_jax.studies.transfer.options import Options

PER_CLASS, CLASSES, DIMS = 8, 5, 300
OPTIONS = Options(
    data="tiny",
    layers=("pool1", "fc7"),
    heads=("softmax", "svm"),
    per_class=(1, 2),
    folds=2,
    test_per_class=2,
    softmax_grid=(100.0, 1.0),
    svm_grid=(0.1, 1.0),
    cv_folds=2,
    tolerance=1e-3,
)


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Features of 5 classes that overlap, all positive and far from zero as those of relus are."""

    train: np.ndarray
    labels: np.ndarray
    test: np.ndarray

    @property
    def both(self) -> np.ndarray:
        return np.concatenate([self.train, self.test])

    def products(self) -> gram.Products:
        rows = np.arange(len(self.both))
        matrix = gram.gram_matrix(self.both, desc="", progress=False)
        return gram.of_gram(matrix, rows[: len(self.train)], rows[len(self.train) :])

    def features(self) -> gram.Products:
        """The same, as of layers of few features."""
        rows = np.arange(len(self.both))
        return gram.of_features(self.both, rows[: len(self.train)], rows[len(self.train) :])

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """The raw features as the coordinates see them."""
        mean = self.train.mean(axis=0, dtype=np.float64)
        distance = np.sqrt(np.mean(np.sum((self.train - mean) ** 2, axis=1)))
        return (raw - mean) / distance


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    rng = np.random.default_rng(0)
    centres = 20 + 1.2 * rng.normal(size=(CLASSES, DIMS))

    def draw(per_class: int) -> np.ndarray:
        rows = np.repeat(centres, per_class, axis=0)
        return (rows + 4 * rng.normal(size=rows.shape)).astype(np.float32)

    return Cloud(draw(PER_CLASS), np.repeat(np.arange(CLASSES), PER_CLASS), draw(40))


# Inner products and coordinates.


def test_gram_matrix_is_all_inner_products_whatever_the_blocks(monkeypatch):
    rows = np.random.default_rng(0).uniform(1, 2, size=(37, 500)).astype(np.float32)
    less_mean = rows - rows.mean(axis=0, dtype=np.float64)
    expected = less_mean @ less_mean.T
    whole = gram.gram_matrix(rows, desc="", progress=False)
    monkeypatch.setattr(gram, "BLOCK", 10)
    monkeypatch.setattr(gram, "PIECE", 16)
    monkeypatch.setattr(gram, "CHUNK_BYTES", 37 * 4 * 64)
    blocks = gram.gram_matrix(rows, desc="", progress=False)
    for found in (whole, blocks):
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_array_equal(found, found.T)


def test_one_program_multiplies_the_features_of_every_layer():
    """On a GPU compiling took longer than multiplying, and each layer's sizes were new ones."""
    programs = set()
    for dims in (500, 700, 1300):
        rows = np.random.default_rng(0).normal(size=(300, dims)).astype(np.float32)
        gram.gram_matrix(rows, desc="", progress=False)
        programs.add(gram.added._cache_size())
    assert len(programs) == 1


def test_of_a_file_every_number_is_read_once(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).uniform(1, 2, size=(37, 500)).astype(np.float32)
    np.save(tmp_path / "features.npy", rows)
    read = []
    preadv = os.preadv

    def counted(file, buffers, at):
        read.append((at, len(buffers[0])))
        return preadv(file, [buffers[0][:100]], at)  # a disk may give less than is asked for

    monkeypatch.setattr(gram, "PIECE", 16)
    monkeypatch.setattr(gram, "CHUNK_BYTES", 128 * 4 * 64)
    expected = gram.gram_matrix(rows, desc="", progress=False)
    monkeypatch.setattr(os, "preadv", counted)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    found = gram.gram_matrix(mapped, desc="", progress=False)
    np.testing.assert_array_equal(found, expected)
    places = [at for begin, count in read for at in range(begin, begin + min(count, 100))]
    assert sorted(places) == list(range(mapped.offset, mapped.offset + rows.nbytes))


@pytest.mark.parametrize("kind", ["products", "features", "file", "older file"])
def test_all_inner_products_are_those_of_the_scaled_features(cloud, kind, tmp_path):
    size = len(cloud.train)
    if "file" in kind:
        matrix = gram.gram_matrix(cloud.both, desc="", progress=False)
        np.save(tmp_path / "gram.npy", matrix.astype(float if "older" in kind else np.float32))
        rows = np.arange(len(cloud.both))
        found = gram.of_gram(tmp_path / "gram.npy", rows[:size], rows[size:])
    else:
        found = getattr(cloud, kind)()
    train, test = cloud.scaled(cloud.train), cloud.scaled(cloud.test)
    np.testing.assert_allclose(found.train.matrix, train @ train.T, atol=1e-5)
    np.testing.assert_allclose(found.test, test @ train.T, atol=1e-5)
    seen, held = np.array([3, 7, 21]), np.array([0, 39])
    part = found.part(seen, held)
    np.testing.assert_allclose(part.train.matrix, train[seen] @ train[seen].T, atol=1e-5)
    np.testing.assert_allclose(part.test, train[held] @ train[seen].T, atol=1e-5)


def test_few_features_stand_for_their_inner_products(cloud):
    few = dataclasses.replace(cloud, train=cloud.train[:, :15], test=cloud.test[:, :15])
    found = few.features()
    assert found.train.matrix is None
    np.testing.assert_allclose(found.train.rows, few.scaled(few.train), atol=1e-5)
    np.testing.assert_allclose(found.test, few.scaled(few.test), atol=1e-5)
    part = found.part(np.arange(30), np.arange(30, 40))
    np.testing.assert_array_equal(part.train.rows, found.train.rows[:30])
    np.testing.assert_array_equal(part.test, found.train.rows[30:])


@pytest.mark.parametrize("dims", [10, 2])
def test_a_dead_layer_is_an_error(dims):
    rows = np.ones((8, dims), np.float32)
    matrix = gram.gram_matrix(rows, desc="", progress=False)
    for make, given in ((gram.of_gram, matrix), (gram.of_features, rows)):
        with pytest.raises(ValueError, match="the features of all training images are the same"):
            make(given, np.arange(6), np.arange(6, 8))


# Heads.


def of_svc(theirs) -> tuple[np.ndarray, np.ndarray]:
    return theirs.coef_.T, theirs.intercept_


def objective(head: str, kernel, bias, inputs: np.ndarray, labels: np.ndarray, c: float) -> float:
    """Loss and penalty as scikit-learn has them, in NumPy."""
    logits = inputs @ kernel + bias
    own = logits[np.arange(len(labels)), labels]
    if head == "softmax":
        losses = np.log(np.sum(np.exp(logits - own[:, None]), axis=1))
        return c * losses.sum() + 0.5 * np.sum(kernel**2)
    signs = 2 * np.eye(logits.shape[1])[labels] - 1
    losses = np.maximum(0, 1 - signs * logits) ** 2
    return c * losses.sum() + 0.5 * (np.sum(kernel**2) + np.sum(bias**2))


def few_features(cloud: Cloud) -> Cloud:
    return dataclasses.replace(cloud, train=cloud.train[:, :15], test=cloud.test[:, :15])


def twice(cloud: Cloud) -> Cloud:
    """Every image is there two times."""
    return Cloud(np.tile(cloud.train, (2, 1)), np.tile(cloud.labels, 2), cloud.test)


CLOUDS = {"many features": lambda cloud: cloud, "few features": few_features, "twice": twice}


@pytest.mark.parametrize("kind", CLOUDS)
@pytest.mark.parametrize("head", ["softmax", "svm"])
def test_heads_are_scikit_learns_on_the_raw_features(cloud, head, kind):
    """Within 0.01% of the objective and 0.6% of the answers."""
    cloud = CLOUDS[kind](cloud)
    inputs = cloud.features() if kind == "few features" else cloud.products()
    cs = [0.1, 10.0] if head == "svm" else [0.1, 10.0, 1000.0]
    targets = heads.one_hot(cloud.labels, CLASSES)
    raw, test = cloud.scaled(cloud.train), cloud.scaled(cloud.test)
    for c, weights in zip(cs, heads.fit(head, inputs.train, targets, cs, tolerance=1e-4)):
        if head == "svm":
            theirs = LinearSVC(C=c, tol=1e-6, max_iter=100_000, random_state=0)
        else:
            theirs = LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
        theirs.fit(raw, cloud.labels)
        logits = heads.logits(inputs, weights)
        assert np.mean(logits.argmax(1) == theirs.predict(test)) >= 0.994
        if head == "svm":
            np.testing.assert_allclose(logits, theirs.decision_function(test), atol=0.01)
        kernel = np.asarray(weights.coefficients, np.float64)
        if inputs.train.rows is None:
            kernel = raw.T @ kernel
        own = objective(head, kernel, np.asarray(weights.bias), raw, cloud.labels, c)
        best = objective(head, *of_svc(theirs), raw, cloud.labels, c)
        assert own == pytest.approx(best, rel=1e-4)


def test_a_head_that_does_not_converge_is_an_error(cloud, monkeypatch):
    monkeypatch.setattr(heads, "_MAX_STEPS", 64)
    targets = heads.one_hot(cloud.labels, CLASSES)
    for head in ("softmax", "svm"):
        with pytest.raises(ValueError, match="C = 1 does not converge to a gradient of 1e-12"):
            heads.fit(head, cloud.products().train, targets, [1.0], tolerance=1e-12)


def test_steps_are_told_as_shares_of_the_columns_that_are_searched(cloud, monkeypatch):
    monkeypatch.setattr(heads, "_FEWEST", 1)
    targets, told = heads.one_hot(cloud.labels, CLASSES), []
    kernel = cloud.products().train
    heads.fit("svm", kernel, targets, [1e-3, 10.0], tolerance=1e-4, told=told.append)
    shares = np.array(told) / heads._ROUND
    assert shares[0] == 1
    assert (np.diff(shares) <= 0).all()
    assert shares[-1] <= 0.5  # those of the small C were solved long before
    few: list[float] = []
    heads.fit("softmax", kernel, targets, [1.0], tolerance=1e-2, told=few.append)
    assert set(few) == {heads._ROUND}


def test_lapack_has_one_thread_while_directions_are_found(cloud, monkeypatch):
    """More would wait for each other in loops where other work has the cores."""
    found = heads._basis

    def seen(*arguments):
        threads.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return found(*arguments)

    threads: list[int] = []
    monkeypatch.setattr(heads, "_basis", seen)
    targets = heads.one_hot(cloud.labels, CLASSES)
    with threadpool_limits(2, "blas"):
        heads.fit("svm", cloud.products().train, targets, [1.0], tolerance=1e-2)
    assert set(threads) == {1}


def test_cross_validation_never_sees_what_it_holds_out(monkeypatch):
    """A head that knows its images by heart and guesses all others wrong."""
    labels = np.repeat(np.arange(3), 4)
    asked = []

    class Images:
        def part(self, seen, held):
            assert not set(seen) & set(held)
            assert len(seen) + len(held) == 12
            np.testing.assert_array_equal(np.bincount(labels[held], minlength=3), len(held) // 3)
            asked.append(held)
            return SimpleNamespace(train=seen, test=held)

    def fit(_, seen, targets, cs, *, tolerance, told):
        assert (cs, tolerance, told) == ((1, 10, 100), 0.1, None)
        np.testing.assert_array_equal(targets, np.eye(3)[labels[seen]])
        return [labels if c == 10 else labels + 1 for c in cs]

    monkeypatch.setattr(heads, "fit", fit)
    monkeypatch.setattr(heads, "logits", lambda part, answers: np.eye(5)[answers[part.test]])
    choose = {"folds": 3, "tolerance": 0.1}
    images = Images()
    assert cross_validation.choose_c("svm", images, labels, 4, (1, 10, 100), **choose) == 10
    assert sorted(np.concatenate(asked)) == list(range(12))
    # With one image of each class nothing can be held out.
    assert cross_validation.choose_c("svm", images, labels[::4], 1, (1, 10, 100), **choose) == 10
    assert len(asked) == 3


# Folds.


def classes_of(counts: dict[str, int], left_out: tuple[str, ...] = ()) -> folds.Classes:
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    order = np.random.default_rng(0).permutation(len(labels))
    return folds.choose_classes(labels[order].astype(np.int32), list(counts), left_out)


def test_folds_are_disjoint_repeatable_and_nested():
    classes = classes_of({"ant": 9, "bee": 40, "clutter": 30, "cat": 12}, ("clutter",))
    assert (classes.names, classes.images) == (("ant", "bee", "cat"), (9, 40, 12))
    make = lambda n, number=0, seed=0: folds.make_fold(  # noqa: E731
        classes, n, number, seed=seed, test_per_class=10
    )
    before = None
    for n in (1, 4, 8):
        fold, again = make(n), make(n)
        np.testing.assert_array_equal(fold.train, again.train)
        np.testing.assert_array_equal(fold.test, again.test)
        assert not set(fold.train) & set(fold.test)
        np.testing.assert_array_equal(classes.labels[fold.train], np.repeat([0, 1, 2], n))
        np.testing.assert_array_equal(
            np.bincount(classes.labels[fold.test]), [9 - n, 10, min(10, 12 - n)]
        )
        if before is not None:
            assert set(before.train) < set(fold.train)
            assert set(before.test) >= set(fold.test)
        before = fold
    assert set(make(8, number=1).train) != set(make(8).train) != set(make(8, seed=1).train)


def test_a_class_has_the_same_folds_whichever_others_there_are():
    with_all = classes_of({"ant": 9, "bee": 40, "cat": 12})
    without = dataclasses.replace(
        with_all,
        names=("bee", "cat"),
        labels=np.where(with_all.labels > 0, with_all.labels - 1, -1),
    )
    one, other = (
        folds.make_fold(classes, 4, 0, seed=0, test_per_class=10) for classes in (with_all, without)
    )
    np.testing.assert_array_equal(one.train[4:], other.train)


def test_too_few_images_are_an_error_that_names_the_classes():
    classes = classes_of({"ant": 4, "bee": 40, "cat": 5})
    with pytest.raises(ValueError, match="need 5, but ant has 4: take fewer, or leave"):
        folds.make_fold(classes, 4, 0, seed=0, test_per_class=10)
    with pytest.raises(ValueError, match="no class 'dog' to leave out among the 3: ant, bee, cat"):
        classes_of({"ant": 4, "bee": 40, "cat": 5}, ("dog",))


# The study.


def test_features_are_the_nets_activations_and_made_once(run: Run, train, tmp_path, monkeypatch):
    run = dataclasses.replace(run, directory=tmp_path)
    layers = ["pool1", "fc7"]
    paths = features.extract(run, train, layers, batch_size=16, progress=False)
    _, activations = run.forward(run.inputs(train.images))
    for layer in layers:
        found = features.open_features(paths[layer])
        expected = np.asarray(activations[layer]).reshape(70, -1)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(features, "_show_all", None)
    assert features.extract(run, train, layers, batch_size=16, progress=False) == paths
    other = dataclasses.replace(run, mean=run.mean + 1)
    assert features.path_of(other, train, "fc7") != paths["fc7"]


def test_features_refuse_what_does_not_fit(run: Run, train, tmp_path):
    with pytest.raises(ValueError, match=r"no layer 'norm1': .* has conv1, .* pool5"):
        features.extract(run, train, ["norm1"], batch_size=16, progress=False)
    large = dataclasses.replace(train, images=np.zeros((1, 80, 80, 3), np.uint8))
    with pytest.raises(ValueError, match="prepared at 80 pixels, but the net was trained on 64"):
        features.extract(run, large, ["fc7"], batch_size=16, progress=False)
    params = {name: dict(layer) for name, layer in run.params.items()}
    params["fc6"]["bias"] = np.full_like(params["fc6"]["bias"], np.nan)
    damaged = dataclasses.replace(run, params=params, directory=tmp_path)
    with pytest.raises(FloatingPointError, match=f"fc6: image {train.keys[0]} gives features"):
        features.extract(damaged, train, ["pool1", "fc6"], batch_size=16, progress=False)
    assert not list(tmp_path.rglob("*.npy"))


@pytest.fixture
def study(run: Run, train, tmp_path):
    """Runs a study of the run, in a folder of its own: (changed options) -> results."""
    classes = folds.choose_classes(train.labels, train.class_names, [train.class_names[3]])

    def start(directory=tmp_path, **changed) -> list[Result]:
        return transfer.measured(
            dataclasses.replace(run, directory=directory),
            train,
            classes,
            [dataclasses.replace(OPTIONS, **changed)],
            given=["--prepared_dir=here"],
            batch_size=16,
            progress=False,
        )

    return start


def numbers(results: list[Result]) -> dict[str, tuple]:
    """What each result says, by its folder's name."""
    return {
        one.folder.name: (
            one.about["accuracy"],
            one.about["regularisation"],
            one.arrays["predicted"].tolist(),
        )
        for one in results
    }


def test_a_study_goes_on_where_it_was_stopped(study, train, tmp_path, monkeypatch):
    first = study(per_class=(1,))
    assert len(first) == 2 * 2 * 2
    tried, solved = [], []
    try_head = measure.try_head

    def tries(*args, **how):
        tried.append(args[3])
        if len(tried) == 4:
            raise KeyboardInterrupt
        return try_head(*args, **how)

    monkeypatch.setattr(measure, "try_head", tries)
    for name, of in {"of_gram": gram.of_gram, "of_features": gram.of_features}.items():
        monkeypatch.setattr(gram, name, lambda *args, of=of: solved.append(1) or of(*args))
    monkeypatch.setattr(features, "_show_all", None)  # what there is stays
    with pytest.raises(KeyboardInterrupt):
        study()
    assert len(saved.find(tmp_path, "transfer")) == 8 + 3
    everything = study()
    assert tried == [2] * (4 + 5)
    assert len(solved) == 2 + 3  # once for both heads of a fold; the second's fold was half done
    assert numbers(everything).items() >= numbers(first).items()
    assert {one.folder for one in saved.find(tmp_path, "transfer")} == {
        one.folder for one in everything
    }
    assert len(everything) == 16
    for one in everything:
        assert one.folder.name.startswith(
            "-".join(str(one.about["options"][name]) for name in ("data", "layer", "head"))
        )
        assert one.about["options"]["left_out"] == [train.class_names[3]]
        assert one.about["images"] == [7] * 9
        right = one.arrays["labels"] == one.arrays["predicted"]
        shares = [right[one.arrays["labels"] == label].mean() for label in range(9)]
        assert one.about["test_images"] == len(right) == 18
        assert one.about["accuracy"] == pytest.approx(np.mean(shares))
        assert one.about["peak_memory_mb"] > 100
    assert "--layer=pool1 --head=svm" in everything[1].about["command"]
    assert "--per_class=1 --folds=1" in everything[1].about["command"]


def test_a_study_says_what_scikit_learn_says_on_the_features_themselves(
    study, run, train, tmp_path
):
    results = study()
    path = features.path_of(dataclasses.replace(run, directory=tmp_path), train, "pool1")
    raw = features.open_features(path)
    checked = 0
    for one in results:
        options = one.about["options"]
        if (options["layer"], options["head"], options["per_class"]) != ("pool1", "svm", 2):
            continue
        classes = folds.choose_classes(train.labels, train.class_names, options["left_out"])
        fold = folds.make_fold(classes, 2, options["fold"], seed=0, test_per_class=2)
        cloud = Cloud(raw[fold.train], classes.labels[fold.train], raw[fold.test])
        svm = LinearSVC(C=one.about["regularisation"], max_iter=100_000, random_state=0)
        svm.fit(cloud.scaled(cloud.train), cloud.labels)
        np.testing.assert_array_equal(one.arrays["rows"], fold.test)
        same = one.arrays["predicted"] == svm.predict(cloud.scaled(cloud.test))
        assert same.mean() > 0.9
        checked += 1
    assert checked == 2


def test_scores_of_other_options_lie_beside_each_other(study, tmp_path):
    def folders(**changed) -> set[str]:
        return {one.folder.name for one in study(per_class=(2,), **changed)}

    before, svm = folders(), {name for name in folders() if "svm" in name}
    others = [folders(cv_folds=3), folders(seed=1), folders(test_per_class=1)]
    others.append(folders(tolerance=2e-3))
    assert all(len(other) == 8 and not other & before for other in others)
    # An SVM does not depend on what C of softmax is chosen from, nor on the grid's order.
    assert folders(softmax_grid=(10.0,)) & before == svm
    assert folders(softmax_grid=(1.0, 100.0)) == before
    assert len(saved.find(tmp_path, "transfer")) == 5 * 8 + 4


def test_two_studies_at_once_score_as_each_alone(study, tmp_path):
    """Of one run and data, some layers, heads and folds the same and some not."""
    asked = [
        {"layers": ("pool1", "fc7"), "heads": ("softmax", "svm")},
        {"layers": ("fc7", "fc6"), "heads": ("svm",), "per_class": (2, 1)},
        {"layers": ("pool1", "fc7"), "heads": ("softmax",), "seed": 1},
    ]
    alone: dict[str, tuple] = {}
    for number, changed in enumerate(asked):
        alone |= numbers(study(tmp_path / f"alone{number}", **changed))
    together: dict[str, tuple] = {}
    begin = threading.Barrier(len(asked))

    def start(changed) -> None:
        begin.wait()
        together.update(numbers(study(tmp_path / "together", **changed)))

    threads = [threading.Thread(target=start, args=(changed,)) for changed in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    folder = tmp_path / "together" / "studies" / "transfer"
    assert {one.folder.name for one in saved.find(tmp_path / "together", "transfer")} == set(alone)
    hidden = [path for path in folder.rglob("*") if path.name.startswith(".")]
    assert not hidden  # neither locks nor what is half written
    layers = sorted(path.name.partition("-")[0] for path in folder.glob("features/*-gram.npy"))
    assert layers == ["pool1"]  # the others have few features


def test_a_grid_without_values_is_named():
    with pytest.raises(ValueError, match="--svm_grid is empty"):
        dataclasses.replace(OPTIONS, svm_grid=()).grid("svm")


def test_accuracy_is_the_mean_over_classes():
    labels, predicted = np.array([0, 0, 0, 0, 2]), np.array([0, 0, 0, 1, 1])
    assert measure.class_mean_accuracy(labels, predicted) == pytest.approx(0.75 / 2)


def test_the_command_that_a_score_tells_finds_it(tiny_run, prepared_pictures, tmp_path):
    for name in ("checkpoints", "config.json", "run.json"):
        (tmp_path / name).symlink_to(tiny_run / name)
    how = ("--data=mine", f"--prepared_dir={prepared_pictures}", "--per_class=2,1", "--folds=2")
    grid = "--softmax_grid=100,1"
    (output,) = run_script("transfer", f"--workdir={tmp_path}", *how, grid, "--leave_out=bird")
    results = saved.find(tmp_path, "transfer")
    assert len(results) == 4
    assert "mine, 9 classes, mean accuracy" in output
    found = [one.about["accuracy"] for one in results if one.about["options"]["per_class"] == 1]
    mean, spread = 100 * np.mean(found), 100 * np.std(found, ddof=1)
    assert f"fc7    softmax   1 per class: {mean:.1f} +- {spread:.1f} (2 folds)" in output
    last = max(results, key=lambda one: one.about["options"]["fold"])
    _, _, script, *arguments = shlex.split(last.about["command"])
    run_script(script.removeprefix("scripts."), *arguments)
    again = {one.folder: one.about["finished"] for one in saved.find(tmp_path, "transfer")}
    assert again == {one.folder: one.about["finished"] for one in results}


def test_features_that_share_much_and_differ_little_are_not_dead():
    features = 1 + 1e-4 * np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    rows = gram.of_features(features, np.arange(20), np.arange(20, 30)).train.rows
    assert rows is not None
    np.testing.assert_allclose(np.mean(np.sum(np.square(rows), axis=1)), 1, rtol=1e-3)
    with pytest.raises(ValueError, match="the layer is dead"):
        gram.of_features(np.ones((30, 4), np.float32), np.arange(20), np.arange(20, 30))
