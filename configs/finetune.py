"""Trains a net on, on other photos: from a run's folder, or an import's.

    python -m scripts.prepare_data --config=configs/finetune.py:runs/mine \\
        --config.data.folder.train=PHOTOS --config.data.folder.held_out=0.2 \\
        --config.data.prepared_dir=data/own
    python -m scripts.train --config=configs/finetune.py:runs/mine \\
        --config.data.prepared_dir=data/own --workdir=runs/own

`runs/mine:best` (lowest validation error) or `runs/mine:STEP` starts from another checkpoint than
the newest. Net, size of the photos, crop and scale are those of the run; the mean is, too, and the
last layer is made anew for the new classes.
`--config.frozen="('conv1','conv2')"` leaves layers as they are. docs/train.md measures it.
"""

from __future__ import annotations

import json
from pathlib import Path

from ml_collections import ConfigDict

from configs import imagenette


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: the folder of the run to start from, or 'FOLDER:STEP'."""
    folder, colon, step = arg.rpartition(":")
    has_step = colon and (step.isdecimal() or step in ("best", "latest"))
    path = Path(folder if has_step else arg) / "config.json"
    if not arg or not path.exists():
        raise ValueError(
            f"configs/finetune.py:{arg}: name the folder of the run to start from, such as"
            " configs/finetune.py:runs/mine"
        )
    saved = json.loads(path.read_text(encoding="utf-8"))
    config = imagenette.get_config()
    config.init_from = arg
    config.model = ConfigDict(saved["model"])
    config.data.image_size = saved["data"]["image_size"]
    with config.ignore_type():
        for field in ("crop", "scale"):
            value = saved["augment"][field]
            config.augment[field] = tuple(value) if isinstance(value, list) else value
    config.batch_size = 16
    config.epochs = 40
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup_epochs = 1.0
    return config
