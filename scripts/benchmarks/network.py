"""ZFNet at 224 pixels, forward and a whole train step, against the same net in PyTorch.

PyTorch runs channels last, and compiled where that works. Its step is forward, loss, backward and
SGD with momentum on images that are ready; ours is the trainer's own, which also crops, flips and
subtracts the mean, limits the filters' RMS and counts errors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.benchmarks import machine
from scripts.benchmarks.made import narrow
from scripts.benchmarks.trials import Form, Options, Row, Work, check_installed, compare

if TYPE_CHECKING:
    import jax
    import torch
    from ml_collections import ConfigDict

    from scripts.benchmarks.torch_net import TorchZFNet
    from zfnet_jax.model import ZFNet
    from zfnet_jax.training.optimizer import Params
    from zfnet_jax.training.step import TrainState

_CLASSES, _CROP, _STORED = 1000, 224, 256
_TARGET = 1.0


def rows(options: Options) -> Iterator[Row]:
    check_installed("torch")
    import jax

    for mode in ("float32",) if jax.default_backend() == "cpu" else ("float32", "bfloat16"):
        for batch in options.batches:
            nets = Nets(mode, batch)
            nets.check()
            for what, work, forms in (
                ("forward", nets.work(1), nets.forward_forms()),
                ("train step", nets.work(3), nets.step_forms()),
            ):
                yield from compare(
                    f"ZFNet {what}, {mode}, batch {batch}",
                    forms,
                    options,
                    work=work,
                    targets={"PyTorch": _TARGET},
                )


class Nets:
    """The net in both frameworks with the same weights, and a batch for each."""

    def __init__(self, mode: str, batch: int, *, small: bool = False) -> None:
        from configs import zfnet
        from zfnet_jax import model

        self.mode, self.batch = mode, batch
        self.config = zfnet.get_config()
        self.config.model.dtype, self.config.model.precision = machine.MODES[mode]
        self.config.model.init = "he"  # N(0, 0.01) leaves nothing of an image in the last layers
        self.config.augment.scale = 64.0
        self.config.batch_size = batch
        if small:
            narrow(self.config)
        self.net = model.from_config(self.config.model, _CLASSES)
        self.params = model.initial_params(self.net, 0, _CROP, 3)
        rng = np.random.default_rng(0)
        self.images = rng.normal(size=(batch, _CROP, _CROP, 3)).astype(np.float32)
        self.labels = rng.integers(0, _CLASSES, batch).astype(np.int32)

    def check(self) -> None:
        """RuntimeError unless both nets give the same logits."""
        ours = self.our_forward()()
        theirs: Any = self.torch_forward(compiled=False)()
        theirs = theirs.float().cpu().numpy()
        error = np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()
        if not error < {"float32": 1e-3, "TF32": 2e-2, "bfloat16": 1e-1}[self.mode]:
            raise RuntimeError(f"the PyTorch net's logits differ by {error:.1e} of the largest")

    def work(self, passes: int) -> Work:
        """Of all products with weights; the image needs no gradient."""
        from zfnet_jax import geometry

        sizes = geometry.layer_sizes(self.net.architecture, _CROP)
        flops = [
            2.0 * layer["kernel"].size * (sizes[name] ** 2 if name in sizes else 1)
            for name, layer in self.params.items()
        ]
        first = 2.0 * self.params["conv1"]["kernel"].size * sizes["conv1"] ** 2
        needed = passes * sum(flops) - (first if passes > 1 else 0)
        return Work(flops=self.batch * needed, mode=self.mode)

    def forward_forms(self) -> dict[str, Form]:
        return {"ours": self.our_forward(), **torch_forms(self.torch_forward)}

    def step_forms(self, steps: int = 1) -> dict[str, Form]:
        """Each does so many steps, and waits only then."""
        torch_step = partial(self.torch_step, steps=steps)
        return {"ours": self.our_step(steps), **torch_forms(torch_step)}

    def our_forward(self) -> Form:
        import jax

        forward = jax.jit(lambda params, images: self.net.apply({"params": params}, images)[0])
        images = jax.device_put(self.images)
        return lambda: jax.block_until_ready(forward(self.params, images))

    def our_step(self, steps: int = 1) -> Form:
        import jax
        import jax.numpy as jnp

        from zfnet_jax import parallel
        from zfnet_jax.data.batches import Batch

        step, state, mean = trainer(self.config, self.net, self.params)
        healthy = parallel.replicate(jnp.bool_(True))
        stored = np.random.default_rng(0).integers(
            0, 256, (self.batch, _STORED, _STORED, 3), np.uint8
        )
        index = np.arange(self.batch, dtype=np.int32)
        batch = parallel.split_rows(
            Batch(stored, self.labels, index, np.ones(self.batch, np.float32))
        )

        def run() -> None:
            nonlocal state, healthy
            loss = None
            for _ in range(steps):
                state, healthy, loss = step(state, healthy, mean, batch)
            jax.block_until_ready((state, loss))

        return run

    def torch_forward(self, compiled: bool) -> Form:
        import torch

        net, images = self._in_torch()
        forward = _maybe_compiled(net.eval(), compiled)

        def run() -> torch.Tensor:
            with torch.inference_mode(), self._autocast():
                logits = forward(images)
                wait()
            return logits

        return run

    def torch_step(self, compiled: bool, steps: int = 1) -> Form:
        import torch

        net, images = self._in_torch()
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, fused=True)
        forward = _maybe_compiled(net.train(), compiled)
        labels = torch.from_numpy(self.labels).long().to(images.device)

        def run() -> None:
            for _ in range(steps):
                optimizer.zero_grad(set_to_none=True)
                with self._autocast():
                    loss = torch.nn.functional.cross_entropy(forward(images), labels)
                loss.backward()
                optimizer.step()
            wait()

        return run

    def _in_torch(self) -> tuple[TorchZFNet, torch.Tensor]:
        import torch

        from scripts.benchmarks.torch_net import TorchZFNet, laid_out

        tf32 = self.mode == "TF32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        memory = torch.channels_last
        net = TorchZFNet(self.net.architecture, self.params, _CROP)
        images = torch.from_numpy(self.images.transpose(0, 3, 1, 2).copy())
        return laid_out(net, memory, device()), images.to(device(), memory_format=memory)

    def _autocast(self) -> torch.autocast:
        import torch

        return torch.autocast(device(), torch.bfloat16, enabled=self.mode == "bfloat16")


def trainer(
    config: ConfigDict, net: ZFNet, params: Params
) -> tuple[Callable[..., Any], TrainState, jax.Array]:
    """The train step of a run as it is mapped over the devices, see `nonfinite.watched`, a state,
    and a mean."""
    import jax
    import jax.numpy as jnp

    from zfnet_jax import parallel
    from zfnet_jax.training import nonfinite, optimizer
    from zfnet_jax.training.step import initial_state, make_train_step

    transform = optimizer.momentum(config.optimizer)
    schedule = optimizer.learning_rate_schedule(
        config.optimizer, batch_size=config.batch_size, epochs=1, steps_per_epoch=1000
    )
    step = parallel.map_over_devices(
        nonfinite.watched(make_train_step(net, config, transform, schedule, 1000)),
        in_axes=(None, None, None, 0),
        donate=(0,),
    )
    state = initial_state(jax.tree.map(jnp.copy, params), transform)  # the step takes it over
    size = config.data.image_size
    mean = np.full((size, size, 3), 118, np.float32)
    return step, *parallel.replicate((state, mean))


@functools.cache
def torch_computes_here() -> bool:
    """Whether PyTorch is there, and for the device that jax computes on."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its libraries is not there
        print(f"no PyTorch to compare with: {error}")
        return False
    if device() == "cuda" and not torch.cuda.is_available():
        print("no PyTorch to compare with: the installed one has no CUDA")
        return False
    return True


def device() -> str:
    import jax

    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def torch_forms(make: Callable[..., Form]) -> dict[str, Form]:
    """PyTorch's forms, where it computes here: plain, and compiled where that works.

    Args:
      make: (compiled: bool) -> the form.
    """
    if not torch_computes_here():
        return {}
    forms = {"PyTorch": make(compiled=False)}
    try:
        compiled = make(compiled=True)
        compiled()
    except Exception as error:
        print(f"torch.compile does not work here: {str(error).splitlines()[0]}")
    else:
        forms["PyTorch, torch.compile"] = compiled
    return forms


def _maybe_compiled(net: TorchZFNet, compiled: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    return torch.compile(net) if compiled else net


def wait() -> None:
    import torch

    if device() == "cuda":
        torch.cuda.synchronize()
