"""Images that are made as they are read, and nets for them: for suites that need no photos."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from zfnet_jax.runs.run import Run

_DIFFERENT = 509  # patterns; a prime, so that pattern and shift are never in step


@dataclasses.dataclass(frozen=True)
class MadeImages:
    """A split of `count` images [S, S, 3] uint8, no two of them alike, that takes no disk.

    Image i is one of some hundred patterns, rolled down; its label is i mod `classes`.
    """

    count: int
    classes: int
    image_size: int = 256
    fingerprint: str = "made images"

    @property
    def labels(self) -> np.ndarray:
        return (np.arange(self.count) % self.classes).astype(np.int32)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.count)))

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.classes)))

    @property
    def mean(self) -> None:
        return None

    def __len__(self) -> int:
        return self.count

    def rows(self, index: np.ndarray) -> np.ndarray:
        """[n, S, S, 3]"""
        images = np.empty((len(index), self.image_size, self.image_size, 3), np.uint8)
        for image, number in zip(images, index):
            shift, pattern = divmod(int(number), _DIFFERENT)
            image[:] = np.roll(_patterns(self.image_size)[pattern], shift, axis=0)
        return images


@functools.lru_cache(maxsize=1)
def _patterns(size: int) -> np.ndarray:
    """Patches of eight pixels, [n, S, S, 3]: in noise of single pixels all units see the same."""
    few = np.random.default_rng(0).integers(0, 256, (_DIFFERENT, size // 8, size // 8, 3), np.uint8)
    return few.repeat(8, axis=1).repeat(8, axis=2)


def net_of(images: MadeImages, small: bool) -> Run:
    """A run of ZFNet with He's start, as it is opened for analysis; `small`: an eighth as wide."""
    from configs import zfnet
    from zfnet_jax import model
    from zfnet_jax.runs.run import Run

    config = zfnet.get_config()
    config.model.precision, config.model.init = "highest", "he"
    config.augment.scale = 64.0
    config.data.image_size = images.image_size
    if small:
        narrow(config)
    net = model.from_config(config.model, images.classes)
    return Run(
        directory=Path(),
        step=0,
        config=config,
        net=net,
        params=model.initial_params(net, 0, config.augment.crop, 3),
        mean=np.full((images.image_size, images.image_size, 3), 128, np.float32),
        class_names=images.class_names,
    )


def narrow(config: ConfigDict) -> None:
    """An eighth of the maps, for a rehearsal on a CPU."""
    for name in config.model.layers:
        config.model[name].maps //= 8
    config.model.dense = (64, 64)
