"""The small net on Tiny ImageNet: 200 classes, 500 + 50 photos of 64 x 64 each.

From a folder with train/ and val/, one folder for each class in both:

    python -m scripts.prepare_data --config=configs/tiny_imagenet.py \\
        --config.data.folder.train=DIR/train --config.data.folder.validation=DIR/val
    python -m scripts.train --config=configs/tiny_imagenet.py --workdir=runs/tiny_imagenet

As published its photos of training lie in train/CLASS/images, which is read as they are; those of
validation lie in one folder and have to be sorted by val_annotations.txt first. words.txt is the
file of titles: --config.data.class_titles=words.txt.

40 epochs, dropout 0.4, label smoothing 0.1: 36.3% validation top-1, 62.7% top-5, measured
2026-11-27 on 2 cores of an Intel Xeon with AVX-512. That training was stopped and resumed beside
other work, so its time says nothing; at the 655 to 756 images/s of docs/speed.md it is an hour and
a half.

`configs/tiny_imagenet.py:short` has six epochs, dropout 0.2 and no smoothing, for sweeps of many
nets: 20.0% after 21 minutes on 2 CPU cores, the training loss still falling.

`configs/tiny_imagenet.py:wide`, for a GPU, is the long one with the maps of Fig. 3, dense layers of
1,024 units and dropout 0.5: 43.7% top-1, 68.9% top-5, 47.4 and 72.6% with ten crops, on one NVIDIA
H200 (2026-11-27); seeds 1 and 2 came to 43.5 and 43.0%. The long one trained there, in TF32, came
to 35.9% and 63.1%, with seeds 1 and 2 to 35.6 and 35.8%; alone it would take 2.2 minutes, by
--dry_run.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import architectures, imagenette


def get_config(arg: str = "long") -> ConfigDict:
    """The recipe of configs/imagenette.py, for photos of a quarter of the area. `arg`: 'long',
    'short' or 'wide'."""
    if arg not in ("long", "short", "wide"):
        raise ValueError(f"configs/tiny_imagenet.py:{arg}: the modes are long, short and wide")
    config = imagenette.get_config("small")
    config.data.prepared_dir = "data/tiny_imagenet"
    config.data.image_size = 64
    config.augment.crop = 56  # 7/8 of the side, as 224 of 256
    # At stride 2 the maps of the second layer would be 5 x 5; so they are 13 x 13.
    config.model.conv2.stride = 1
    config.model.conv2.padding = 2
    config.optimizer.warmup_epochs = 1.0
    config.epochs = 40
    config.model.dropout = 0.4
    config.log_every_steps = 100
    if arg == "short":  # 200 classes in six epochs: the net has not begun to learn photos by heart
        config.epochs = 6
        config.model.dropout = 0.2
        config.optimizer.label_smoothing = 0.0
    if arg == "wide":
        whole = architectures.zfnet()
        for layer in config.model.layers:
            config.model[layer].maps = whole[layer].maps
        config.model.dense = (1024, 1024)
        config.model.dropout = 0.5
    return config
