"""Imports a net from PyTorch, ONNX or Caffe into a run's folder.

python -m scripts.import_weights --format=pytorch --preset=NAME --weights=FILE --workdir=DIR
python -m scripts.import_weights --format=onnx --weights=FILE --workdir=DIR --order=bgr ...
python -m scripts.import_weights --format=caffe --weights=FILE --prototxt=FILE --workdir=DIR ...

From then on scripts.visualize, scripts.mine, scripts.occlusion and the others work on DIR. What the
file does not say of its images must be given: --order, --mean or --mean_file, --image_size, --crop.
A net that gets other images than it was trained on answers at random. docs/weights.md lists files
that are known.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from zfnet_jax.command import shell

_FORMAT = flags.DEFINE_enum(
    "format", None, ["pytorch", "onnx", "caffe"], "Format of the weights.", required=True
)
_WEIGHTS = flags.DEFINE_string(
    "weights", None, ".pth, .safetensors, .onnx or .caffemodel.", required=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder; not there yet.", required=True)
_PRESET = flags.DEFINE_string("preset", None, "PyTorch: what net the tensors are of.")
_PROTOTXT = flags.DEFINE_string("prototxt", None, "Caffe: the file of the architecture.")
_OUTPUT = flags.DEFINE_string("output", None, "Caffe: layer of the class scores, if not the last.")
_CLASSES = flags.DEFINE_string("classes", None, "File of class names, one per line.")
_ORDER = flags.DEFINE_enum("order", None, ["rgb", "bgr"], "Order of the colours that it takes.")
_MEAN = flags.DEFINE_list("mean", None, "Subtracted from pixels: R,G,B, or one for all; 0 to 255.")
_MEAN_FILE = flags.DEFINE_string("mean_file", None, "Mean per pixel: .binaryproto or .npy.")
_SCALE = flags.DEFINE_list("scale", None, "What pixels are divided by: one number, or R,G,B.")
_SIZE = flags.DEFINE_integer("image_size", None, "Smallest side of photos after resizing.")
_CROP = flags.DEFINE_integer("crop", None, "Side of the centre crop that the net sees.")


def main() -> None:
    from configs import zfnet  # after the flags, so that --help needs no jax
    from zfnet_jax.importers import importing, write

    options = importing.Options(
        preset=_PRESET.value,
        prototxt=_PROTOTXT.value,
        output=_OUTPUT.value,
        bgr=None if _ORDER.value is None else _ORDER.value == "bgr",
        mean=None if _MEAN.value is None else np.array(_numbers("mean", _MEAN.value), np.float32),
        mean_file=_MEAN_FILE.value,
        scale=None if _SCALE.value is None else _scale(_numbers("scale", _SCALE.value)),
        image_size=_SIZE.value,
        crop=_CROP.value,
        class_names=_CLASSES.value,
    )
    read = {
        "pytorch": importing.from_pytorch,
        "onnx": importing.from_onnx,
        "caffe": importing.from_caffe,
    }[_FORMAT.value]
    base = zfnet.get_config()
    imported = read(_WEIGHTS.value, options, base)
    config = write.write_workdir(_WORKDIR.value, imported, base)
    layers = ", ".join(config.model.layers)
    # In float64: a float32 sum of so many pixels is off in its first digit after the point.
    means = imported.preprocessing.mean_image.mean((0, 1), dtype=np.float64)
    mean = ", ".join(f"{value:.6g}" for value in means)
    scale = ", ".join(f"{value:.6g}" for value in np.atleast_1d(config.augment.scale))
    grey = " in grey, the mean of red, green, blue" * (imported.source.get("order") == "grey")
    print(
        f"{layers}, {len(config.model.dense)} dense layers, {imported.net.classes} classes; images"
        f" of {config.augment.crop} of {config.data.image_size} pixels{grey}, mean {mean} (red,"
        f" green, blue), scale {scale}: {_WORKDIR.value}"
    )


def _numbers(flag: str, values: list[str]) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except ValueError:
        raise ValueError(f"--{flag}={','.join(values)}: expected numbers") from None


def _scale(values: tuple[float, ...]) -> float | tuple[float, ...]:
    return values[0] if len(values) == 1 else values


if __name__ == "__main__":
    shell.run(main)
