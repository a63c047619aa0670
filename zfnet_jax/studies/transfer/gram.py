"""Inner products of features: all that a linear head with an L2 penalty sees of them.

So T training images need no more than T x T numbers, however many features there are. Where an
image has fewer features than that, they stand for the inner products themselves.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import heap, parallel, passes, tasks

BLOCK = 1024  # rows of a matrix product on the device, at most
PIECE = 512  # features of one
_ROWS = 128  # a block has a multiple of so many
CHUNK_BYTES = 2**29  # features of all images held at once, on the host and on the device
_READS = 8  # of a file, at a time

# Images whose variance is a smaller share of their mean square are all the same: float32 resolves
# no more.
_LEAST = 1e-7


class Kernel(NamedTuple):
    """Inner products of T training images: one of the two.

    The inner products are those of the features after the training images' mean is subtracted and
    all is divided by the root mean square distance of training images from that mean. So one scale
    of penalties suits every layer.

    Attributes:
      matrix: [T, T] float32.
      rows: [T, D] float32, the features.
    """

    matrix: jax.Array | None
    rows: jax.Array | None


@dataclass(frozen=True)
class Products:
    """What heads see of T training and S test images, on the device.

    Attributes:
      train: the inner products among the training images.
      test: [S, T] float32, those of test and training images; [S, D] features where `train` has
        features.
    """

    train: Kernel
    test: jax.Array

    def part(self, seen: np.ndarray, held: np.ndarray) -> Products:
        """As if, of the training images, those at `seen` trained and those at `held` tested."""
        if self.train.matrix is None:
            assert self.train.rows is not None
            return Products(Kernel(None, self.train.rows[seen]), self.train.rows[held])
        matrix = self.train.matrix
        among = matrix[seen[:, None], seen[None, :]]
        return Products(Kernel(among, None), matrix[held[:, None], seen[None, :]])


def of_features(path_or_rows: Path | np.ndarray, train: np.ndarray, test: np.ndarray) -> Products:
    """From features [N, D] of some training [T] and test [S] rows.

    Where D is less than T the features themselves are kept.

    Raises:
      ValueError: the features of all training images are the same.
    """
    rows, others = (_chosen(path_or_rows, numbers) for numbers in (train, test))
    one = rows[0].copy()  # heads are the same for any mean, and what all share is not their spread
    for part in (rows, others):
        part -= one
    mean = rows.mean(axis=0, dtype=np.float64)
    square = np.einsum("td,td->", rows, rows, dtype=np.float64) / len(rows)
    for part in (rows, others):
        part -= mean.astype(np.float32)
    variance = np.einsum("td,td->", rows, rows, dtype=np.float64) / len(rows)
    _check(variance, square)
    for part in (rows, others):
        part /= np.float32(np.sqrt(variance))
    inputs, tested = jnp.asarray(rows), jnp.asarray(others)
    if rows.shape[1] < len(rows):
        return Products(Kernel(None, inputs), tested)
    return Products(Kernel(multiplied(inputs, inputs), None), multiplied(tested, inputs))


def of_gram(path_or_gram: Path | np.ndarray, train: np.ndarray, test: np.ndarray) -> Products:
    """From the inner products [N, N] of N images, some of which train [T] and test [S].

    Raises:
      ValueError: the features of all training images are the same.
    """
    among = _chosen(path_or_gram, train, train)
    square = np.trace(among, dtype=np.float64) / len(train)
    means = among.mean(axis=0, dtype=np.float64)
    variance = square - means.mean()
    _check(variance, square)
    # In place: another of them would be another gigabyte.
    _centre(among, means, means, means.mean(), variance)
    matrix = jnp.asarray(among)
    del among
    others = _chosen(path_or_gram, test, train)
    _centre(others, others.mean(axis=1, dtype=np.float64), means, means.mean(), variance)
    return Products(Kernel(matrix, None), jnp.asarray(others))


def gram_matrix(
    features: np.ndarray, *, desc: str, progress: bool, kept: bool = True
) -> np.ndarray:
    """Inner products of all pairs of rows, less the rows' mean.

    Heads are the same for any mean; without this one features that hardly vary would lose what
    float32 resolves to the mean they share.

    Some features of all images at a time: every number is read once, and memory is a gigabyte
    beside the result. The devices multiply pairs of blocks of rows in float32, those on and below
    the diagonal only, in pieces of one size, so that one program serves all layers: compiling took
    a GPU longer than multiplying.

    Args:
      features: [N, D] float32, usually mapped from the disk.
      desc, progress: the name of the progress bar, and whether to show it.
      kept: whether this process wants the result; if not, it helps others to theirs.

    Returns:
      [N, N] float32, symmetric; nothing, [0, 0], if it is not kept.
    """
    count, dims = features.shape
    width, side = chunk_width(count, dims), block_side(count)
    gram = np.zeros((count, count) if kept else (0, 0), np.float32)
    nothing = parallel.replicate(np.zeros((side, side), np.float32))
    tops = range(0, count, side)
    pairs = [(top, left) for top in tops for left in tops if left <= top]
    with passes.bar(dims, desc, "dims", progress) as bar:
        for first in range(0, dims, width):
            pieces = range(0, min(width, dims - first), PIECE)
            # Filled up with zeros, which add nothing.
            chunk = np.zeros((len(tops) * side, len(pieces) * PIECE), np.float32)
            seen = chunk[:count, : dims - first]
            _read_columns(features, first, seen)
            seen -= seen.mean(axis=0, dtype=np.float64).astype(np.float32)
            blocks = parallel.replicate(
                {top: [chunk[top : top + side, at : at + PIECE] for at in pieces] for top in tops}
            )

            def product(
                pair: tuple[int, int], blocks: dict[int, list[jax.Array]] = blocks
            ) -> np.ndarray:
                total = parallel.here(nothing)
                for rows, columns in zip(*parallel.here([blocks[top] for top in pair])):
                    total = added(total, rows, columns)
                return np.asarray(total)

            for (top, left), part in zip(pairs, tasks.dealt(pairs, product)):
                if kept:
                    square = gram[top : top + side, left : left + side]
                    square += part[: square.shape[0], : square.shape[1]]
            bar.update(seen.shape[1])
            del chunk, seen, blocks, product  # before the next ones
            heap.give_back()
    if not kept:
        return gram
    for top in tops:  # in place: a transposed copy would double the memory
        bottom = top + side
        gram[:top, top:bottom] = gram[top:bottom, :top].T
        square = gram[top:bottom, top:bottom]
        square[...] = np.tril(square) + np.tril(square, -1).T
    return gram


def chunk_width(count: int, dims: int) -> int:
    """How many features of all images are held at once."""
    side = block_side(count)
    most = CHUNK_BYTES // (4 * -(-count // side) * side)
    return min(dims, max(1, most // PIECE) * PIECE)


def block_side(count: int) -> int:
    """How many of all images' rows a device multiplies at once, so that few are filled up."""
    blocks = -(-count // BLOCK)
    return min(BLOCK, -(-count // (blocks * _ROWS)) * _ROWS)


def _check(variance: float, square: float) -> None:
    if not variance > _LEAST * square:
        raise ValueError("the features of all training images are the same: the layer is dead")


def _centre(
    products: np.ndarray, own: np.ndarray, others: np.ndarray, mean: float, variance: float
) -> None:
    """Subtracts the mean of the training images from both sides of inner products, in place.

    Args:
      products: [S, T].
      own, others: [S] and [T], their means over training images.
      mean: of the means of training images.
      variance: what they are divided by.
    """
    products -= (others - mean).astype(np.float32)
    products -= own[:, None].astype(np.float32)
    products /= np.float32(variance)


def _chosen(
    array: Path | np.ndarray, rows: np.ndarray, columns: np.ndarray | None = None
) -> np.ndarray:
    """[R, C] float32 of [N, M], all columns if None; an array of the caller's own.

    Of a file row by row: what is mapped would stay in memory.
    """
    if not isinstance(array, Path):
        return np.array(
            array[rows] if columns is None else array[np.ix_(rows, columns)], np.float32
        )
    mapped = np.load(array, mmap_mode="r")
    row = np.empty(mapped.shape[1], mapped.dtype)  # float64 in those of earlier versions
    found = np.empty((len(rows), len(row) if columns is None else len(columns)), np.float32)
    with array.open("rb", buffering=0) as file:
        for place, number in enumerate(rows):
            file.seek(mapped.offset + int(number) * row.nbytes)
            if file.readinto(row.data.cast("B")) != row.nbytes:
                raise ValueError(f"{array} is cut short: remove it, and measure again")
            found[place] = row if columns is None else row[columns]
    return found


def _read_columns(features: np.ndarray, first: int, found: np.ndarray) -> None:
    """Some of [N, D], from a first one on, into [N, W].

    Of a mapped file each number is read once, by itself: the system would read whole pages, and
    more ahead of them, for each row of a mapped slice, and keep them in memory.
    """
    if not (isinstance(features, np.memmap) and features.filename is not None):
        found[...] = features[:, first : first + found.shape[1]]
        return
    count, dims = features.shape
    size = features.itemsize
    file = os.open(features.filename, os.O_RDONLY)
    try:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)

        def read(rows: range) -> None:
            for row in rows:
                part, at = found[row].data.cast("B"), features.offset + size * (row * dims + first)
                while part:
                    done = os.preadv(file, [part], at)
                    if not done:
                        raise OSError(f"{features.filename} has become shorter")
                    part, at = part[done:], at + done

        with ThreadPoolExecutor(_READS) as pool:
            list(pool.map(read, (range(n, min(n + 256, count)) for n in range(0, count, 256))))
    finally:
        os.close(file)


@jax.jit
def added(total: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """A total [R, R] and the inner products of [R, PIECE] and [R, PIECE], in full float32."""
    return total + _matmul(rows, columns.T)


@jax.jit
def multiplied(rows: jax.Array, columns: jax.Array) -> jax.Array:
    """[R, C] inner products of [R, D] and [C, D], in full float32."""
    return _matmul(rows, columns.T)


def _matmul(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.matmul(one, other, precision="highest")
