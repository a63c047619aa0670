"""Own photos, one folder for each class, from fifty to a million: sizes, batch, epochs by rules.

    python -m scripts.prepare_data --config=configs/folder.py:PHOTOS
    python -m scripts.train --config=configs/folder.py:PHOTOS --dry_run
    python -m scripts.train --config=configs/folder.py:PHOTOS --workdir=runs/mine

PHOTOS holds the folders of the classes, or train/ and val/ with them inside. What the rules choose
is said when training starts, and before that by --dry_run, with what it takes on the machine at
hand; any of it can be set: --config.epochs=100. They count the photos anew each time, so that a
command a month later may choose otherwise: by then the run's own config.json says what it was. With
fewer than some hundred photos a class configs/finetune.py, which starts from a trained net, is the
better way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from configs import imagenette
from zfnet_jax.data.folders import Below

VALIDATION = ("val", "valid", "validation")  # what the folder beside train/ may be called
HELD_OUT = 0.2  # the share of each class to validate on, ...
MOST_HELD_OUT = 50_000  # ... but no more photos than ImageNet has for it
# To train on. Below, a third of ZFNet's widths and crops of 112 pixels: on 5,000 photos it reaches
# what the whole net does (docs/results.md), in minutes on a CPU.
WHOLE_NET = 20_000
STEPS = 40  # an epoch has at least so many, or batches would be small
SMALLEST_BATCH = 8
# Photos seen in training, each as often as there are epochs: 42 epochs of 5,000, as
# configs/imagenette.py was measured with.
SEEN = 210_000
EPOCHS = (40, 200)  # at least, at most
UNEVEN = 3.0  # the largest class by the smallest, from which on classes have weights


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: the folder of the photos."""
    root = Path(arg)
    if not arg or not root.is_dir():
        raise ValueError(
            f"configs/folder.py:{arg}: name the folder of your photos, which holds one folder for"
            " each class, such as configs/folder.py:PHOTOS"
        )
    validation = [root / name for name in VALIDATION if (root / name).is_dir()]
    split = bool(validation) and (root / "train").is_dir()
    train = root / "train" if split else root
    counts = [len(photos) for _, photos in Below(train).by_class()]
    if len(counts) < 2:
        raise ValueError(
            f"configs/folder.py:{arg}: {train} holds {len(counts)} folders of photos: put those of"
            " each class into a folder of its own, of two classes or more"
        )
    config = by_rules(counts, held_out=0.0 if split else share_held_out(sum(counts)))
    config.data.folder.train = str(train)
    config.data.folder.validation = str(validation[0]) if split else ""
    config.data.prepared_dir = f"data/{root.resolve().name}"
    return config


def share_held_out(photos: int) -> float:
    """The share of each class that is kept from training."""
    return min(HELD_OUT, MOST_HELD_OUT / photos)


def by_rules(counts: Sequence[int], held_out: float) -> ConfigDict:
    """The recipe for classes of so many photos, of which a share is held out."""
    held = [min(max(1, round(held_out * n)), n - 1) if held_out else 0 for n in counts]
    each = [n - out for n, out in zip(counts, held, strict=True)]
    photos = sum(each)
    whole = photos >= WHOLE_NET
    config = imagenette.get_config("full" if whole else "small")
    config.data.folder.held_out = held_out
    # The rate of the recipes is for these batches, and goes in proportion (Goyal et al. 2017).
    most = config.optimizer.reference_batch = config.batch_size
    config.optimizer.scale_with_batch = True
    wanted = min(max(photos // STEPS, SMALLEST_BATCH), most, photos)
    config.batch_size = 2 ** int(math.log2(wanted))
    config.epochs = min(max(round(SEEN / photos), EPOCHS[0]), EPOCHS[1])
    uneven = max(each) / max(min(each), 1)
    if uneven >= UNEVEN:
        config.optimizer.class_weights = "inverse"
    size = f"fewer than {WHOLE_NET} to train on: a third of ZFNet's widths"
    if whole:
        size = f"{WHOLE_NET} or more to train on: the whole of ZFNet"
    config.rules = (
        f"by the rules of configs/folder.py, unless set otherwise: {sum(counts)} photos of"
        f" {len(counts)} classes: {photos} to train on"
        + (f", {sum(held)} held out" if held_out else ""),
        f"{size}, crops of {config.augment.crop} of {config.data.image_size} pixels",
        f"batches of {config.batch_size}: {photos} / {STEPS} steps an epoch = {photos // STEPS},"
        f" from {SMALLEST_BATCH} to {most}, a power of two",
        f"{config.epochs} epochs: {SEEN} photos seen / {photos} = {round(SEEN / photos)}, from"
        f" {EPOCHS[0]} to {EPOCHS[1]}",
        f"the largest class has {uneven:.1f} times the photos of the smallest: class weights"
        f" {config.optimizer.class_weights} ({UNEVEN:g} times and more: inverse)",
    )
    return config
