"""Ten-crop evaluation (Section 3) against the centre crop alone, on a run's net."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.benchmarks.made import MadeImages, net_of
from scripts.benchmarks.trials import Options, Row, compare

_IMAGES, _BATCH = 64, 32


def rows(options: Options) -> Iterator[Row]:
    from zfnet_jax.data.images import Crops
    from zfnet_jax.studies.errors.predict import predict

    images = MadeImages(_IMAGES, classes=1000)
    run = net_of(images, small=False)

    def evaluate(crops: Crops) -> None:
        predict(run, images, crops=crops, batch_size=_BATCH, probabilities=False, progress=False)

    def ten_times() -> None:
        for _ in range(10):
            evaluate(1)

    yield from compare(
        f"evaluation of {_IMAGES} images, ZFNet at {run.input_size[0]} pixels",
        {"ten crops": lambda: evaluate(10), "ten times the centre crop": ten_times},
        options,
    )
