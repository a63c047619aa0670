"""The colours of a training set, and noise along their principal components.

Krizhevsky et al. 2012, Section 4.1, in the net that the paper compares with: to all pixels of an
image one colour is added, drawn anew each time the image is seen.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax.data.images import Split, evenly_spread

_IMAGES = 2000  # of more, evenly spread ones: enough for a matrix of 3 x 3
_ROWS_AT_A_TIME = 16
# What an image's key is folded with; its first two children are the crop's, see `augment`.
_FOLDED = 2


def covariance(images: Split) -> np.ndarray:
    """[3, 3] float64: covariance of red, green and blue over the pixels of the images.

    Whole numbers are summed, so the order does not matter.
    """
    chosen = evenly_spread(images, _IMAGES)
    count, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for start in range(0, len(chosen), _ROWS_AT_A_TIME):
        rows = chosen.rows(np.arange(start, min(start + _ROWS_AT_A_TIME, len(chosen))))
        pixels = rows.reshape(-1, 3).astype(np.float64)
        count += len(pixels)
        total += pixels.sum(0)
        products += pixels.T @ pixels
    mean = total / count
    return products / count - np.outer(mean, mean)


def components(covariance: np.ndarray) -> np.ndarray:
    """[3, 3] float32: each row a principal component, as long as the standard deviation along it.

    The paper of 2012 says eigenvalues, which are squares of grey levels; its code, cuda-convnet,
    has the standard deviations.
    """
    variances, directions = np.linalg.eigh(covariance)
    return (np.sqrt(np.maximum(variances, 0)) * directions).T.astype(np.float32)


def noise(keys: jax.Array, components: jax.Array) -> jax.Array:
    """A colour for each image, [B, 3] float32: each component times a number from N(0, 1).

    Args:
      keys: [B], one for each image, as a crop is drawn from.
      components: [3, 3], see there, times the noise's deviation in theirs.
    """

    def draw(key: jax.Array) -> jax.Array:
        times = jax.random.normal(jax.random.fold_in(key, _FOLDED), (len(components), 1))
        return jnp.sum(times * components, axis=0)

    return jax.vmap(draw)(keys)
