"""Imports a net from PyTorch, ONNX, Keras, TensorFlow.js or Caffe into a run's folder.

python -m scripts.import_weights --preset=NAME --weights=FILE.pth --workdir=DIR
python -m scripts.import_weights --architecture=CONFIG --weights=FILE.pth --workdir=DIR ...
python -m scripts.import_weights --weights=FILE.onnx --workdir=DIR --order=bgr ...
python -m scripts.import_weights --weights=FILE.h5|FILE.keras|model.json --workdir=DIR ...
python -m scripts.import_weights --weights=FILE.caffemodel --prototxt=FILE --workdir=DIR ...

From then on scripts.visualize, scripts.mine, scripts.occlusion and the others work on DIR. What the
file does not say of its images must be given: --order, --mean or --mean_file, --image_size, --crop.
A net that gets other images than it was trained on answers at random. docs/weights.md lists files
that are known.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from zfnet_jax.command import import_flags, shell

_NET = import_flags.NetFlags()
_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder; not there yet.", required=True)


def main() -> None:
    from configs import zfnet  # after the flags, so that --help needs no jax
    from zfnet_jax.importers import write
    from zfnet_jax.runs import origins
    from zfnet_jax.windows import in_words

    base = zfnet.get_config()
    imported = _NET.read(base)
    config = write.write_workdir(_WORKDIR.value, imported, base)
    layers = origins.listed(config.model.layers, imported.net.origins)
    # In float64: a float32 sum of so many pixels is off in its first digit after the point.
    means = imported.preprocessing.mean_image.mean((0, 1), dtype=np.float64)
    mean = ", ".join(f"{value:.6g}" for value in means)
    scale = ", ".join(f"{value:.6g}" for value in np.atleast_1d(config.augment.scale))
    crop = in_words(config.augment.crop)
    grey = " in grey, the mean of red, green, blue" * (imported.source.get("order") == "grey")
    classes = f"{imported.net.classes} classes"
    ends = {
        "dense": f"{len(config.model.dense)} dense layers, {classes}",
        "maps": f"whose last maps are the scores of {classes}",
        "none": "no classifier",
    }[config.model.get("classifier", "dense")]
    for line in imported.source.get("matched", ()):
        print(line)
    print(
        f"{layers}, {ends}; images"
        f" of {crop} of {config.data.image_size} pixels{grey}, mean {mean} (red,"
        f" green, blue), scale {scale}: {_WORKDIR.value}"
    )


if __name__ == "__main__":
    shell.run(main)
