"""The switch pool and its gradient against flax.linen.max_pool and its own, pools of ZFNet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.benchmarks.trials import Form, Options, Row, Work, compare

if TYPE_CHECKING:
    import jax

    from zfnet_jax.windows import Pads, Pair

_BATCH = 16


def rows(options: Options) -> Iterator[Row]:
    import flax.linen as nn
    import jax

    from configs import architectures
    from zfnet_jax import architecture, geometry
    from zfnet_jax.pooling import max_pool_with_switches, max_unpool
    from zfnet_jax.windows import both

    net = architecture.from_config(architectures.zfnet(), classes=1000)
    sizes = geometry.layer_sizes(net, 224)
    for conv in net.convs:
        if not conv.pool:
            continue
        size = sizes[conv.name]
        window, stride = both(conv.pool.window), both(conv.pool.stride)
        pad = conv.pool.pads(size)
        pads = (pad, pad)
        rng = np.random.default_rng(0)
        x = jax.device_put(
            np.maximum(rng.normal(size=(_BATCH, size, size, conv.maps)), 0).astype(np.float32)
        )

        def ours(
            x: jax.Array, window: Pair = window, stride: Pair = stride, pads: Pads = pads
        ) -> tuple[jax.Array, jax.Array]:
            return max_pool_with_switches(x, window, stride, pads)

        def flax(
            x: jax.Array, window: Pair = window, stride: Pair = stride, pads: Pads = pads
        ) -> jax.Array:
            return nn.max_pool(x, window, stride, pads)

        pooled, switches = jax.jit(ours)(x)
        shape, small = x.shape, np.shape(pooled)
        seed = jax.device_put(rng.normal(size=small).astype(np.float32))
        unpool = jax.jit(
            lambda seed, switches, window=window, stride=stride, pads=pads, shape=shape: max_unpool(
                seed, switches, shape, window, stride, pads
            )
        )
        gradient = jax.jit(lambda x, seed, flax=flax: jax.vjp(flax, x)[1](seed)[0])
        our_both = jax.jit(lambda x, s, ours=ours: _with_gradient(lambda x: ours(x)[0], x, s))
        flax_both = jax.jit(lambda x, s, flax=flax: _with_gradient(flax, x, s))
        what = f"pool {conv.number}, {size} x {size} x {conv.maps}, batch {_BATCH}"
        peer = "flax.linen.max_pool"
        # Read once, written once; the switches are bytes.
        up = Work(bytes=x.nbytes + pooled.nbytes + switches.nbytes)
        up_and_down = Work(bytes=2 * x.nbytes + 2 * pooled.nbytes + 2 * switches.nbytes)
        yield from compare(
            f"{what}: forward",
            {"switch pool": _calls(ours, x), peer: _calls(flax, x)},
            options,
            work=up,
            targets={peer: 0.6},
        )
        yield from compare(
            f"{what}: backward",
            {"unpool": _ready(unpool, seed, switches), peer: _ready(gradient, x, seed)},
            options,
            work=up,
            targets={peer: 0.15},
        )
        yield from compare(
            f"{what}: forward and backward",
            {"switch pool": _ready(our_both, x, seed), peer: _ready(flax_both, x, seed)},
            options,
            work=up_and_down,
        )


def _with_gradient(
    function: Callable[[jax.Array], jax.Array], x: jax.Array, seed: jax.Array
) -> tuple[jax.Array, jax.Array]:
    import jax

    y, pullback = jax.vjp(function, x)
    return y, pullback(seed)[0]


def _calls(function: Callable[[jax.Array], Any], x: jax.Array) -> Form:
    import jax

    return _ready(jax.jit(function), x)


def _ready(jitted: Callable[..., Any], *arguments: jax.Array) -> Form:
    import jax

    return lambda: jax.block_until_ready(jitted(*arguments))
