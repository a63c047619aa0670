"""Ten-crop evaluation (Section 3) against the centre crop alone, on a run's net."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scripts.benchmarks.trials import Options, Row, compare

_IMAGES, _BATCH = 64, 32


def rows(options: Options) -> Iterator[Row]:
    from configs import zfnet
    from zfnet_jax import model
    from zfnet_jax.analysis.predict import Crops, predict
    from zfnet_jax.run import Run

    config = zfnet.get_config()
    config.model.precision, config.model.init = "highest", "he"
    config.augment.scale = 64.0
    net = model.from_config(config.model, 1000)
    size = config.data.image_size
    rng = np.random.default_rng(0)
    images = _Images(
        rng.integers(0, 256, (_IMAGES, size, size, 3), np.uint8), np.zeros(_IMAGES, np.int32)
    )
    run = Run(
        directory=Path(),
        step=0,
        config=config,
        net=net,
        params=model.initial_params(net, 0, config.augment.crop, 3),
        mean=np.full((size, size, 3), 118, np.float32),
        class_names=tuple(map(str, range(1000))),
    )

    def evaluate(crops: Crops) -> None:
        predict(run, images, crops=crops, batch_size=_BATCH, probabilities=False, progress=False)

    def ten_times() -> None:
        for _ in range(10):
            evaluate(1)

    yield from compare(
        f"evaluation of {_IMAGES} images, ZFNet at {config.augment.crop} pixels",
        {"ten crops": lambda: evaluate(10), "ten times the centre crop": ten_times},
        options,
    )


@dataclasses.dataclass(frozen=True)
class _Images:
    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.pixels[index]
