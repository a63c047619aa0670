"""The six nets of Table 2: five as per Fig. 3 from different seeds (a), one with wider layers (b).

    python -m scripts.sweep --config=configs/ensemble.py --workdir=runs/table2

In small, on Imagenette: `--config=configs/ensemble.py:small`, on Tiny ImageNet: `:tiny` (see
configs/ablations.py). Both have been run (docs/ablations.md), ImageNet not yet.
"""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import ablations


def get_config(arg: str = "imagenet") -> ConfigDict:
    """What all runs share. `arg`: see configs/ablations.py."""
    return ablations.get_config(arg)


def sweep(add: Callable[..., None], arg: str = "imagenet") -> None:
    """Adds the six nets."""
    for seed in range(5):
        add(f"a_seed_{seed}", {"seed": seed}, label="(a) 1 convnet as per Fig. 3")
    add(
        "b_512_1024_512",
        {"model": ablations.net("zfnet_512_1024_512", arg)},
        label="(b) 1 convnet as per Fig. 3 but with layers 3,4,5: 512,1024,512 maps",
    )
