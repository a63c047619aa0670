"""A training loop fed from prepared arrays, as the trainer's, beside its bare steps.

Batches are read ahead and placed on the devices in threads while they compute; the host never
waits for the step that it just started.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.benchmarks.made import MadeImages, narrow
from scripts.benchmarks.trials import Options, Row, spread, take_turns

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from zfnet_jax.data.images import Split
    from zfnet_jax.model import ZFNet

_CLASSES, _TARGET = 1000, 1.05
_IMAGES = 8192
_STEPS = 128  # that the wait for the first batch, the same in a training of days, is spread over
_FEW = 64  # of a rehearsal


def rows(options: Options) -> Iterator[Row]:
    """ZFNet in bfloat16 from a file of made images, which is read once before."""
    from configs import zfnet
    from zfnet_jax import model
    from zfnet_jax.data import prepared

    config = zfnet.get_config()
    config.model.dtype, config.model.init = "bfloat16", "he"
    config.augment.scale = 64.0
    if options.small:
        narrow(config)
    net = model.from_config(config.model, _CLASSES)
    made = MadeImages(_FEW if options.small else _IMAGES, _CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        shape = (len(made), made.image_size, made.image_size, 3)
        images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        for row in range(len(made)):
            images[row] = made.rows(np.array([row]))[0]
        del images
        split = prepared.PreparedSplit(
            images=np.load(path, mmap_mode="r"),
            labels=made.labels,
            keys=made.keys,
            class_names=made.class_names,
            mean=None,
            fingerprint=made.fingerprint,
        )
        for batch_size in options.batches:
            config.batch_size = batch_size
            each = len(made) // batch_size
            epochs = 1 if options.small else -(-_STEPS // each)
            steps = epochs * each
            what = f"training loop, ZFNet, bfloat16, {steps} steps of {batch_size}"
            yield from compare_loop(what, config, net, split, epochs, steps, options)


def of_epoch(split: Split, epoch: int, batch_size: int) -> Iterator[np.ndarray]:
    """The rows of each batch of one epoch, as a single process trains on them."""
    from zfnet_jax.data import batches

    return batches.train_rows(
        len(split),
        seed=0,
        epoch=epoch,
        start=0,
        batch_size=batch_size,
        process_index=0,
        process_count=1,
    )


def compare_loop(
    what: str,
    config: ConfigDict,
    net: ZFNet,
    split: Split,
    epochs: int,
    steps: int,
    options: Options,
) -> Iterator[Row]:
    """Rows for `steps` steps of `epochs` epochs, as one long epoch, and for as many bare ones."""
    import jax
    import jax.numpy as jnp

    from scripts.benchmarks.network import trainer
    from zfnet_jax import model, parallel, passes
    from zfnet_jax.data import batches

    read = functools.partial(batches.read, split)
    params = model.initial_params(net, 0, config.augment.crop, 3)
    step, state, mean = trainer(config, net, params)
    healthy = parallel.replicate(jnp.bool_(True))
    on_device = parallel.split_rows(read(next(of_epoch(split, 0, config.batch_size))))
    epoch = 0

    def train(rows: Iterable[Any]) -> None:
        nonlocal state, healthy
        losses = []
        for batch in rows:
            state, healthy, loss = step(state, healthy, mean, batch)
            losses.append(loss)
            if len(losses) > 2:
                losses.pop(0).block_until_ready()
        jax.block_until_ready((state, losses))

    def end_to_end() -> None:
        nonlocal epoch
        epoch += epochs
        rows = itertools.chain.from_iterable(
            of_epoch(split, epoch + number, config.batch_size) for number in range(epochs)
        )
        train(passes.on_devices(read, rows))

    forms = {
        "fed from prepared arrays": end_to_end,
        "bare steps": lambda: train([on_device] * steps),
    }
    loop, bare = (spread(values) for values in take_turns(forms, options.trials).values())
    yield Row(what, "fed from prepared arrays", "s", *loop)
    yield Row(what, "bare steps", "s", *bare, ratio=loop[0] / bare[0], target=_TARGET)
