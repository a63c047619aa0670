"""Inner products of features, and coordinates that stand for features in a linear head.

A linear head with an L2 penalty sees its training images only through their inner products. So T
training images need no more than T coordinates each, however many features there are: coordinates
that reproduce every inner product give the same head, and the same answers on test images.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from zfnet_jax import parallel, passes, tasks

_BLOCK = 1024  # rows of a matrix product on the device
_CHUNK_BYTES = 2**28  # features of all images held at once, twice

# Directions with less than this share of the largest one's variance are below what the float32
# products resolve.
THRESHOLD = 1e-7


@dataclass(frozen=True)
class Coordinates:
    """What stands for the features of T training and S test images, R <= T numbers each.

    The inner products are those of the features after the training images' mean is subtracted and
    all is divided by `scale`, the root mean square distance of training images from that mean. So
    one scale of penalties suits every layer.

    Attributes:
      train: [T, R] float64, columns by falling variance and orthogonal.
      test: [S, R] float64.
      variance: [R] float64, sum of squares of each column of `train`.
      scale: see above.
    """

    train: np.ndarray
    test: np.ndarray
    variance: np.ndarray
    scale: float


def gram_matrix(
    features: np.ndarray,
    rows: np.ndarray | None = None,
    *,
    desc: str,
    progress: bool,
    kept: bool = True,
) -> np.ndarray:
    """Inner products of all pairs of rows, less the rows' mean.

    Coordinates are the same for any mean; without this one features that hardly vary would lose
    what float32 resolves to the mean they share.

    Some features of all images at a time: every number is read once, and memory is half a gigabyte
    beside the result. The devices multiply pairs of blocks of rows in float32, those on and below
    the diagonal only; the sums over chunks of features are float64.

    Args:
      features: [N, D] float32, usually mapped from the disk.
      rows: some of them; all if not given.
      desc, progress: the name of the progress bar, and whether to show it.
      kept: whether this process wants the result; if not, it helps others to theirs.

    Returns:
      [N, N] float64, symmetric; nothing, [0, 0], if it is not kept.
    """
    count, dims = len(features) if rows is None else len(rows), features.shape[1]
    width = min(dims, max(1, _CHUNK_BYTES // (4 * count)))
    gram = np.zeros((count, count) if kept else (0, 0))
    tops = range(0, count, _BLOCK)
    pairs = [(top, left) for top in tops for left in tops if left <= top]
    with passes.bar(dims, desc, "dims", progress) as bar:
        for first in range(0, dims, width):
            chunk = _columns(features, rows, first, width)
            chunk = chunk - chunk.mean(axis=0, dtype=np.float64).astype(np.float32)
            blocks = parallel.replicate({top: chunk[top : top + _BLOCK] for top in tops})

            def product(pair: tuple[int, int], blocks: dict[int, jax.Array] = blocks) -> np.ndarray:
                top, left = pair
                return np.asarray(_products(*parallel.here((blocks[top], blocks[left]))))

            for (top, left), part in zip(pairs, tasks.dealt(pairs, product)):
                if kept:
                    gram[top : top + part.shape[0], left : left + part.shape[1]] += part
            bar.update(chunk.shape[1])
    if not kept:
        return gram
    for top in range(0, count, _BLOCK):  # in place: a transposed copy would double the memory
        bottom = top + _BLOCK
        gram[:top, top:bottom] = gram[top:bottom, :top].T
        square = gram[top:bottom, top:bottom]
        square[...] = np.tril(square) + np.tril(square, -1).T
    return gram


def coordinates(gram: np.ndarray, train: np.ndarray, test: np.ndarray) -> Coordinates:
    """Coordinates of training and test images that reproduce their inner products.

    Those among training images, and between training and test images; test images have parts
    beyond the span of the training images, which no head sees.

    Args:
      gram: [N, N] inner products, may be mapped from the disk.
      train, test: [T] and [S] rows of it.

    Raises:
      ValueError: the features of all training images are the same.
    """
    products = gram[np.ix_(train, train)]
    means = products.mean(axis=0)
    centred = products - means - means[:, None] + means.mean()
    variance = np.trace(centred) / len(train)
    if not variance > THRESHOLD * np.trace(products) / len(train):
        raise ValueError("the features of all training images are the same: the layer is dead")
    eigen = scipy.linalg.eigh(centred / variance, overwrite_a=True, driver="evd")
    values, vectors = (np.asarray(part) for part in eigen)
    kept = values > THRESHOLD * values[-1]
    values, vectors = values[kept][::-1], vectors[:, kept][:, ::-1]
    others = gram[np.ix_(test, train)]
    others = others - others.mean(axis=1, keepdims=True) - means + means.mean()
    return Coordinates(
        train=vectors * np.sqrt(values),
        test=others @ (vectors / np.sqrt(values)) / variance,
        variance=values,
        scale=float(np.sqrt(variance)),
    )


def _columns(features: np.ndarray, rows: np.ndarray | None, first: int, width: int) -> np.ndarray:
    """[N, width] of [N, D]; a mapped file is opened anew, or all pages read stay in memory."""
    if isinstance(features, np.memmap) and features.filename is not None:
        features = np.memmap(
            features.filename, features.dtype, "r", features.offset, features.shape
        )
    chosen = slice(None) if rows is None else rows
    return np.ascontiguousarray(features[chosen, first : first + width])


@jax.jit
def _products(rows: jax.Array, columns: jax.Array) -> jax.Array:
    return jnp.matmul(rows, columns.T, precision="highest")
