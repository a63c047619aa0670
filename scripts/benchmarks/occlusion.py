"""Occluded positions per second: fast, plain, and Captum's Occlusion, on the same weights.

Random weights, one random photo, a grey square. Captum counts with several numbers of perturbations
at once, in PyTorch's own memory layout and channels last; what counts is its best. RuntimeError
unless all give the same logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.benchmarks.made import narrow
from scripts.benchmarks.trials import (
    Form,
    Options,
    Row,
    check_installed,
    spread,
    take_turns,
)

if TYPE_CHECKING:
    from zfnet_jax.runs.run import Run

_SQUARE, _STRIDE = 48, 8  # pixels
_BATCH = 32  # positions per step of ours
_PERTURBATIONS = (1, 8, 16, 32)


def rows(options: Options) -> Iterator[Row]:
    import jax

    from configs import zfnet
    from zfnet_jax import geometry, model
    from zfnet_jax.runs.run import Run
    from zfnet_jax.studies.occlusion import measure as occlusion

    config = zfnet.get_config()
    config.model.dtype, config.model.precision = "float32", "highest"
    config.model.init = "he"  # N(0, 0.01) leaves nothing of a random photo in the last layers
    config.augment.scale = 64.0  # else scores of hundreds, whose softmax magnifies rounding
    if options.small:
        narrow(config)
    size, classes = config.augment.crop, 1000
    config.data.image_size = size
    net = model.from_config(config.model, classes)
    params = model.initial_params(net, 0, size, 3)
    photo = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    names = tuple(map(str, range(classes)))
    mean = np.full((size, size, 3), 118, np.float32)
    run = Run(Path(), 0, config, net, params, mean, names)
    positions = len(geometry.square_starts(size, _SQUARE, _STRIDE)) ** 2

    def ours(form: occlusion.Form) -> dict[str, np.ndarray]:
        return occlusion.occlude(
            run,
            photo,
            np.array([0]),
            square=_SQUARE,
            stride=_STRIDE,
            layer=net.architecture.convs[-1].name,
            fill="grey",
            seed=0,
            batch_size=_BATCH,
            form=form,
            progress=False,
        )

    fast, plain = ours("fast"), ours("plain")
    worst = max(
        np.abs(fast[name] - plain[name]).max() / np.abs(plain[name]).max()
        for name in ("activity", "probability")
    )
    if not worst < 1e-3:
        raise RuntimeError(f"fast and plain differ by {worst:.1e} of the largest value")
    forms: dict[str, Form] = {
        "fast": lambda: ours("fast"),
        "plain batched forward pass": lambda: ours("plain"),
    }
    # Captum runs on the CPU here: beside an accelerator it says nothing.
    if jax.default_backend() == "cpu" and not options.small:
        forms |= _captums(run, photo)
    what = f"occlusion, {size} pixels, square {_SQUARE}, stride {_STRIDE}: {positions} positions"
    first = None
    for name, seconds in take_turns(forms, options.trials).items():
        rates = spread([positions / value for value in seconds])
        yield Row(what, name, "positions/s", *rates, ratio=first and first / rates[0])
        first = first or rates[0]


def _captums(run: Run, photo: np.ndarray) -> dict[str, Form]:
    check_installed("torch", "captum")
    import captum.attr
    import torch

    from scripts.benchmarks.torch_net import TorchZFNet, laid_out
    from zfnet_jax.studies.occlusion.measure import GREY

    torch_net = TorchZFNet(run.architecture, run.params, run.input_size[0]).eval()
    images = torch.from_numpy(np.asarray(run.inputs(photo)).transpose(0, 3, 1, 2).copy())
    grey = float((GREY - run.mean[0, 0, 0]) / run.config.augment.scale)
    _check(run, photo, torch_net(images).detach().numpy())

    def captums(channels_last: bool, at_once: int) -> None:
        memory = torch.channels_last if channels_last else torch.contiguous_format
        with torch.no_grad():
            captum.attr.Occlusion(laid_out(torch_net, memory)).attribute(
                images.contiguous(memory_format=memory),
                sliding_window_shapes=(3, _SQUARE, _SQUARE),
                strides=(3, _STRIDE, _STRIDE),
                baselines=grey,
                target=0,
                perturbations_per_eval=at_once,
            )

    return {
        f"Captum, {count} at once{', channels last' if last else ''}": (
            lambda last=last, count=count: captums(last, count)
        )
        for count in _PERTURBATIONS
        for last in (False, True)
    }


def _check(run: Run, photo: np.ndarray, logits: np.ndarray) -> None:
    expected = np.asarray(run.forward(run.inputs(photo))[0])
    error = np.abs(logits - expected).max() / np.abs(expected).max()
    if not error < 1e-3:
        raise RuntimeError(f"the PyTorch net's logits differ by {error:.1e} of the largest")
