"""Occluded positions per second: fast, plain, and Captum's Occlusion, on the same weights.

    python -m scripts.benchmark_occlusion [--config=configs/zfnet.py] [--square=48] [--stride=8]

Needs requirements-bench.txt. Random weights, one random photo, a grey square. The forms take turns;
what counts is the best of several rounds, after one that compiles. Captum counts with the best of
--perturbations, in PyTorch's own memory layout and channels last. The script checks that all give
the same logits. Quiet machine, please.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags
from ml_collections import config_flags

from scripts import benchmark, shell

_CONFIG = config_flags.DEFINE_config_file("config", "configs/zfnet.py", "The net.")
_SQUARE = flags.DEFINE_integer("square", 48, "Side of the square, pixels.")
_STRIDE = flags.DEFINE_integer("stride", 8, "Pixels between positions.")
_BATCH = flags.DEFINE_integer("batch_size", 32, "Positions per step of ours.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds of which the best counts.", lower_bound=1)
_PERTURBATIONS = flags.DEFINE_list(
    "perturbations", ["1", "8", "16", "32"], "Values of Captum's perturbations_per_eval to try."
)


def main() -> None:
    benchmark.check_installed("torch", "captum")
    import captum.attr
    import torch

    from scripts.torch_net import TorchZFNet
    from zfnet_jax import geometry, model
    from zfnet_jax.analysis.occlusion import GREY, occlude
    from zfnet_jax.run import Run

    config = _CONFIG.value
    config.model.dtype, config.model.precision = "float32", "highest"
    config.model.init = "he"  # N(0, 0.01) leaves nothing of a random photo in the last layers
    config.augment.scale = 64.0  # else scores of hundreds, whose softmax magnifies rounding
    size, classes = config.augment.crop, 1000
    config.data.image_size = size
    net = model.from_config(config.model, classes)
    params = model.initial_params(net, 0, size, 3)
    photo = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    names = tuple(map(str, range(classes)))
    mean = np.full((size, size, 3), 118, np.float32)
    run = Run(Path(), 0, config, net, params, mean, names)
    rows = geometry.square_starts(size, _SQUARE.value, _STRIDE.value)
    positions = len(rows) ** 2

    torch_net = TorchZFNet(net.architecture, params, size).eval()
    images = torch.from_numpy(np.asarray(run.inputs(photo)).transpose(0, 3, 1, 2).copy())
    grey = float((GREY - mean[0, 0, 0]) / config.augment.scale)
    _check(run, photo, torch_net(images).detach().numpy())

    def ours(form: str) -> dict[str, np.ndarray]:
        return occlude(
            run,
            photo,
            np.array([0]),
            square=_SQUARE.value,
            stride=_STRIDE.value,
            layer=net.architecture.convs[-1].name,
            fill="grey",
            seed=0,
            batch_size=_BATCH.value,
            form=form,
            progress=False,
        )

    def captums(channels_last: bool, at_once: int) -> None:
        memory = torch.channels_last if channels_last else torch.contiguous_format
        with torch.no_grad():
            captum.attr.Occlusion(torch_net.to(memory_format=memory)).attribute(
                images.contiguous(memory_format=memory),
                sliding_window_shapes=(3, _SQUARE.value, _SQUARE.value),
                strides=(3, _STRIDE.value, _STRIDE.value),
                baselines=grey,
                target=0,
                perturbations_per_eval=at_once,
            )

    fast, plain = ours("fast"), ours("plain")
    worst = max(
        np.abs(fast[name] - plain[name]).max() / np.abs(plain[name]).max()
        for name in ("activity", "probability")
    )
    print(f"{size} pixels, square {_SQUARE.value}, stride {_STRIDE.value}: {positions} positions")
    print(f"fast and plain differ by {worst:.1e} of the largest value")
    forms: dict[str, Callable[[], object]] = {
        "fast": lambda: ours("fast"),
        "plain": lambda: ours("plain"),
    }
    for count in map(int, _PERTURBATIONS.value):
        for last in (False, True):
            name = f"Captum, {count} at once" + (", channels last" if last else "")
            forms[name] = lambda last=last, count=count: captums(last, count)
    rate = {
        name: positions / seconds
        for name, seconds in benchmark.best_seconds(forms, _ROUNDS.value).items()
    }
    for name, value in rate.items():
        print(f"{name:38s} {value:7.1f} positions/s")
    captum_best = max((name for name in rate if name.startswith("Captum")), key=rate.get)
    print(f"fast / plain {rate['fast'] / rate['plain']:.2f}")
    print(f"fast / Captum at its best {rate['fast'] / rate[captum_best]:.2f} ({captum_best})")


def _check(run, photo: np.ndarray, logits: np.ndarray) -> None:
    expected = np.asarray(run.forward(run.inputs(photo))[0])
    error = np.abs(logits - expected).max() / np.abs(expected).max()
    if not error < 1e-3:
        raise RuntimeError(f"the PyTorch net's logits differ by {error:.1e} of the largest")


if __name__ == "__main__":
    shell.run(main)
