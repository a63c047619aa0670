"""The built-in architectures, as values for `config.model`.

Every field can be overridden on the command line: `--config.model.conv3.maps=512`. A layer is
removed by leaving its name out of the list: `--config.model.layers="('conv1','conv2','conv5')"`.
The twelve nets of Table 3 are such overrides (`table3`).

All end in dense layers. In a config of one's own `model.classifier = "maps"` and `model.dense = ()`
make the last maps the class scores, one unit each, as after a global average pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict


def zfnet() -> ConfigDict:
    """The paper's net (Fig. 3): 62,357,608 parameters for 1000 classes.

    The pools round up, as cuda-convnet's do; the paper's sizes fit equally with one pixel of
    padding in pools 1 and 2 and rounding down, `--config.model.conv1.pool.padding=1
    --config.model.conv1.pool.rounding=floor` and so on.
    """
    pool = {"window": 3, "stride": 2, "padding": 0, "rounding": "ceil"}
    return _model(
        conv1=_conv(96, 7, stride=2, padding=1, pool=pool, contrast_norm=True),
        conv2=_conv(256, 5, stride=2, padding=0, pool=pool, contrast_norm=True),
        conv3=_conv(384, 3, padding=1),
        conv4=_conv(384, 3, padding=1),
        conv5=_conv(256, 3, padding=1, pool=pool),
        dense=(4096, 4096),
    )


def alexnet() -> ConfigDict:
    """The net of Krizhevsky et al. 2012 as the paper replicates it (Section 4, Table 3).

    62,378,344 parameters for 1000 classes, with dense connections; the original's two groups are
    `--config.model.conv2.groups=2` and the same for conv4 and conv5.
    """
    pool = {"window": 3, "stride": 2, "padding": 0, "rounding": "floor"}
    model = _model(
        conv1=_conv(96, 11, stride=4, padding=2, pool=pool, contrast_norm=True),
        conv2=_conv(256, 5, padding=2, pool=pool, contrast_norm=True),
        conv3=_conv(384, 3, padding=1),
        conv4=_conv(384, 3, padding=1),
        conv5=_conv(256, 3, padding=1, pool=pool),
        dense=(4096, 4096),
    )
    model.norm_before_pool = True
    return model


def small() -> ConfigDict:
    """ZFNet at a third of each width, for training on a CPU; contrast norm off.

    Pools 1 and 2 are padded by one pixel, which keeps small images from shrinking too fast.
    """
    pool = {"window": 3, "stride": 2, "padding": 1, "rounding": "floor"}
    return _model(
        conv1=_conv(32, 7, stride=2, padding=1, pool=pool),
        conv2=_conv(85, 5, stride=2, padding=0, pool=pool),
        conv3=_conv(128, 3, padding=1),
        conv4=_conv(128, 3, padding=1),
        conv5=_conv(85, 3, padding=1, pool=pool | {"padding": 0}),
        dense=(341, 341),
    )


def table3() -> dict[str, ConfigDict]:
    """The twelve nets of Table 3 by readable name, in the table's order."""
    nets = {}
    for base, make in (("alexnet", alexnet), ("zfnet", zfnet)):
        for change, apply in _TABLE3_CHANGES[base].items():
            model = make()
            apply(model)
            nets[f"{base}{change}"] = model
    return nets


def _conv(
    maps: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    pool: dict[str, Any] | None = None,
    contrast_norm: bool = False,
) -> ConfigDict:
    """One conv layer: filter, relu, pool, norm. A pooling window of 0 means no pool; the fields
    stay, to be overridden. `zfnet_jax/layer_fields.py` has the form for layers in another order."""
    no_pool = {"window": 0, "stride": 2, "padding": 0, "rounding": "floor"}
    return ConfigDict(
        {
            "maps": maps,
            "kernel": kernel,
            "stride": stride,
            "padding": padding,
            "groups": 1,
            "pool": pool or no_pool,
            "contrast_norm": contrast_norm,
        }
    )


def _model(dense: tuple[int, ...], **convs: ConfigDict) -> ConfigDict:
    return ConfigDict(
        {
            **convs,
            "layers": tuple(convs),  # the conv layers in use, first to last
            "dense": dense,  # units of the hidden dense layers; the softmax layer follows
            "dropout": 0.5,  # after each hidden dense layer
            # What dropout leaves is scaled up in training; False: scaled down in evaluation.
            "dropout_scales_training": True,
            "norm_before_pool": False,
            # Krizhevsky et al. 2012: k = 2, n = 5, alpha = 1e-4 times the sum of squares.
            "contrast_norm": {
                "maps": 5,
                "k": 2.0,
                "alpha": 1e-4,
                "beta": 0.75,
                "alpha_convention": "sum",
                "region": "across_maps",  # or 'within_map': of maps x maps pixels
            },
            # 'normal': N(0, init_std). 'he': variance 2 / fan-in, the first layer's filters times
            # first_init_scale, and N(0, init_std) in the softmax layer, which no relu follows.
            "init": "normal",
            "init_std": 1e-2,
            "first_init_scale": 1.0,
            "dtype": "float32",  # of activations: 'float32' or 'bfloat16'; parameters are float32
            "precision": "default",  # in training: TF32 on a GPU; analyses use 'highest'
        }
    )


def _set(**fields: object) -> Callable[[ConfigDict], None]:
    """An override of fields; `conv3_maps` stands for conv3.maps."""

    def apply(model: ConfigDict) -> None:
        for field, value in fields.items():
            layer, _, name = field.partition("_")
            if name:
                model[layer][name] = value
            else:
                model[field] = value

    return apply


_WIDE = {"conv3_maps": 512, "conv4_maps": 1024, "conv5_maps": 512}
_TABLE3_CHANGES = {
    "alexnet": {
        "": _set(),
        "_without_3_4": _set(layers=("conv1", "conv2", "conv5")),
        "_without_7": _set(dense=(4096,)),
        "_without_6_7": _set(dense=()),
        "_without_3_4_6_7": _set(layers=("conv1", "conv2", "conv5"), dense=()),
        "_dense_2048": _set(dense=(2048, 2048)),
        "_dense_8192": _set(dense=(8192, 8192)),
    },
    "zfnet": {
        "": _set(),
        "_dense_2048": _set(dense=(2048, 2048)),
        "_dense_8192": _set(dense=(8192, 8192)),
        "_512_1024_512": _set(**_WIDE),
        "_dense_8192_512_1024_512": _set(dense=(8192, 8192), **_WIDE),
    },
}
