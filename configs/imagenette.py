"""ZFNets on Imagenette: ten classes of ImageNet, from a folder of class folders or from TFDS.

From a folder with train/ and val/ (`small`, the default: a third of each width, 112 pixels):

    python -m scripts.prepare_data --config=configs/imagenette.py \\
        --config.data.folder.train=DIR/train --config.data.folder.validation=DIR/val
    python -m scripts.train --config=configs/imagenette.py --workdir=runs/imagenette

On 500 training and 100 validation photos per class (224 x 224), 2 CPU cores: 72.6% validation top-1
after 42 epochs, 12.2 minutes; 65% after 5.8 minutes (measured 2026-11-24).

`configs/imagenette.py:full` is the whole net at 224 pixels: 72.0% after 14 epochs with the RMS
limit, 75 minutes (docs/results.md has the command; measured 2026-11-26).
From TFDS: add `--config.data.source=tfds` to both commands.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import architectures, zfnet


def get_config(arg: str = "small") -> ConfigDict:
    """`arg`: 'small' for a CPU, 'full' for the paper's net."""
    if arg not in ("small", "full"):
        raise ValueError(f"configs/imagenette.py:{arg}: the modes are small and full")
    config = zfnet.get_config()
    config.data.source = "folder"
    config.data.tfds.name = "imagenette/full-size-v2"
    config.data.prepared_dir = f"data/imagenette-{arg}"
    config.augment.crops = "random"
    # Pixels of standard deviation 4 and small first filters: the first layer learns many times
    # faster than the others, as with the raw pixels of the paper, and comes out smooth.
    config.augment.scale = 16.0
    config.optimizer.rms_limit = 0.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 3.0
    config.optimizer.weight_decay = 5e-4
    config.optimizer.label_smoothing = 0.1
    if arg == "small":
        config.model = architectures.small()
        config.data.image_size = 128
        config.augment.crop = 112
        config.batch_size = 64
        config.epochs = 42
        config.log_every_steps = 0  # an epoch is a minute
    config.model.init = "he"
    config.model.first_init_scale = 0.08
    return config
