"""What an accelerator computes against the CPU of the same machine, from operators to projections.

The largest difference, as a share of the largest value. In float32 products are at full precision;
in bfloat16 the accelerator's forward pass is held against float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from scripts.benchmarks.made import narrow
from scripts.benchmarks.trials import Options, Row

if TYPE_CHECKING:
    import jax

    from zfnet_jax.model import Activations, ZFNet
    from zfnet_jax.training.optimizer import Params

_WHAT = "the accelerator against the CPU"
_BATCH, _CLASSES, _CROP, _STORED = 4, 1000, 224, 256
_BOUND = 1e-4  # rounding in another order, through eight layers
_SAME = 0.0  # what only compares, moves and counts
_BFLOAT16_BOUND = 0.05
_BFLOAT16_GRADIENTS = 0.2  # near ties in a pooling window go the other way


def rows(options: Options) -> Iterator[Row]:
    import jax

    where = jax.devices()[0], jax.devices("cpu")[0]
    parity = _Parity(where, small=options.small)
    yield from parity.operators()
    yield from parity.net()


class _Parity:
    def __init__(self, where: tuple[Any, Any], small: bool) -> None:
        from configs import zfnet
        from zfnet_jax import model

        self.where = where
        self.random = np.random.default_rng(0)
        config = zfnet.get_config()
        config.model.init, config.model.precision = "he", "highest"
        config.augment.scale = 64.0
        if small:
            narrow(config)
        self.config = config
        self.model = model.from_config(config.model, _CLASSES)
        self.params = model.initial_params(self.model, 0, _CROP, 3)
        self.kernels = {name: np.asarray(layer["kernel"]) for name, layer in self.params.items()}

    def operators(self) -> Iterator[Row]:
        """Convolution in three directions, pooling, unpooling, contrast norm."""
        import jax

        from zfnet_jax import geometry
        from zfnet_jax.contrast_norm import contrast_norm
        from zfnet_jax.convolution import filter_maps, filter_transposed
        from zfnet_jax.pooling import Overlap, max_pool_with_switches, max_unpool

        net = self.model.architecture
        sizes = geometry.layer_sizes(net, _CROP)
        size, channels = _CROP, 3
        for conv in net.convs:
            x = self._normal(_BATCH, size, size, channels)
            out = sizes[conv.name]
            seed = self._normal(_BATCH, out, out, conv.maps)
            kernel = self.kernels[conv.name]
            forward = partial(filter_maps, conv=conv, precision="highest")
            transposed = partial(filter_transposed, conv=conv, input_size=(size, size))

            def gradients(
                x: jax.Array,
                kernel: jax.Array,
                seed: jax.Array,
                forward: Callable[..., jax.Array] = forward,
            ) -> tuple[jax.Array, jax.Array]:
                return jax.vjp(forward, x, kernel)[1](seed)

            yield from self._compare(conv.name, forward, x, kernel)
            yield from self._compare(f"{conv.name}, gradients", gradients, x, kernel, seed)
            yield from self._compare(f"{conv.name}, transposed", transposed, seed, kernel)
            fast = partial(filter_maps, conv=conv, precision="default")
            fast_gradients = partial(gradients, forward=fast)
            yield from self._in_bfloat16(conv.name, fast, x, kernel)
            yield from self._in_bfloat16(f"{conv.name}, gradients", fast_gradients, x, kernel, seed)
            size, channels = out, conv.maps
            if conv.pool:
                window, stride = conv.pool.window, conv.pool.stride
                padding = conv.pool.pads(size)
                windows = {"window": window, "stride": stride, "padding": (padding, padding)}
                pool = partial(max_pool_with_switches, **windows)
                maps = np.maximum(self._normal(_BATCH, size, size, channels), 0)  # has ties
                name = f"pool{conv.number}"
                title = f"{name}, values and switches"
                yield from self._compare(title, pool, maps, bound=_SAME)
                yield from self._in_bfloat16(title, pool, maps, bound=_SAME)
                pooled, switches = (np.asarray(array) for array in jax.jit(pool)(maps))
                for overlap in get_args(Overlap):
                    unpool = partial(max_unpool, shape=(size, size), overlap=overlap, **windows)
                    bound = 1e-6 if overlap in ("sum", "mean") else _SAME
                    title = f"un{name}, {overlap}"
                    yield from self._compare(title, unpool, pooled, switches, bound=bound)
                size = sizes[name]
            if conv.contrast_norm:
                maps = 100 * self._normal(_BATCH, size, size, channels)
                norm = partial(contrast_norm, norm=conv.contrast_norm)
                norm_gradient = jax.grad(lambda x, norm=norm: (norm(x) ** 2).sum())
                yield from self._compare(f"norm{conv.number}", norm, maps)
                yield from self._compare(f"norm{conv.number}, gradient", norm_gradient, maps)
                yield from self._in_bfloat16(f"norm{conv.number}", norm, maps)

    def net(self) -> Iterator[Row]:
        """Activations and class scores, gradients of a training loss, projections."""
        import jax
        import jax.numpy as jnp
        import optax

        from zfnet_jax import deconvnet, model, units
        from zfnet_jax.data import augment

        images = self.random.integers(0, 256, (_BATCH, _STORED, _STORED, 3), np.uint8)
        mean = np.full((_STORED, _STORED, 3), 118, np.float32)
        params = jax.tree.map(np.asarray, self.params)
        index = np.arange(_BATCH, dtype=np.int32)
        labels = index.copy()

        def crops(images: jax.Array, mean: jax.Array, index: jax.Array) -> jax.Array:
            keys = augment.image_keys(0, jnp.int32(3), index)
            return augment.random_crops(images, keys, mean, _CROP, "random", 64.0)

        yield from self._compare("crops, the same of each image", crops, images, mean, index)
        inputs = np.asarray(jax.jit(crops)(images, mean, index))

        def forward(params: Params, inputs: jax.Array) -> dict[str, jax.Array]:
            logits, activations = model.forward(self.model, params, inputs)
            numbers = {k: v for k, v in activations.items() if not k.startswith("switches")}
            return {"logits": logits} | numbers

        yield from self._compare("every activation and the scores", forward, params, inputs)

        def loss_gradients(
            params: Params, inputs: jax.Array, labels: jax.Array, net: ZFNet = self.model
        ) -> Params:
            def loss(params: Params) -> jax.Array:
                logits, _ = net.apply({"params": params}, inputs)
                return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

            return jax.grad(loss)(params)

        title = "gradients of a loss, every parameter"
        # A pixel whose neighbours are almost equal may win on one of the two.
        yield from self._compare(title, loss_gradients, params, inputs, labels, bound=1e-2)

        _, activations = self._on(1, jax.jit(self.model.apply), {"params": params}, inputs)
        activations = jax.tree.map(np.asarray, activations)
        for layer in ("conv3", "conv5"):
            number = units.strongest_maps(activations[layer], 1)[0][:, 0]
            seed = np.asarray(units.strongest_unit(activations[layer], number))

            def project(
                params: Params, activations: Activations, seed: jax.Array, layer: str = layer
            ) -> jax.Array:
                size = (_CROP, _CROP)
                return deconvnet.project(
                    self.model.architecture, params, activations, layer, seed, size
                )

            title = f"projection of the strongest unit of {layer}, with the same switches"
            yield from self._compare(title, project, params, activations, seed)

        self.config.model.dtype, self.config.model.precision = "bfloat16", "default"
        half = model.from_config(self.config.model, _CLASSES)

        def scores(net: ZFNet) -> Callable[..., jax.Array]:
            return jax.jit(lambda params, inputs: net.apply({"params": params}, inputs)[0])

        found = self._on(0, scores(half), params, inputs)
        expected = self._on(1, scores(self.model), params, inputs)
        yield _row("class scores in bfloat16", found, expected, _BFLOAT16_BOUND)
        given = params, inputs, labels
        found = self._on(0, jax.jit(partial(loss_gradients, net=half)), *given)
        expected = self._on(1, jax.jit(loss_gradients), *given)
        title = "gradients of a loss in bfloat16, all parameters"
        found, expected = (jax.tree.leaves(tree) for tree in (found, expected))
        away = np.sqrt(sum(np.square(a - b).sum() for a, b in zip(found, expected, strict=True)))
        share = float(away / np.sqrt(sum(np.square(b).sum() for b in expected)))
        unit = "of the norm"
        yield Row(_WHAT, title, unit, *(share,) * 3, ratio=share, target=_BFLOAT16_GRADIENTS)

    def _compare(
        self, form: str, function: Callable[..., Any], *arguments: Any, bound: float = _BOUND
    ) -> Iterator[Row]:
        import jax

        found, expected = (self._on(n, jax.jit(function), *arguments) for n in (0, 1))
        yield _row(form, found, expected, bound)

    def _in_bfloat16(
        self,
        form: str,
        function: Callable[..., Any],
        *arguments: np.ndarray,
        bound: float = _BFLOAT16_BOUND,
    ) -> Iterator[Row]:
        """On the accelerator in bfloat16, against float32 of the same rounded numbers."""
        import jax
        import jax.numpy as jnp

        rounded = [array.astype(jnp.bfloat16) for array in arguments]
        found = self._on(0, jax.jit(function), *rounded)
        expected = self._on(1, jax.jit(function), *(x.astype(np.float32) for x in rounded))
        yield _row(f"{form}, in bfloat16", found, expected, bound)

    def _on(self, device: int, function: Callable[..., Any], *arguments: Any) -> Any:
        import jax

        given = jax.device_put(arguments, self.where[device])
        return jax.tree.map(np.asarray, function(*given))

    def _normal(self, *shape: int) -> np.ndarray:
        return self.random.normal(size=shape).astype(np.float32)


def _row(form: str, found: Any, expected: Any, bound: float) -> Row:
    """The largest difference among the arrays of two trees."""
    import jax

    worst = 0.0
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        largest = np.abs(b).max()
        worst = max(worst, float(np.abs(a - b).max() / (largest or 1)))
    return Row(
        _WHAT,
        form,
        "of the largest value",
        *(worst,) * 3,
        ratio=worst,
        target=bound,
    )
