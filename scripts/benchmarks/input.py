"""Batches from prepared arrays against decoding JPEGs, and a training loop against its bare step.

Reading and decoding run in one thread. The pictures are a folder's JPEG photos, or built-in ones
saved as JPEG. For the loop see `loop`.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.benchmarks.loop import compare_loop, of_epoch
from scripts.benchmarks.trials import Options, Row, spread, take_turns

if TYPE_CHECKING:
    from zfnet_jax.data import batches
    from zfnet_jax.data.images import Split

_PHOTOS, _SIZE, _BATCH = 256, 256, 64
_LOOP_BATCH, _LOOP_EPOCHS = 32, 8  # the photos again and again, as one long epoch


def rows(options: Options) -> Iterator[Row]:
    from zfnet_jax.data import batches, decode, prepared

    photos = encoded_photos(options.photos)
    images = np.stack([decode.centre_square(decode.decode(data), _SIZE) for data in photos])
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", images)
        split = prepared.PreparedSplit(
            images=np.load(Path(folder) / "images.npy", mmap_mode="r"),
            labels=np.arange(len(images), dtype=np.int32) % 10,
            keys=tuple(map(str, range(len(images)))),
            class_names=tuple(map(str, range(10))),
            mean=None,
            fingerprint="",
        )

        def read() -> None:
            for index in of_epoch(split, 0, _BATCH):
                batches.read(split, index)

        def decode_all() -> None:
            for data in photos:
                decode.centre_square(decode.decode(data), _SIZE)

        seconds = take_turns({"prepared": read, "JPEG": decode_all}, options.trials)
        of_prepared, of_photos = (
            _rates(taken, count)
            for taken, count in zip(
                seconds.values(), (len(photos) // _BATCH * _BATCH, len(photos)), strict=True
            )
        )
        what = f"reading {_SIZE} x {_SIZE} images in one thread"
        share = 2 * images[0].nbytes * of_prepared[0] / options.bytes_per_second
        yield Row(what, "batches of prepared arrays", "images/s", *of_prepared, share=share)
        ratio = of_prepared[0] / of_photos[0]
        name = "decoding photos" if options.photos else "decoding built-in pictures"
        yield Row(what, name, "images/s", *of_photos, ratio=ratio, target=20, at_least=True)
        yield from _transfer(batches.read(split, next(of_epoch(split, 0, _BATCH))), options)
        yield from _loop(split, options)


def _transfer(batch: batches.Batch[np.ndarray], options: Options) -> Iterator[Row]:
    import jax

    from zfnet_jax import parallel

    forms = {"host to device": lambda: jax.block_until_ready(parallel.split_rows(batch))}
    rates = _rates(take_turns(forms, options.trials)["host to device"], _BATCH)
    share = 2 * batch.images[0].nbytes * rates[0] / options.bytes_per_second
    yield Row(f"placing batches of {_BATCH}", "host to device", "images/s", *rates, share=share)


def _loop(split: Split, options: Options) -> Iterator[Row]:
    """The small net: its step is short, so what the loop adds shows most."""
    from configs import imagenette
    from zfnet_jax import model

    config = imagenette.get_config("small")
    config.data.image_size, config.augment.crop, config.batch_size = _SIZE, 112, _LOOP_BATCH
    net = model.from_config(config.model, 10)
    steps = _LOOP_EPOCHS * (_PHOTOS // config.batch_size)
    what = f"training loop, small net, {steps} steps of {config.batch_size}"
    yield from compare_loop(what, config, net, split, _LOOP_EPOCHS, steps, options)


def _rates(seconds: list[float], count: int) -> tuple[float, float, float]:
    return spread([count / value for value in seconds])


def encoded_photos(folder: str | None) -> list[bytes]:
    """Some JPEG files of a folder, or built-in pictures as JPEG files."""
    if folder:
        paths = sorted(
            path for path in Path(folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")
        )
        if len(paths) < _PHOTOS:
            raise ValueError(f"{folder} holds {len(paths)} JPEG files; this needs {_PHOTOS}")
        chosen = paths[:: len(paths) // _PHOTOS][:_PHOTOS]
        return [path.read_bytes() for path in chosen]
    return [_picture(seed) for seed in range(_PHOTOS)]


def _picture(seed: int) -> bytes:
    """A built-in picture as a JPEG file of about ImageNet's size."""
    from PIL import Image

    from zfnet_jax.data.pictures import draw

    file = io.BytesIO()
    Image.fromarray(draw("cat", seed % 16, 400).image).save(file, "JPEG", quality=92)
    return file.getvalue()
