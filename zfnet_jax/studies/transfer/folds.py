"""Folds: which images of each class train a head and which test it.

The protocol of Caltech-101 and Caltech-256 (Tables 4 and 5, Fig. 9): n random training images of
each class, up to 50 test images of each class from the rest. In a fold the images of a class are
put in a random order; the first n train and the last 50 test, or those behind the first n where
there are fewer. So with more training images per class a fold keeps all it had, and large classes
keep their test images.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfnet_jax.studies.transfer.protocols import Protocol


@dataclass(frozen=True)
class Classes:
    """The classes that count, K of them.

    Attributes:
      names: in the order of their labels.
      labels: [N] int32, the class of every image of the split; -1 where it is left out.
      left_out: the classes of the split that do not count.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    left_out: tuple[str, ...]

    @property
    def images(self) -> tuple[int, ...]:
        """Of each class, how many there are."""
        counts = np.bincount(self.labels[self.labels >= 0], minlength=len(self.names))
        return tuple(int(count) for count in counts)


@dataclass(frozen=True)
class Fold:
    """Rows of the split, class by class; the first n of each class's are those of smaller n.

    Attributes:
      train: [n * K] int64, image i of class k in place k * n + i.
      test: [T] int64.
    """

    train: np.ndarray
    test: np.ndarray


def choose_classes(
    labels: np.ndarray, class_names: Sequence[str], left_out: Sequence[str]
) -> Classes:
    """The classes that are not left out.

    Args:
      labels: [N] of a split.
      class_names: of the split.
      left_out: names of classes that do not count, such as the clutter of Caltech-101.

    Raises:
      ValueError: there is no class to leave out of that name, or fewer than two are left.
    """
    unknown = [name for name in left_out if name not in class_names]
    if unknown:
        raise ValueError(
            f"no class {unknown[0]!r} to leave out among the {len(class_names)}: "
            f"{', '.join([*class_names[:5], *['...'] * (len(class_names) > 5)])}"
        )
    kept = [number for number, name in enumerate(class_names) if name not in left_out]
    if len(kept) < 2:
        raise ValueError(f"{len(kept)} classes are left: it takes two")
    number_of = np.full(len(class_names), -1, np.int32)
    number_of[kept] = np.arange(len(kept))
    return Classes(
        tuple(class_names[number] for number in kept),
        number_of[labels],
        tuple(name for name in class_names if name in left_out),
    )


def classes_of(
    protocol: Protocol | None,
    labels: np.ndarray,
    class_names: Sequence[str],
    left_out: Sequence[str] = (),
) -> Classes:
    """The classes of a data set that count by its protocol, if it has one; see `choose_classes`.

    Raises:
      ValueError: also if there are not as many as the protocol has.
    """
    if protocol is None:
        return choose_classes(labels, class_names, left_out)
    clutter = [name for name in protocol.clutter if name in class_names]
    classes = choose_classes(labels, class_names, [*left_out, *clutter])
    if protocol.classes and len(classes.names) != protocol.classes:
        raise ValueError(
            f"{protocol.title} has {protocol.classes} classes, but {len(classes.names)} are here: "
            "is a class folder missing, or one too many? A part of it needs another name (--data)"
        )
    return classes


def make_fold(
    classes: Classes, per_class: int, number: int, *, seed: int, test_per_class: int
) -> Fold:
    """The images of fold `number` with `per_class` training images of each class.

    Raises:
      ValueError: a class has no image left to test on; names the classes.
    """
    small = [
        f"{name} has {count}"
        for name, count in zip(classes.names, classes.images)
        if count < per_class + 1
    ]
    if small:
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        raise ValueError(
            f"{per_class} training images of each class and one to test need {per_class + 1}, but "
            f"{', '.join(small[:5])}{more}: take fewer, or leave the class out by name"
        )
    train, test = [], []
    for label, name in enumerate(classes.names):
        rows = np.flatnonzero(classes.labels == label)
        # By name, so that a class has the same folds whichever others there are.
        own = zlib.crc32(name.encode(errors="surrogatepass"))
        order = np.random.default_rng((seed, number, own)).permutation(rows)
        train.append(order[:per_class])
        test.append(order[max(per_class, len(order) - test_per_class) :])
    return Fold(np.concatenate(train), np.concatenate(test))
