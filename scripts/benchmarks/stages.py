"""Every stage of ZFNet's train step alone, forward and backward, beside PyTorch's where it has one,
plain and compiled.

Each stage is given maps of the shape that it has in the net, channels last in both frameworks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.benchmarks import machine
from scripts.benchmarks.network import device, torch_computes_here, torch_forms, wait
from scripts.benchmarks.trials import Form, Options, Row, Work, compare

if TYPE_CHECKING:
    import jax
    import optax
    import torch

    from zfnet_jax.layer_specs import ContrastNorm, Conv, Pool
    from zfnet_jax.training.optimizer import Params

_CLASSES, _CROP, _STORED = 1000, 224, 256
_CALLS = 20  # under way before anybody waits


def rows(options: Options) -> Iterator[Row]:
    mode = "float32" if options.small else "bfloat16"
    for batch in options.batches:
        yield from _Stages(mode, batch, options).rows()


class _Stages:
    def __init__(self, mode: str, batch: int, options: Options) -> None:
        self.mode, self.batch, self.options = mode, batch, options
        self.dtype, self.precision = machine.MODES[mode]
        self.calls = 1 if options.small else _CALLS
        self.random = np.random.default_rng(0)

    def rows(self) -> Iterator[Row]:
        from configs import architectures
        from zfnet_jax import architecture, geometry

        net = architecture.from_config(architectures.zfnet(), _CLASSES)
        sizes = geometry.layer_sizes(net, _CROP)
        yield from self._augmentation()
        size, channels = _CROP, 3
        for conv in net.convs:
            yield from self._convolution(conv, size, channels, sizes[conv.name])
            size, channels = sizes[conv.name], conv.maps
            if conv.pool:
                yield from self._pool(conv.number, conv.pool, size, conv.maps)
                size = sizes[f"pool{conv.number}"]
            if conv.contrast_norm:
                yield from self._norm(conv.number, conv.contrast_norm, size, conv.maps)
        units = size * size * channels
        for name, width in zip((*net.dense_names, "logits"), (*net.dense, net.classes)):
            yield from self._dense(name, units, width)
            units = width
        yield from self._update()

    def _augmentation(self) -> Iterator[Row]:
        import jax
        import jax.numpy as jnp

        from zfnet_jax.data import augment

        images = self.random.integers(0, 256, (self.batch, _STORED, _STORED, 3), np.uint8)
        mean = np.full((_STORED, _STORED, 3), 118, np.float32)

        def crops(images: jax.Array, mean: jax.Array, index: jax.Array) -> jax.Array:
            keys = augment.image_keys(0, jnp.int32(0), index)
            cut = augment.random_crops(images, keys, mean, _CROP, "ten", 64.0)
            return cut.astype(jnp.dtype(self.dtype))

        arrays = jax.device_put((images, mean, np.arange(self.batch, dtype=np.int32)))
        yield from self._compare("augmentation", {"ours": self._ours(jax.jit(crops), arrays)})

    def _convolution(self, conv: Conv, size: int, channels: int, out: int) -> Iterator[Row]:
        from zfnet_jax.convolution import filter_maps
        from zfnet_jax.windows import both

        kernel = (*both(conv.kernel), channels, conv.maps)
        work = Work(
            flops=2 * math.prod(kernel) * out * out * self.batch,
            mode=self.mode,
        )

        def torchs(torch: ModuleType, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.conv2d(
                x, w, None, conv.stride, [pad for pad, _ in conv.pads]
            )

        yield from self._both_ways(
            conv.name,
            lambda x, w: filter_maps(x, w, conv, self.precision),
            torchs,
            [(self.batch, size, size, channels), kernel],
            orders=[(0, 3, 1, 2), (3, 2, 0, 1)],
            wanted=(1,) if channels == 3 else (0, 1),  # nobody needs the image's gradient
            work=work,
        )

    def _pool(self, number: int, pool: Pool, size: int, maps: int) -> Iterator[Row]:
        from zfnet_jax.pooling import max_pool_with_switches

        padding = pool.pads(size)
        pads = (padding, padding)

        def torchs(torch: ModuleType, x: torch.Tensor) -> torch.Tensor:
            ceil = pool.rounding == "ceil"
            return torch.nn.functional.max_pool2d(
                x, pool.window, pool.stride, pool.padding, ceil_mode=ceil
            )

        yield from self._both_ways(
            f"pool{number}",
            lambda x: max_pool_with_switches(x, pool.window, pool.stride, pads)[0],
            torchs,
            [(self.batch, size, size, maps)],
        )

    def _norm(self, number: int, norm: ContrastNorm, size: int, maps: int) -> Iterator[Row]:
        from zfnet_jax.contrast_norm import contrast_norm

        def torchs(torch: ModuleType, x: torch.Tensor) -> torch.Tensor:
            alpha = norm.alpha * (norm.maps if norm.alpha_convention == "sum" else 1)
            return torch.nn.functional.local_response_norm(x, norm.maps, alpha, norm.beta, norm.k)

        yield from self._both_ways(
            f"norm{number}",
            lambda x: contrast_norm(x, norm),
            torchs,
            [(self.batch, size, size, maps)],
        )

    def _dense(self, name: str, units: int, width: int) -> Iterator[Row]:
        import jax.numpy as jnp

        yield from self._both_ways(
            name,
            lambda x, w: jnp.dot(x, w, precision=self.precision),
            lambda torch, x, w: torch.matmul(x, w),
            [(self.batch, units), (units, width)],
            wanted=(0, 1),
            work=Work(flops=2 * self.batch * units * width, mode=self.mode),
        )

    def _update(self) -> Iterator[Row]:
        import jax
        import jax.numpy as jnp

        from configs import zfnet
        from zfnet_jax import model
        from zfnet_jax.training import optimizer

        config = zfnet.get_config()
        made = model.from_config(config.model, _CLASSES)
        params = model.initial_params(made, 0, _CROP, 3)
        transform = optimizer.momentum(config.optimizer)

        def update(
            params: Params, momentum: optax.OptState, gradients: Params
        ) -> tuple[Params, optax.OptState]:
            updates, momentum = transform.update(gradients, momentum, params)
            params = jax.tree.map(lambda p, u: p - 0.01 * u, params, updates)
            return optimizer.limit_filter_rms(params, 0.1)[0], momentum

        mapped = jax.jit(update, donate_argnums=(0, 1))
        gradients = jax.tree.map(jnp.ones_like, params)
        state = params, transform.init(params)
        floats = sum(leaf.size for leaf in jax.tree.leaves(params))

        def run() -> None:
            nonlocal state
            for _ in range(self.calls):
                state = mapped(*state, gradients)
            jax.block_until_ready(state)

        # Parameters, momentum and gradient are read, the first two written.
        yield from self._compare("update, float32", {"ours": run}, Work(bytes=5 * 4 * floats))

    def _both_ways(
        self,
        name: str,
        ours: Callable[..., Any],
        torchs: Callable[..., Any],
        shapes: list[tuple[int, ...]],
        *,
        orders: list[tuple[int, ...]] | None = None,
        wanted: tuple[int, ...] = (0,),
        work: Work | None = None,
    ) -> Iterator[Row]:
        """Forward, and the gradient of each argument of `wanted`.

        Args:
          ours, torchs: the computation on arrays of `shapes`; PyTorch's also gets torch.
          orders: of the axes in PyTorch; what has four is channels last there too.
        """
        import jax

        dtype = jax.numpy.dtype(self.dtype)
        arrays = [self.random.normal(size=shape).astype(np.float32) for shape in shapes]
        given = jax.device_put([array.astype(dtype) for array in arrays])
        seed = jax.device_put(np.ones(jax.eval_shape(ours, *given).shape, dtype))
        orders = orders or [(0, 3, 1, 2) if len(shape) == 4 else (0, 1) for shape in shapes]
        peers = _Torch(torchs, arrays, orders, self.mode, self.calls)
        for part in (None, *wanted):
            if part is None:
                title, form = f"{name}: forward", jax.jit(ours)
            else:
                title = f"{name}: gradient" + (" of the filters" if part else "")
                form = jax.jit(
                    lambda seed, *x, part=part: jax.vjp(
                        lambda one: ours(*x[:part], one, *x[part + 1 :]), x[part]
                    )[1](seed)[0]
                )
            with_seed = given if part is None else [seed, *given]
            forms = {"ours": self._ours(form, with_seed)}
            forms |= torch_forms(functools.partial(peers.form, part))
            yield from self._compare(title, forms, work)

    def _ours(self, function: Callable[..., Any], arrays: Any) -> Form:
        import jax

        def run() -> None:
            result = None
            for _ in range(self.calls):
                result = function(*arrays)
            jax.block_until_ready(result)

        return run

    def _compare(
        self, title: str, forms: dict[str, Form], work: Work | None = None
    ) -> Iterator[Row]:
        what = f"{title} ({self.mode}, batch {self.batch})"
        return compare(what, forms, self.options, work=work, repeats=self.calls)


class _Torch:
    """PyTorch's form of a stage, where PyTorch is there."""

    def __init__(
        self,
        function: Callable[..., torch.Tensor],
        arrays: list[np.ndarray],
        orders: list[tuple[int, ...]],
        mode: str,
        calls: int,
    ) -> None:
        if not torch_computes_here():
            return
        import torch

        self.torch, self.function, self.calls = torch, function, calls
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "TF32"
        dtype = torch.bfloat16 if mode == "bfloat16" else torch.float32
        self.tensors = []
        for array, order in zip(arrays, orders):
            tensor = torch.from_numpy(array.transpose(order).copy()).to(device(), dtype)
            if tensor.ndim == 4:
                tensor = tensor.to(memory_format=torch.channels_last)
            self.tensors.append(tensor)

    def form(self, part: int | None, *, compiled: bool) -> Form:
        """The computation, or the gradient of an argument."""
        torch, tensors = self.torch, [tensor.detach() for tensor in self.tensors]
        function = functools.partial(self.function, torch)
        if compiled:
            torch.compiler.reset()  # or the eighth stage would be left as it is
            torch._functorch.config.donated_buffer = False  # the way back is gone more than once
            function = torch.compile(function, dynamic=False)
        if part is None:

            def once() -> None:
                function(*tensors)

        else:
            tensors[part].requires_grad_()
            result = function(*tensors)
            seed = torch.ones_like(result)

            def once() -> None:
                torch.autograd.grad(result, tensors[part], seed, retain_graph=True)

        def run() -> None:
            for _ in range(self.calls):
                once()
            wait()

        return run
