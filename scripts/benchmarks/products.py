"""The matrix products that ZFNet's layers come down to, alone, by XLA and by PyTorch.

What a library's own product loses here no form of a convolution above it can make good.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from scripts.benchmarks.trials import Options, Row, Work, check_installed, compare

_CLASSES, _CROP = 1000, 224


def rows(options: Options) -> Iterator[Row]:
    check_installed("torch")
    import jax
    import jax.numpy as jnp
    import torch

    product = jax.jit(lambda a, b: jnp.dot(a, b, precision="highest"))
    for batch in options.batches:
        for name, (rows, inner, columns) in _shapes(batch).items():
            rng = np.random.default_rng(0)
            a = rng.normal(size=(rows, inner)).astype(np.float32)
            b = rng.normal(size=(inner, columns)).astype(np.float32)
            arrays, tensors = jax.device_put((a, b)), (torch.from_numpy(a), torch.from_numpy(b))
            yield from compare(
                f"{name}, batch {batch}: [{rows}, {inner}] [{inner}, {columns}]",
                {
                    "XLA": lambda arrays=arrays: jax.block_until_ready(product(*arrays)),
                    "PyTorch": lambda tensors=tensors: torch.mm(*tensors),
                },
                options,
                work=Work(flops=2.0 * rows * inner * columns),
            )


def _shapes(batch: int) -> dict[str, tuple[int, int, int]]:
    """Places in all images, weights of a map and maps, by layer."""
    import flax.linen as nn

    from configs import architectures
    from zfnet_jax import architecture

    net = architecture.from_config(architectures.zfnet(), _CLASSES)
    shapes, shape = {}, (_CROP, _CROP, 3)
    for stage in net.stages:
        after = stage.shape(shape)
        if stage.weights:
            *inner, columns = stage.parameters(shape, nn.initializers.zeros)["kernel"][1]
            shapes[stage.name] = batch * math.prod(after[:-1]), math.prod(inner), columns
        shape = after
    return shapes
