"""How many images are forwarded at a time: the activations of deep nets are large.

One photo of 224 pixels has 6 MB of them in ZFNet and 66 MB in VGG-16.
"""

from __future__ import annotations

import jax
import numpy as np

from zfnet_jax.runs.run import Run

ACTIVATIONS = 2**31  # bytes on a device at a time


def images_at_once(run: Run, most: int) -> int:
    """How many images have all their activations in ACTIVATIONS, `most` at most, at least one."""
    channels = run.mean.shape[2]
    one = jax.eval_shape(
        run.forward, jax.ShapeDtypeStruct((1, *run.input_size, channels), np.float32)
    )
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(one))
    return max(1, min(most, ACTIVATIONS // each))
