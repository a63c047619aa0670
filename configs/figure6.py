"""Fig. 6: first layers with and without the RMS limit, and the Krizhevsky net's beside ours.

    python -m scripts.prepare_data --config=configs/figure6.py \\
        --config.data.folder.train=DIR/train --config.data.folder.validation=DIR/val
    python -m scripts.sweep --config=configs/figure6.py --workdir=runs/figure6
    for net in zfnet_without_limit zfnet alexnet; do
      python -m scripts.mine --workdir=runs/figure6/$net
    done
    python -m scripts.diagnose --workdir=runs/figure6/zfnet_without_limit \\
        --workdir=runs/figure6/zfnet --workdir=runs/figure6/alexnet
    python -m scripts.figures --figure=6 --out=figures \\
        --runs=runs/figure6/zfnet_without_limit,runs/figure6/zfnet,runs/figure6/alexnet

Short runs on Imagenette at 224 pixels with the recipe of configs/imagenette.py, whose first layer
learns fast. The nets have a third of the maps and a twelfth of the dense units.
"""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import ablations, imagenette


def get_config() -> ConfigDict:
    """What the runs share."""
    config = imagenette.get_config("full")
    config.model = net("zfnet")
    config.batch_size = 64
    config.epochs = 4
    config.optimizer.rms_limit = 0.1
    config.optimizer.warmup_epochs = 1.0
    config.checkpoint.keep_epochs = ()
    return config


def sweep(add: Callable[..., None]) -> None:
    """Adds the runs."""
    add("zfnet_without_limit", {"optimizer.rms_limit": 0.0}, label="zfnet, no RMS limit")
    add("zfnet", {}, label="zfnet, RMS limit 0.1")
    add("alexnet", {"model": net("alexnet")}, label="Krizhevsky's net, RMS limit 0.1")


def net(name: str) -> ConfigDict:
    """A net of Table 3 at a third of its width, with contrast norm as in the paper."""
    model = ablations.net(name, "small")
    for conv in ("conv1", "conv2"):
        model[conv].contrast_norm = True
    return model
