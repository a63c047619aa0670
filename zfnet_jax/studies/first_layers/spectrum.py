"""Power spectra of filters, and what share of their power lies in which band of frequencies.

Frequencies are in cycles per pixel along an axis, from 0 to 0.5. Spectra are taken of filters
padded with zeros to SIZE pixels, which samples them finely; a k-pixel filter still resolves no more
than 1/k cycles per pixel, so that a pure wave spreads over about that much: see `leakage`.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.optimize import nnls

from zfnet_jax.windows import Sides, both

SIZE = 64
EDGES = (1 / 8, 1 / 4)  # where the mid frequencies begin and end, cycles per pixel


def coverage(filters: np.ndarray) -> dict[str, float]:
    """Which frequencies a layer's filters look at (Section 4.1).

    With the radial frequency f in cycles per pixel, the shares of the power of all filters are

        low: f < 1/8,   mid: 1/8 <= f < 1/4,   high: f >= 1/4

    A small filter cannot tell the bands apart: what lies in one is seen in the others too, the more
    the smaller the filter. So the shares are those that would be seen as what is seen here. White
    noise has shares of 0.05, 0.15 and 0.81, noise of power 1/f^2, as photos have, those of `PINK`;
    the mid-frequency gap is held against the latter: with each share divided by PINK's it is

        max(0, 1 - mid / min(low, high))

    which is 0 unless mid is below both others, and 1 if there is none at all.

    Args:
      filters: [M, k, l, C], k and l at most SIZE.

    Returns:
      'low', 'mid', 'high', which add up to 1 (all 0 if the filters are), and 'gap'.
    """
    total = np.zeros(3)
    for one in filters:
        waves = np.fft.fft2(one.astype(np.float64), s=(SIZE, SIZE), axes=(0, 1))
        total += _in_bands(np.square(np.abs(waves)).sum(axis=2))
    if not total.sum():
        return {"low": 0.0, "mid": 0.0, "high": 0.0, "gap": 0.0}
    shares, _ = nnls(leakage((filters.shape[1], filters.shape[2])), total / total.sum())
    low, mid, high = (float(share) for share in shares / shares.sum())
    relative = np.array([low, mid, high]) / PINK
    smaller = min(relative[0], relative[2])
    gap = max(0.0, 1 - float(relative[1] / smaller)) if smaller > 0 else 0.0
    return {"low": low, "mid": mid, "high": high, "gap": gap}


@functools.cache
def leakage(size: Sides) -> np.ndarray:
    """[3, 3]: of noise in each band alone (columns), the shares that filters of `size` pixels cut
    out of it have in the three bands (rows). In a band the power falls as 1/f^2."""
    box, (height, width) = np.zeros((SIZE, SIZE)), both(size)
    box[:height, :width] = 1
    spread = np.fft.fft2(np.square(np.abs(np.fft.fft2(box))))
    columns = []
    for band in _bands():
        seen = np.real(np.fft.ifft2(np.fft.fft2(_pink() * band) * spread))
        columns.append(_in_bands(seen) / seen.sum())
    return np.stack(columns, axis=1)


def _radius() -> np.ndarray:
    along = np.fft.fftfreq(SIZE)
    return np.hypot(along[:, None], along)


def _bands() -> np.ndarray:
    """The frequencies [3, SIZE, SIZE] bool that are low, mid and high."""
    radius, (begin, end) = _radius(), EDGES
    return np.stack([radius < begin, (radius >= begin) & (radius < end), radius >= end])


def _pink() -> np.ndarray:
    return np.maximum(_radius(), 1 / SIZE) ** -2.0


def _in_bands(power: np.ndarray) -> np.ndarray:
    return np.array([power[band].sum() for band in _bands()])


PINK = _in_bands(_pink()) / _pink().sum()  # about 0.63, 0.17 and 0.20
