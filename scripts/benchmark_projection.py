"""Projections per second of single units: cropped, full-size, and Captum's, on the same weights.

    python -m scripts.benchmark_projection [--config=configs/zfnet.py] [--units=72]

Needs requirements-bench.txt. Random weights and images, units at random places, contrast norm left
out: then all three compute the same pixels, and the script checks that they do. The forms take
turns; what counts is the best of several rounds, for Captum in the faster of PyTorch's two memory
layouts. Captum's NeuronDeconvolution passes every image forward again for every unit; ours needs a
pass per image, however many units are projected, and the second column adds it to ours, `--units`
over `--images` of them. Quiet machine, please.
"""

from __future__ import annotations

import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from scripts import benchmark, shell

_CONFIG = config_flags.DEFINE_config_file("config", "configs/zfnet.py", "The net.")
_LAYERS = flags.DEFINE_list("layers", ["conv2", "conv3", "conv4", "conv5"], "Where units lie.")
_IMAGES = flags.DEFINE_integer("images", 8, "Images.", lower_bound=1)
_UNITS = flags.DEFINE_integer(
    "units", 72, "Units per layer, spread over the images.", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds of which the best counts.", lower_bound=1)
_BATCH = flags.DEFINE_integer("captum_batch", 9, "Images per call of Captum.", lower_bound=1)
_TOGETHER = 16  # units per call of ours, as in scripts.mine


def main() -> None:
    benchmark.check_installed("torch", "captum")
    config = _CONFIG.value
    for name in config.model:
        if name.startswith("conv") and "contrast_norm" in config.model[name]:
            config.model[name].contrast_norm = False
    print(f"{_UNITS.value} units per layer, {_IMAGES.value} images; projections per second")
    print("layer    cropped  with forward  full-size  Captum   cropped/full  cropped/Captum")
    bench = Bench(config)
    for layer in _LAYERS.value:
        bench.show(layer)


class Bench:
    """One net in both frameworks, some images, and the three ways to project."""

    def __init__(self, config: ConfigDict) -> None:
        import jax
        import torch

        from scripts.torch_net import TorchZFNet
        from zfnet_jax import model

        config.model.dtype, config.model.precision = "float32", "highest"
        self.size = config.augment.crop
        self.net = model.from_config(config.model, classes=1000)
        rng = np.random.default_rng(0)
        params = model.initial_params(self.net, 0, self.size, 3)
        self.params = params
        self.images = rng.normal(0, 60, (_IMAGES.value, self.size, self.size, 3)).astype(np.float32)
        self.forward = jax.jit(lambda x: self.net.apply({"params": params}, x)[1])
        self.activations = jax.block_until_ready(self.forward(self.images))
        plain = TorchZFNet(self.net.architecture, params, self.size).eval()
        last = TorchZFNet(self.net.architecture, params, self.size).eval()
        images = torch.from_numpy(self.images.transpose(0, 3, 1, 2).copy())
        self.torch_nets = {  # in PyTorch's own memory layout, and channels last
            "captum": (plain, images),
            "captum, channels last": (
                last.to(memory_format=torch.channels_last),
                images.to(memory_format=torch.channels_last),
            ),
        }

    def show(self, layer: str) -> None:
        maps = self.activations[layer]
        rng = np.random.default_rng(1)
        units = [rng.integers(0, n, _UNITS.value) for n in maps.shape]
        forms = {
            "cropped": lambda: self.cropped(layer, units),
            "full": lambda: self.full(layer, units),
        } | {name: lambda name=name: self.captum(name, layer, units) for name in self.torch_nets}
        cropped, full, *others = (form() for form in forms.values())
        for captum in others:
            self._check(layer, units, cropped, full, captum)
        best = benchmark.best_seconds(forms | {"forward": self._forward}, _ROUNDS.value)
        best["captum"] = min(best[name] for name in self.torch_nets)
        rate = {name: _UNITS.value / seconds for name, seconds in best.items()}
        with_forward = _UNITS.value / (best["cropped"] + best["forward"])
        print(
            f"{layer:8s} {rate['cropped']:7.0f}  {with_forward:12.0f}  {rate['full']:9.0f}  "
            f"{rate['captum']:6.1f}   {rate['cropped'] / rate['full']:12.1f}  "
            f"{rate['cropped'] / rate['captum']:14.1f}",
            flush=True,
        )

    def _forward(self) -> None:
        import jax

        jax.block_until_ready(self.forward(self.images))

    def cropped(self, layer: str, units: list[np.ndarray]) -> np.ndarray:
        """[N, s, s, 3]"""
        from zfnet_jax.unit_projection import Units, project_units

        results = []
        for some in _portions(units, _TOGETHER):
            image, row, column, index = some
            one = np.ones(_TOGETHER, np.float32)
            results.append(
                project_units(
                    self.net.architecture,
                    self.params,
                    self.activations,
                    layer,
                    Units(image, index, row, column, one),
                    (self.size, self.size),
                )
            )
        return np.concatenate([np.asarray(r) for r in results])[: _UNITS.value]

    def full(self, layer: str, units: list[np.ndarray]) -> np.ndarray:
        """[N, H, W, 3]"""
        from zfnet_jax.deconvnet import project

        results = []
        for image, row, column, index in _portions(units, _BATCH.value):
            seed = np.zeros((_BATCH.value, *self.activations[layer].shape[1:]), np.float32)
            seed[np.arange(_BATCH.value), row, column, index] = 1
            given = {name: self.activations[name][image] for name in self._switches(layer)}
            given[layer] = seed  # the shape of the rectified maps is all that is read of them
            for conv in self.net.architecture.convs:
                given.setdefault(conv.name, None)
            results.append(
                project(
                    self.net.architecture, self.params, given, layer, seed, (self.size, self.size)
                )
            )
        return np.concatenate([np.asarray(r) for r in results])[: _UNITS.value]

    def captum(self, name: str, layer: str, units: list[np.ndarray]) -> np.ndarray:
        """[N, H, W, 3]"""
        import torch
        from captum.attr import NeuronDeconvolution

        net, images = self.torch_nets[name]
        rectified = net.layers.get_submodule(f"relu{layer.removeprefix('conv')}")
        method = NeuronDeconvolution(net, rectified)
        results = []
        for image, row, column, index in _portions(units, _BATCH.value):
            at = (torch.arange(_BATCH.value), *(torch.from_numpy(n) for n in (index, row, column)))
            pixels = method.attribute(images[image], lambda maps, at=at: maps[at])
            results.append(pixels.detach().numpy().transpose(0, 2, 3, 1))
        return np.concatenate(results)[: _UNITS.value]

    def _switches(self, layer: str) -> list[str]:
        top, _ = self.net.architecture.depth_of(layer)
        return [f"switches{c.number}" for c in self.net.architecture.convs[:top] if c.pool]

    def _check(self, layer, units, cropped, full, captum) -> None:
        from zfnet_jax import geometry

        field = geometry.receptive_field(self.net.architecture, layer)
        _, row, column, _ = units
        scale = np.abs(full).max()
        for n, (r, c) in enumerate(zip(row, column, strict=True)):
            window = np.zeros_like(cropped[n])
            (top, bottom), (left, right) = field.window(int(r)), field.window(int(c))
            inside = full[n, max(top, 0) : bottom, max(left, 0) : right]
            above, before = max(-top, 0), max(-left, 0)
            window[above : above + inside.shape[0], before : before + inside.shape[1]] = inside
            if np.abs(window - cropped[n]).max() > 1e-5 * scale:
                raise AssertionError(f"{layer}: cropped and full-size projections differ")
        # Of two pixels that are almost equal one framework may take the one and the other the other
        # for a pool's maximum; then a projection differs, but few do.
        apart = np.abs(full - captum).max(axis=(1, 2, 3)) > 1e-4 * scale
        if apart.mean() > 0.1:
            raise AssertionError(f"{layer}: {apart.mean():.0%} of Captum's projections differ")


def _portions(units: list[np.ndarray], count: int):
    """`count` units at a time, the last portion filled up with the first unit."""
    for begin in range(0, len(units[0]), count):
        some = [array[begin : begin + count] for array in units]
        yield [np.concatenate([a, np.repeat(b[:1], count - len(a))]) for a, b in zip(some, units)]


if __name__ == "__main__":
    shell.run(main)
