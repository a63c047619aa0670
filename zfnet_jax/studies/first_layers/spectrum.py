"""Power spectra of small images, and what share of their power lies where.

Frequencies are in cycles per pixel along an axis, from 0 to 0.5. Spectra are taken of images
padded with zeros to SIZE pixels, which samples them finely; a k-pixel image still resolves no more
than 1/k cycles per pixel, so a pure wave spreads over about that much.
"""

from __future__ import annotations

import numpy as np

SIZE = 64


def power(images: np.ndarray) -> np.ndarray:
    """Power spectra [N, S, S] of images [N, h, w, C], summed over channels; S = max(SIZE, h, w)."""
    size = max(SIZE, *images.shape[1:3])
    result = np.zeros((len(images), size, size))
    for image, spectrum in zip(images, result):  # one by one: the complex values take much memory
        waves = np.fft.fft2(image.astype(np.float64), s=(size, size), axes=(0, 1))
        spectrum[:] = np.square(np.abs(waves)).sum(axis=2)
    return result


def frequencies(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertical [S, 1] and horizontal [1, S] frequency of the entries of `power`, not negative."""
    along = np.abs(np.fft.fftfreq(size))
    return along[:, None], along[None, :]


def share(spectra: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Share [N] of each spectrum's power at the entries `where` [S, S] bool; 0 if it has none."""
    total = spectra.sum(axis=(1, 2))
    return (spectra * where).sum(axis=(1, 2)) / np.where(total > 0, total, 1)
