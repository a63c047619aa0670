"""Table 3 of the paper: layers of the Krizhevsky net and of ours removed or resized, trained anew.

    python -m scripts.sweep --config=configs/ablations.py --workdir=runs/table3

On ImageNet with the paper's recipe (configs/zfnet.py). In small, on Imagenette with the recipe of
configs/imagenette.py, a third of the maps and a twelfth of the dense units:

    python -m scripts.prepare_data --config=configs/ablations.py:small \\
        --config.data.folder.train=DIR/train --config.data.folder.validation=DIR/val
    python -m scripts.sweep --config=configs/ablations.py:small --workdir=runs/table3-small

With two hundred classes of 64 pixels, the recipe of configs/tiny_imagenet.py:short and three seeds
a row: `--config=configs/ablations.py:tiny`, 36 runs.

`--dry_run` lists the runs. In small and, for four epochs, on Tiny ImageNet it has been run
(docs/ablations.md), on ImageNet not yet.
"""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import architectures, imagenette, tiny_imagenet, zfnet

# The rows as the paper names them, by the name of their architecture.
ROWS = {
    "alexnet": "Our replication of Krizhevsky, 1 convnet",
    "alexnet_without_3_4": "Removed layers 3,4",
    "alexnet_without_7": "Removed layer 7",
    "alexnet_without_6_7": "Removed layers 6,7",
    "alexnet_without_3_4_6_7": "Removed layer 3,4,6,7",
    "alexnet_dense_2048": "Adjust layers 6,7: 2048 units",
    "alexnet_dense_8192": "Adjust layers 6,7: 8192 units",
    "zfnet": "Our Model (as per Fig. 3)",
    "zfnet_dense_2048": "Adjust layers 6,7: 2048 units",
    "zfnet_dense_8192": "Adjust layers 6,7: 8192 units",
    "zfnet_512_1024_512": "Adjust layers 3,4,5: 512,1024,512 maps",
    "zfnet_dense_8192_512_1024_512": (
        "Adjust layers 6,7: 8192 units and Layers 3,4,5: 512,1024,512 maps"
    ),
}

SEEDS = (0, 1, 2)  # of 'tiny'


def get_config(arg: str = "imagenet") -> ConfigDict:
    """What all runs share. `arg`: 'imagenet', or on a CPU 'small' for Imagenette or 'tiny' for Tiny
    ImageNet."""
    if arg == "imagenet":
        return zfnet.get_config()
    if arg == "small":
        return imagenette.get_config("small")
    if arg == "tiny":
        return tiny_imagenet.get_config("short")
    raise ValueError(f"{arg!r}: the modes are imagenet, small and tiny")


def sweep(add: Callable[..., None], arg: str = "imagenet") -> None:
    """Adds one run per row of the table, of 'tiny' one for each seed."""
    if arg != "tiny":
        for name, label in ROWS.items():
            add(name, {"model": net(name, arg)}, label=label)
        return
    for seed in SEEDS:  # outside, so that a sweep that is broken off has every row
        for name, label in ROWS.items():
            add(f"{name}_seed_{seed}", {"model": net(name, arg), "seed": seed}, label=label)


def net(name: str, arg: str) -> ConfigDict:
    """The architecture of a row, for 'imagenet', 'small' or 'tiny'."""
    model = architectures.table3()[name]
    if arg == "imagenet":
        return model
    small = get_config(arg).model
    for conv in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        model[conv].maps = round(model[conv].maps / 3)
        model[conv].contrast_norm = False
        # Padded: see architectures.small. Krizhevsky's net has nothing left of 56 pixels without.
        if name.startswith("zfnet") or arg == "tiny":
            model[conv].pool = small[conv].pool
    if name.startswith("zfnet"):
        model.conv2.stride, model.conv2.padding = small.conv2.stride, small.conv2.padding
    model.dense = tuple(round(units / 12) for units in model.dense)
    model.dropout = small.dropout
    model.init = small.init
    model.first_init_scale = small.first_init_scale
    return model
