"""Nets of other frameworks with random weights: the published topologies with few maps.

Each is built and run by its own framework; nothing here knows zfnet_jax's importers.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from zfnet_jax.data.pictures import draw

MAPS = (8, 10, 12, 14, 6)
DENSE = (20, 18)
CLASSES = 7


def images(size: int, count: int = 2) -> np.ndarray:
    """Photos if ZFNET_PHOTOS names some, else built-in pictures: [count, size, size, 3] uint8."""
    found: list[Path] = []
    if "ZFNET_PHOTOS" in os.environ:
        found = sorted(Path(os.environ["ZFNET_PHOTOS"]).glob("imagenette224/val/*/*.*"))
    if len(found) >= count:
        photos = [Image.open(p).convert("RGB") for p in found[:: len(found) // count][:count]]
        return np.stack([np.asarray(photo.resize((size, size))) for photo in photos])
    names = ("face", "car", "cat", "house")[:count]
    return np.stack([draw(name, 3, size).image for name in names])


def draw_weights(seed: int = 0):
    """weight(shape), bias(n): He-normal filters and weights, random biases."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int, scale: float = 1.0) -> np.ndarray:
        spread = scale * np.sqrt(2 / np.prod(shape[1:]))
        return rng.normal(scale=spread, size=shape).astype(np.float32)

    def bias(units: int) -> np.ndarray:
        return rng.normal(scale=0.1, size=units).astype(np.float32)

    return weight, bias


def nchw(images: np.ndarray, mean, scale, bgr: bool, crop: int) -> np.ndarray:
    """Preprocessing as users of the other frameworks write it; mean and scale in RGB."""
    top = (images.shape[1] - crop) // 2
    x = images[:, top : top + crop, top : top + crop].astype(np.float32)
    x = (x - np.float32(mean)) / np.float32(scale)
    x = x[..., ::-1] if bgr else x
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def same(found, expected: dict[str, np.ndarray]) -> None:
    """Activations by name, [B, C, H, W] expected, to 1e-4 of each one's largest value."""
    for name, theirs in expected.items():
        ours = np.asarray(found[name])
        if ours.ndim == 4:
            ours = ours.transpose(0, 3, 1, 2)
        assert ours.shape == theirs.shape, name
        scale = np.abs(theirs).max()
        assert scale > 1e-3, name
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * scale, err_msg=name)
