"""Further nets for the quickstart: a few rows of Tables 2 and 3, and two columns of Fig. 6.

    python -m scripts.sweep --config=configs/miniature.py --workdir=runs/miniature

The nets of configs/ablations.py:small on the built-in pictures of configs/quickstart.py, with the
paper's RMS limit, trained for so few epochs that they show how the tables are made and no more.
"""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import ablations, quickstart

NETS = ("alexnet", "alexnet_without_3_4_6_7", "zfnet")
SEEDS = (1, 2)  # of the ensemble; the net of seed 0 is 'zfnet'


def get_config() -> ConfigDict:
    """What the runs share."""
    config = quickstart.get_config()
    config.epochs = 4
    config.optimizer.learning_rate = 0.02
    config.optimizer.warmup_epochs = 0.5
    config.optimizer.rms_limit = 0.1
    config.checkpoint.keep_epochs = ()
    return config


def sweep(add: Callable[..., None]) -> None:
    """Adds the runs, by the names of their rows."""
    for name in NETS:
        add(name, {"model": ablations.net(name, "small")}, label=ablations.ROWS[name])
    for seed in SEEDS:
        model = ablations.net("zfnet", "small")
        add(f"a_seed_{seed}", {"model": model, "seed": seed}, label="(a) 1 convnet as per Fig. 3")
