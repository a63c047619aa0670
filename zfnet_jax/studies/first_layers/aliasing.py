"""What of a net's projections repeats with the grid of its first layer (Section 4.1, Fig. 6).

A first layer of stride s samples the image every s pixels. What lies on the lattice of its units
comes back from them with the lattice's period, as the aliasing that the paper saw at stride 4: in a
spectrum, peaks at the lattice's harmonics, (i / s, j / s) cycles per pixel. Any other content lies
there as it does in their neighbourhood, whatever the stride.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from zfnet_jax.windows import Sides, both

_ANGLES = 2 * np.pi * np.arange(8) / 8  # of the places around a harmonic


def grid_share(projections: Iterable[np.ndarray], stride: Sides) -> float | None:
    """The share of the power of projections that repeats every `stride` pixels.

    Seen through a Hann window, a pattern with the lattice's period stands out by its power at the
    harmonics from what lies on a circle around each, whose geometric mean is what noise with a
    power law has in the middle. Noise gives 0 at any stride and size, but for chance; a pattern
    that has a share of the power gives that share, a little more if it is mixed into slow noise,
    whose mean is subtracted.

    Args:
      projections: [N, s, t, C] at a time; each counts equally, empty ones are left out.
      stride: of the first layer, pixels, one number or (down, across).

    Returns:
      the share; None if there is no lattice (stride 1), or nothing to measure.
    """
    strides = both(stride)
    if max(strides) < 2:
        return None
    steps = (np.arange(n) / n for n in strides)
    harmonics = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 2)[1:]
    power, count, of_wave = np.zeros((len(harmonics), 1 + len(_ANGLES))), 0, 1.0
    for some in projections:
        size = some.shape[1:3]
        down, across = (np.hanning(n + 2)[1:-1] for n in size)
        window = (down[:, None] * across)[..., None]
        # How much power a wave of power 1 has at its frequency, seen through the window.
        of_wave = window.sum() ** 2 / np.square(window).sum()
        # Just out of a peak, 2 / (size + 1) wide on each side, and nearer to it than to others.
        radius = [min(2.5 / (n + 1), 1 / (2 * s)) for n, s in zip(size, strides, strict=True)]
        circle = np.array(radius) * np.stack([np.sin(_ANGLES), np.cos(_ANGLES)], axis=1)
        places = harmonics[:, None] + np.concatenate([np.zeros((1, 2)), circle])
        waves = _waves(places.reshape(-1, 2), size)
        for one in some:
            seen = (one - (one * window).sum(axis=(0, 1)) / window.sum()) * window
            energy = np.square(seen).sum()
            if energy > 0:
                power += _power(seen, *waves).reshape(power.shape) / energy
                count += 1
    if not count:
        return None
    excess = power[:, 0] - np.exp(np.log(np.maximum(power[:, 1:], 1e-300)).mean(axis=1))
    return float(excess.sum() / (count * of_wave))


def _waves(places: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Waves [P, s] down and [P, t] across of frequencies [P, 2], cycles per pixel."""
    down, across = (
        np.exp(-2j * np.pi * place[:, None] * np.arange(n))
        for place, n in zip(places.T, size, strict=True)
    )
    return down, across


def _power(image: np.ndarray, vertical: np.ndarray, horizontal: np.ndarray) -> np.ndarray:
    """The power [P] of an image [s, t, C] at the frequencies of `_waves`, summed over channels."""
    height, width, channels = image.shape
    columns = (vertical @ image.reshape(height, -1)).reshape(-1, width, channels)
    waves = np.einsum("pxc,px->pc", columns, horizontal)
    return np.square(np.abs(waves)).sum(axis=1)
