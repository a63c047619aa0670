"""A small ZFNet on the built-in pictures: minutes on a CPU, nothing to download.

bash scripts/quickstart.sh

On 2 CPU cores: 93.9% validation top-1 after 20 epochs, 1.3 minutes (measured 2026-11-24).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import imagenette


def get_config() -> ConfigDict:
    """The small net of configs/imagenette.py on ten classes of drawn objects."""
    config = imagenette.get_config("small")
    config.data.source = "pictures"
    config.data.pictures.train_per_class = 400
    config.data.pictures.validation_per_class = 100
    config.data.prepared_dir = "data/pictures"
    config.data.image_size = 72
    config.augment.crop = 64
    config.batch_size = 32
    config.epochs = 20
    config.optimizer.warmup_epochs = 1.0
    return config
