"""Each convolution of ZFNet and its gradients against XLA's own and PyTorch's, channels last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from scripts.benchmarks.trials import Form, Options, Row, Work, check_installed, compare

if TYPE_CHECKING:
    import jax
    import torch

    from zfnet_jax.layer_specs import Conv

_BATCH = 16


def rows(options: Options) -> Iterator[Row]:
    check_installed("torch")
    import jax
    import torch

    from configs import architectures
    from zfnet_jax import architecture, geometry
    from zfnet_jax.convolution import filter_maps, plain
    from zfnet_jax.windows import both

    net = architecture.from_config(architectures.zfnet(), classes=1000)
    sizes = geometry.layer_sizes(net, 224)
    size, channels = 224, 3
    for conv in net.convs:
        out, sides = sizes[conv.name], both(conv.kernel)
        rng = np.random.default_rng(0)
        x, kernel, seed = (
            rng.normal(size=shape).astype(np.float32)
            for shape in (
                (_BATCH, size, size, channels),
                (*sides, channels, conv.maps),
                (_BATCH, out, out, conv.maps),
            )
        )
        work = Work(flops=2 * kernel.size * seed.size / conv.maps)
        arrays = jax.device_put((x, kernel, seed))
        tx, tseed = (_channels_last(array) for array in (x, seed))
        tkernel = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()).to(
            memory_format=torch.channels_last
        )

        def pullback(
            which: list[bool],
            tx: torch.Tensor = tx,
            tseed: torch.Tensor = tseed,
            tkernel: torch.Tensor = tkernel,
            conv: Conv = conv,
        ) -> tuple[torch.Tensor | None, ...]:
            return torch.ops.aten.convolution_backward(
                *(tseed, tx, tkernel, None, both(conv.stride), [pad for pad, _ in conv.pads]),
                *([1, 1], False, [0, 0], 1, which),
            )

        for part, which in (("forward", None), ("of the input", 0), ("of the filters", 1)):
            if which == 0 and channels == 3:
                continue  # nobody needs the image's
            forms: dict[str, Form] = {
                name: _jitted(form, conv, which, arrays)
                for name, form in (("ours", filter_maps), ("XLA", plain))
            }
            if which is None:
                forms["PyTorch"] = lambda tx=tx, w=tkernel, c=conv: torch.nn.functional.conv2d(
                    tx, w, None, c.stride, [pad for pad, _ in c.pads]
                )
            else:
                mask = [which == 0, which == 1, False]
                forms["PyTorch"] = lambda pullback=pullback, mask=mask: pullback(mask)
            title = part if which is None else f"gradient {part}"
            yield from compare(f"{conv.name}, batch {_BATCH}: {title}", forms, options, work=work)
        channels = conv.maps
        size = sizes[f"pool{conv.number}" if conv.pool else conv.name]


def _channels_last(array: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).to(
        memory_format=torch.channels_last
    )


def _jitted(
    form: Callable[[jax.Array, jax.Array, Conv, str], jax.Array],
    conv: Conv,
    which: int | None,
    arrays: tuple[jax.Array, jax.Array, jax.Array],
) -> Form:
    """The convolution, or its gradient of the input (0) or the filters (1)."""
    import jax

    @jax.jit
    def compute(x: jax.Array, kernel: jax.Array, seed: jax.Array) -> jax.Array:
        if which is None:
            return form(x, kernel, conv, "highest")
        return jax.vjp(lambda x, w: form(x, w, conv, "highest"), x, kernel)[1](seed)[which]

    return lambda: jax.block_until_ready(compute(*arrays))
