"""Projections per second of single units: cropped, full-size, and Captum's, on the same weights.

Random weights and images, units at random places, contrast norm left out: then all three compute
the same pixels; AssertionError unless they do. Captum's NeuronDeconvolution passes every image
forward again for every unit; ours needs a pass per image, however many units are projected, and
'cropped, with the forward pass' adds it, `_UNITS` over `_IMAGES` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from scripts.benchmarks.trials import Options, Row, check_installed, spread, take_turns

_LAYERS = ("conv2", "conv3", "conv4", "conv5")
_IMAGES, _UNITS = 8, 72  # units per layer, spread over the images
_CAPTUM_BATCH = 9  # images per call of Captum
_TOGETHER = 16  # units per call of ours, as in scripts.mine


def rows(options: Options) -> Iterator[Row]:
    check_installed("torch", "captum")
    from configs import zfnet

    config = zfnet.get_config()
    for layer in config.model.layers:
        config.model[layer].contrast_norm = False
    bench = _Bench(config)
    for layer in _LAYERS:
        yield from bench.rows(layer, options)


class _Bench:
    """One net in both frameworks, some images, and the three ways to project."""

    def __init__(self, config: ConfigDict) -> None:
        import jax
        import torch

        from scripts.benchmarks.torch_net import TorchZFNet, laid_out
        from zfnet_jax import model

        config.model.dtype, config.model.precision = "float32", "highest"
        self.size = config.augment.crop
        self.net = model.from_config(config.model, classes=1000)
        rng = np.random.default_rng(0)
        params = model.initial_params(self.net, 0, self.size, 3)
        self.params = params
        self.images = rng.normal(0, 60, (_IMAGES, self.size, self.size, 3)).astype(np.float32)
        self.forward = jax.jit(lambda x: self.net.apply({"params": params}, x)[1])
        self.activations = jax.block_until_ready(self.forward(self.images))
        plain = TorchZFNet(self.net.architecture, params, self.size).eval()
        last = TorchZFNet(self.net.architecture, params, self.size).eval()
        images = torch.from_numpy(self.images.transpose(0, 3, 1, 2).copy())
        self.torch_nets = {  # in PyTorch's own memory layout, and channels last
            "Captum": (plain, images),
            "Captum, channels last": (
                laid_out(last, torch.channels_last),
                images.to(memory_format=torch.channels_last),
            ),
        }

    def rows(self, layer: str, options: Options) -> Iterator[Row]:
        maps = self.activations[layer]
        rng = np.random.default_rng(1)
        units = [rng.integers(0, n, _UNITS) for n in maps.shape]
        forms: dict[str, Callable[[], Any]] = {
            "cropped": lambda: self.cropped(layer, units),
            "cropped, with the forward pass": lambda: (
                self._forward(),
                self.cropped(layer, units),
            ),
            "full-size": lambda: self.full(layer, units),
        } | {name: lambda name=name: self.captum(name, layer, units) for name in self.torch_nets}
        cropped, _, full, *others = (form() for form in forms.values())
        for captum in others:
            self._check(layer, units, cropped, full, captum)
        first = None
        for name, seconds in take_turns(forms, options.trials).items():
            rates = spread([_UNITS / value for value in seconds])
            ratio = first and first / rates[0]
            first = first or rates[0]
            yield Row(f"projections from {layer}", name, "projections/s", *rates, ratio=ratio)

    def _forward(self) -> None:
        import jax

        jax.block_until_ready(self.forward(self.images))

    def cropped(self, layer: str, units: list[np.ndarray]) -> np.ndarray:
        """[N, s, s, 3]"""
        from zfnet_jax.cropped import Units, project_units

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
        return np.concatenate([np.asarray(r) for r in results])[:_UNITS]

    def full(self, layer: str, units: list[np.ndarray]) -> np.ndarray:
        """[N, H, W, 3]"""
        from zfnet_jax.deconvnet import project

        results = []
        for image, row, column, index in _portions(units, _CAPTUM_BATCH):
            seed = np.zeros((_CAPTUM_BATCH, *self.activations[layer].shape[1:]), np.float32)
            seed[np.arange(_CAPTUM_BATCH), row, column, index] = 1
            given = {name: self.activations[name][image] for name in self._switches(layer)}
            results.append(
                project(
                    self.net.architecture, self.params, given, layer, seed, (self.size, self.size)
                )
            )
        return np.concatenate([np.asarray(r) for r in results])[:_UNITS]

    def captum(self, name: str, layer: str, units: list[np.ndarray]) -> np.ndarray:
        """[N, H, W, 3]"""
        import torch
        from captum.attr import NeuronDeconvolution

        net, images = self.torch_nets[name]
        rectified = net.layers.get_submodule(f"relu{layer.removeprefix('conv')}")
        method = NeuronDeconvolution(net, rectified)
        results = []
        for image, row, column, index in _portions(units, _CAPTUM_BATCH):
            at = (torch.arange(_CAPTUM_BATCH), *(torch.from_numpy(n) for n in (index, row, column)))
            pixels = method.attribute(images[image], lambda maps, at=at: maps[at])
            results.append(pixels.detach().numpy().transpose(0, 2, 3, 1))
        return np.concatenate(results)[:_UNITS]

    def _switches(self, layer: str) -> list[str]:
        from zfnet_jax.stages.stage import Down

        stages = self.net.architecture.stages_to(layer)
        return [name for stage in stages for name in stage.reads(Down())]

    def _check(
        self,
        layer: str,
        units: list[np.ndarray],
        cropped: np.ndarray,
        full: np.ndarray,
        captum: np.ndarray,
    ) -> None:
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


def _portions(units: list[np.ndarray], count: int) -> Iterator[list[np.ndarray]]:
    """`count` units at a time, the last portion filled up with the first unit."""
    for begin in range(0, len(units[0]), count):
        some = [array[begin : begin + count] for array in units]
        yield [np.concatenate([a, np.repeat(b[:1], count - len(a))]) for a, b in zip(some, units)]
