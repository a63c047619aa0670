"""What heads on features will take of time, memory and disk: found on a sample, in minutes.

The features of some images are made, and a head of each kind is fitted to those of each layer, and
to half of them: so its steps are counted, and how they grow. What a step takes is timed on made
numbers of the real sizes. No result is written.
"""

from __future__ import annotations

import functools
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import parallel
from zfnet_jax.data.images import Chosen, Split
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.transfer import cross_validation, features, gram, heads, measure, study
from zfnet_jax.studies.transfer.folds import Classes
from zfnet_jax.studies.transfer.options import Head, HeadOptions, Options
from zfnet_jax.training import estimate
from zfnet_jax.training.estimate import bytes_in_words, seconds_in_words

_IMAGES = 2048  # of a sample, at most
_SAMPLE_BYTES = 2**30  # of their features, at most
_FLOAT = 4  # bytes
# Numbers that a search has at once for each column of its weights: so many for each image and for
# each number of the matrix's width.
_OF_IMAGE: dict[Head, int] = {"svm": 13, "softmax": 7}
_OF_WIDTH = 6
# Bytes beside, on a CPU: of the programs of all searches of a size, and of all else.
_PROGRAMS, _BESIDE = 15 * 10**7, 3 * 10**8


class Fit(NamedTuple):
    """Heads that are searched on the same images, and how often.

    Attributes:
      head: the loss.
      images: that they are trained on.
      width: of the matrix that they see: inner products with `images`, or fewer features.
      columns: that are searched at once: classes, times the values of C of an SVM.
      times: on how many such sets of images.
    """

    head: Head
    images: int
    width: int
    columns: int
    times: int

    @property
    def through_features(self) -> bool:
        """Whether the matrix has features, not inner products."""
        return self.width != self.images

    @property
    def bytes(self) -> int:
        """Of the matrix and what preconditions, and of a search or of finding the latter."""
        searched = self.columns * (_OF_IMAGE[self.head] * self.images + _OF_WIDTH * self.width)
        directions = min(heads.BASIS, self.width) * (self.images + self.width)
        return _FLOAT * (self.images * self.width + directions + max(searched, directions))


class Sample(NamedTuple):
    """Some images of some classes.

    Attributes:
      rows: of the split: `per_class` of each class, class by class, and then one more of each.
      per_class, classes: how many.
    """

    rows: np.ndarray
    per_class: int
    classes: int

    @property
    def trained(self) -> int:
        return self.per_class * self.classes


class SampleFeatures(NamedTuple):
    """What was made of a sample.

    Attributes:
      by_layer: [n, D] of each layer.
      seconds: that an image takes.
      most: bytes that the process had while they were made, less those that it keeps here.
    """

    by_layer: dict[str, np.ndarray]
    seconds: float
    most: int


class Need(NamedTuple):
    """What is not there yet.

    Attributes:
      heads: to fit.
      features, products: layers whose features and inner products are to be made.
    """

    heads: list[HeadOptions]
    features: tuple[str, ...]
    products: tuple[str, ...]


def dry_run(
    run: Run, split: Split, classes: Classes, options: Sequence[Options], *, batch_size: int
) -> Iterator[str]:
    """What is found, in lines, each as soon as it is known; what is saved already is not counted.

    Arguments and errors as in `study.measured`.
    """
    need = _need(run, split, study.not_there(run, split, classes, options))
    count = len(split)
    yield (
        f"data: {count:,} images of {split.image_size} pixels, {len(classes.names)} classes that"
        f" count; heads to fit: {len(need.heads)}"
    )
    if not need.heads:
        return
    dims = features.dimensions(run, list(dict.fromkeys(one.layer for one in need.heads)))
    of_features = {layer: _FLOAT * count * dims[layer] for layer in need.features}
    of_products = dict.fromkeys(need.products, _FLOAT * count**2)
    for layer, each in dims.items():
        to_make = [
            f"{bytes_in_words(sizes[layer])} of {what} to make"
            for what, sizes in (("features", of_features), ("inner products", of_products))
            if layer in sizes
        ]
        yield f"{layer}: {', '.join([f'{each:,} features an image', *to_make])}"
    disk = sum(of_features.values()) + sum(of_products.values())
    free = shutil.disk_usage(run.directory).free
    yield (
        f"disk: {bytes_in_words(disk)} in {run.directory}; {bytes_in_words(free)} are free"
        + ("; that does not fit" if disk > free else "")
    )
    before = estimate.host_memory()
    sample = _sample(classes, need.heads, sum(dims.values()))
    made = _features(run, split, sample, tuple(dims), batch_size)
    yield _of_memory(need, classes, count, dims, before, made.most if need.features else 0)
    yield _of_time(need, classes, count, dims, sample, made)


def _need(run: Run, split: Split, missing: list[HeadOptions]) -> Need:
    """Beside the heads that are missing what they are made from."""
    dims = features.dimensions(run, [one.layer for one in missing])
    kept = [layer for layer in dims if features.has_gram(len(split), dims[layer])]
    products = [one for one in kept if not features.gram_path(run, split, one).exists()]
    read = [layer for layer in dims if layer in products or layer not in kept]
    made = [layer for layer in read if not features.path_of(run, split, layer).exists()]
    return Need(missing, tuple(made), tuple(products))


def fits(one: HeadOptions, classes: int, dims: int) -> list[Fit]:
    """Of a head: those that choose C, and the last one, on all training images."""
    images = one.per_class * classes
    last = Fit(one.head, images, min(images, dims), classes, 1)
    folds = min(one.cv_folds, one.per_class)
    if folds < 2:
        return [last]
    seen = images - images // folds
    at_once = len(one.grid) if one.head == "svm" else 1
    width = dims if dims < images else seen
    return [Fit(one.head, seen, width, at_once * classes, folds), last]


def head_bytes(one: HeadOptions, classes: int, tested: int, dims: int) -> int:
    """The most that a head has at once: what its fold's images are, and one search."""
    *choosing, last = fits(one, classes, dims)
    inputs = _FLOAT * last.width * (last.images + tested)
    held = [_FLOAT * fit.width * (last.images - fit.images) for fit in choosing]
    searches = [fit.bytes + more for fit, more in zip(choosing, held)]
    return inputs + max([*searches, last.bytes - _FLOAT * last.images * last.width])


def _of_memory(
    need: Need,
    classes: Classes,
    count: int,
    dims: Mapping[str, int],
    before: estimate.HostMemory,
    making: int,
) -> str:
    """Args:
    before: what the process had before features of a sample were made.
    making: the most that it had then; 0 where no features are missing.
    """
    of_heads = [
        head_bytes(one, len(classes.names), len(study.fold_of(classes, one).test), dims[one.layer])
        for one in need.heads
    ]
    of_products = [
        _FLOAT * (count**2 + 2 * count * gram.chunk_width(count, dims[layer]))
        for layer in need.products
    ]
    if parallel.local_devices()[0].platform == "cpu":
        sizes = {fits(one, len(classes.names), dims[one.layer])[-1] for one in need.heads}
        beside = _PROGRAMS * len(sizes) + _BESIDE
        most = beside + max(making, before.now + max([*of_heads, *of_products]))
        # Those pages the system takes back, as of any file that is cached.
        aside = "pages of the photos' file aside"
        return f"memory: {bytes_in_words(most)} at most, of {bytes_in_words(before.there)}; {aside}"
    device = estimate.device_memory()
    of = f", of {bytes_in_words(device)}" if device else ""
    most = max(making, before.now + max([0, *of_products]))
    return (
        f"memory: {bytes_in_words(max(of_heads))} of a device at most{of};"
        f" {bytes_in_words(most)} of the host, of {bytes_in_words(before.there)}"
    )


def _of_time(
    need: Need,
    classes: Classes,
    count: int,
    dims: Mapping[str, int],
    sample: Sample,
    made: SampleFeatures,
) -> str:
    seconds = {
        "features": made.seconds * count * bool(need.features),
        "inner products": sum(_products_seconds(count, dims[one]) for one in need.products),
    }
    kinds: dict[tuple[str, str], list[HeadOptions]] = {}
    for one in need.heads:
        kinds.setdefault((one.layer, one.head), []).append(one)
    of_heads = [
        _heads_seconds(kind, classes, sample, made.by_layer[kind[0].layer])
        for kind in kinds.values()
    ]
    at_once = min(parallel.device_count(), len({(one.layer, one.fold) for one in need.heads}))
    seconds["heads"] = sum(of_heads) / at_once
    parts = ", ".join(f"{seconds_in_words(one)} {what}" for what, one in seconds.items() if one)
    return f"time: {seconds_in_words(sum(seconds.values()))} in all: {parts}"


def _sample(classes: Classes, missing: Sequence[HeadOptions], dims: int) -> Sample:
    """Of as many images as the features of all layers, of so many dimensions, allow."""
    most = max(4, min(_IMAGES, _SAMPLE_BYTES // (_FLOAT * dims)))
    per_class = min(max(one.per_class for one in missing), most // 2)
    count = min(len(classes.names), most // per_class)
    each = [np.flatnonzero(classes.labels == label)[: per_class + 1] for label in range(count)]
    rows = np.concatenate([*(one[:-1] for one in each), [one[-1] for one in each]])
    return Sample(rows, per_class, count)


def _features(
    run: Run, split: Split, sample: Sample, layers: tuple[str, ...], batch_size: int
) -> SampleFeatures:
    images = Chosen(split, sample.rows)
    batch_size = min(batch_size, -(-len(images) // 4))  # so that some batches follow the first
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
    times, most, kept = [], 0, 0
    for _, found in features.show(run, images, layers, batch_size=batch_size, progress=False):
        times.append(time.monotonic())
        most = max(most, estimate.host_memory().most - kept)
        for layer, array in found.items():
            parts[layer].append(array)
            kept += array.nbytes
    after = len(images) - len(parts[layers[0]][0])  # the first batch, which compiles
    seconds = (times[-1] - times[0]) / max(after, 1)
    by_layer = {layer: np.concatenate(arrays) for layer, arrays in parts.items()}
    return SampleFeatures(by_layer, seconds, most)


def _products_seconds(images: int, dims: int) -> float:
    """That the inner products of all images take, but for reading the features."""
    side = gram.block_side(images)
    blocks = -(-images // side)
    pairs = blocks * (blocks + 1) // 2
    return pairs * -(-dims // gram.PIECE) * _product_seconds(side)


def _heads_seconds(
    kind: Sequence[HeadOptions], classes: Classes, sample: Sample, found: np.ndarray
) -> float:
    """That heads of one layer and kind take: steps that they take on the sample, of the seconds
    that a step takes on as many images as there are."""
    one, dims = kind[0], found.shape[1]
    counts = (sample.classes, max(2, sample.classes // 2))
    steps, of_half = (_steps(one, found, sample, count) for count in counts)
    total = 0.0
    for each in kind:
        doublings = max(0.0, math.log2(each.per_class * len(classes.names) / sample.trained))
        for fit, now, before in zip(reversed(fits(each, len(classes.names), dims)), steps, of_half):
            grown = now * max(1.0, now / before) ** doublings
            total += fit.times * (_basis_seconds(fit) + grown * _step_seconds(fit))
    return total


def _steps(
    one: HeadOptions, found: np.ndarray, sample: Sample, classes: int
) -> tuple[float, float]:
    """On the first classes of a sample: of the last fit, and of one that chooses C, of all its
    values, on average."""
    trained = np.arange(classes * sample.per_class)
    inputs = gram.of_features(found, trained, sample.trained + np.arange(classes))
    labels = np.repeat(np.arange(classes), sample.per_class)
    rough, folds = measure.ROUGHER * one.tolerance, min(one.cv_folds, sample.per_class)
    counted: list[float] = []
    c = cross_validation.choose_c(
        one.head,
        inputs,
        labels,
        sample.per_class,
        one.grid,
        folds=one.cv_folds,
        tolerance=rough,
        told=counted.append,
    )
    choosing = sum(counted) / folds
    counted.clear()
    targets = heads.one_hot(labels, classes)
    heads.fit(one.head, inputs.train, targets, [c], tolerance=one.tolerance, told=counted.append)
    return sum(counted), choosing


@functools.cache
def _basis_seconds(fit: Fit) -> float:
    kernel = _kernel(fit)
    return _seconds(lambda: heads.strongest(kernel))


@functools.cache
def _step_seconds(fit: Fit) -> float:
    targets = heads.one_hot(np.arange(fit.images) % fit.columns, fit.columns)
    return heads.step_seconds(fit.head, _kernel(fit), targets)


def _kernel(fit: Fit) -> gram.Kernel:
    """Made numbers of a fit's sizes."""
    matrix = jax.random.normal(jax.random.key(0), (fit.images, fit.width)) / np.sqrt(fit.width)
    return gram.Kernel(None, matrix) if fit.through_features else gram.Kernel(matrix, None)


@functools.cache
def _product_seconds(side: int) -> float:
    """Of one piece of two blocks, on a device."""
    many, piece = 16, jnp.ones((side, gram.PIECE))

    def add() -> jax.Array:
        total = jnp.zeros((side, side))
        for _ in range(many):
            total = gram.added(total, piece, piece)
        return total

    return _seconds(add) / many


def _seconds(do: Callable[[], Any]) -> float:
    """That it takes once it is compiled."""
    jax.block_until_ready(do())
    began = time.monotonic()
    jax.block_until_ready(do())
    return time.monotonic() - began
