"""What a linear SVM on the features of the first layer costs, here and with scikit-learn alone.

    python -m scripts.benchmark_transfer --workdir=DIR --prepared_dir=DIR --per_class=5

Here: inner products of all images, or of a layer of few features these, and the SVM of `heads.fit`
on those of training and test images, as in a study.
Beside it scikit-learn's LinearSVC on the features themselves, which needs about 24 bytes for each
that is not zero: at the paper's 30 images of each of 101 classes more than 10 GB. One fold, one C;
both read the same features from the disk, each form in a process of its own, whose most memory
counts. Quiet machine, please.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from absl import flags

from zfnet_jax import extras
from zfnet_jax.command import shell

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_PREPARED = flags.DEFINE_string(
    "prepared_dir", None, "Prepared images, all in one split.", required=True
)
_SPLIT = flags.DEFINE_string("split", "train", "The split.")
_LEAVE_OUT = flags.DEFINE_multi_string("leave_out", [], "A class that does not count.")
_LAYER = flags.DEFINE_string("layer", None, "An activation; the output of layer 1 if not given.")
_PER_CLASS = flags.DEFINE_integer("per_class", 5, "Training images of each class.", lower_bound=1)
_TEST = flags.DEFINE_integer("test_per_class", 50, "Test images of a class at most.", lower_bound=1)
_C = flags.DEFINE_float("c", 0.1, "What the losses are multiplied by.")
_LIMIT = flags.DEFINE_integer("limit_s", 3600, "Seconds after which a form is stopped.")
_BATCH = flags.DEFINE_integer("batch_size", 32, "Images per step, for features not yet there.")

Problem = tuple[Path, np.ndarray, np.ndarray, np.ndarray]  # features; train, test rows; labels
Answer = tuple[np.ndarray, float]  # classes of the test images; the objective that was reached


def main() -> None:
    if importlib.util.find_spec("sklearn") is None:
        raise extras.missing("scikit-learn", "bench")
    from zfnet_jax.data.prepared import open_prepared
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.transfer import features, folds, measure

    run = open_run(_WORKDIR.value)
    split = open_prepared(_PREPARED.value, _SPLIT.value)
    classes = folds.choose_classes(split.labels, split.class_names, _LEAVE_OUT.value)
    fold = folds.make_fold(classes, _PER_CLASS.value, 0, seed=0, test_per_class=_TEST.value)
    net = run.architecture
    layer = run.layer(_LAYER.value, net.activations) if _LAYER.value else net.outputs[1]
    path = features.extract(run, split, [layer], batch_size=_BATCH.value, progress=True)[layer]
    labels, truth = classes.labels[fold.train], classes.labels[fold.test]
    print(
        f"{layer}: {features.open_features(path).shape[1]:,} features, {len(labels):,} training "
        f"and {len(truth):,} test images, {len(classes.names)} classes, C = {_C.value:g}"
    )
    found = []
    for name, form in {"here": _here, "LinearSVC alone": _alone}.items():
        answer = _in_a_process(form, (path, fold.train, fold.test, labels))
        if isinstance(answer, str):
            print(f"{name:16s} {answer}")
            continue
        (predicted, objective), seconds, megabytes = answer
        found.append((predicted, objective))
        print(
            f"{name:16s} {seconds:8.1f} s  {megabytes:8,} MB  mean accuracy of the classes "
            f"{measure.class_mean_accuracy(truth, predicted):.2%}, objective {objective:.6g}",
            flush=True,
        )
    if len(found) == 2:
        (own, reached), (theirs, best) = found
        print(f"objective {reached / best - 1:+.4%}; {np.mean(own == theirs):.2%} of answers equal")


def _in_a_process(form: Callable[..., Answer], problem: Problem) -> tuple[Answer, float, int] | str:
    """Answer, seconds and MB of a form; or why there are none."""
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_measure, args=(form, problem, _C.value, sender))
    process.start()
    sender.close()
    try:
        if receiver.poll(_LIMIT.value):
            return receiver.recv()
        return f"stopped after {_LIMIT.value} s"
    except EOFError:
        process.join()
        return f"ended with code {process.exitcode}: out of memory?"
    finally:
        process.kill()
        process.join()


def _measure(form: Callable[..., Answer], problem: Problem, c: float, sender: Connection) -> None:
    from zfnet_jax.studies.transfer.measure import peak_memory_mb

    began = time.perf_counter()
    try:
        answer = form(*problem, c)
    except MemoryError as error:
        sender.send(f"out of memory: {error}")
        return
    sender.send((answer, time.perf_counter() - began, peak_memory_mb()))


def _here(path: Path, train: np.ndarray, test: np.ndarray, labels: np.ndarray, c: float) -> Answer:
    from zfnet_jax.studies.transfer import features, gram, heads
    from zfnet_jax.studies.transfer.options import Options

    rows = features.open_features(path)
    if features.has_gram(*rows.shape):
        matrix = gram.gram_matrix(rows, desc="inner products", progress=False)
        inputs = gram.of_gram(matrix, train, test)
    else:
        inputs = gram.of_features(path, train, test)
    targets = heads.one_hot(labels, labels.max() + 1)
    (weights,) = heads.fit("svm", inputs.train, targets, [c], tolerance=Options().tolerance)
    shares, bias = (np.asarray(array, np.float64) for array in weights)
    if inputs.train.matrix is None:
        products, square = np.asarray(inputs.train.rows) @ shares, np.sum(shares**2)
    else:
        products = np.asarray(inputs.train.matrix) @ shares
        square = np.sum(shares * products)
    reached = _objective(products + bias, square + np.sum(bias**2), labels, c)
    return heads.logits(inputs, weights).argmax(axis=1), reached


def _alone(path: Path, train: np.ndarray, test: np.ndarray, labels: np.ndarray, c: float) -> Answer:
    from sklearn.svm import LinearSVC

    from zfnet_jax.studies.transfer import features

    rows = np.array(features.open_features(path)[train])
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows -= mean
    distance = np.sqrt(np.mean(np.einsum("nd,nd->n", rows, rows)))
    rows /= distance
    svm = LinearSVC(C=c, random_state=0, max_iter=100_000).fit(rows, labels)
    square = np.sum(svm.coef_**2) + np.sum(svm.intercept_**2)
    reached = _objective(svm.decision_function(rows), square, labels, c)
    del rows
    features_of = features.open_features(path)
    parts = [svm.predict((features_of[one] - mean) / distance) for one in np.array_split(test, 50)]
    return np.concatenate(parts), reached


def _objective(logits: np.ndarray, square: float, labels: np.ndarray, c: float) -> float:
    """What both minimise, see `heads`: of logits [m, K] and the weights' sum of squares."""
    signs = 2 * (labels[:, None] == np.arange(logits.shape[1])) - 1
    return float(square / 2 + c * np.sum(np.maximum(0, 1 - signs * logits) ** 2))


if __name__ == "__main__":
    shell.run(main)
