"""The flags of a net that is imported: its file, and what the file does not say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from zfnet_jax.importers.write import Imported

flags.disclaim_key_flags()  # they belong to the script, whose --help shows them


def define() -> Callable[[ConfigDict], Imported]:
    """Defines the flags; returns what reads the net once they are parsed.

    It takes a config whose fields of the model hold where the file says nothing; errors as in
    `importing`.
    """
    weights = flags.DEFINE_string(
        "weights", None, ".pth, .safetensors, .onnx or .caffemodel.", required=True
    )
    kind = flags.DEFINE_enum(
        "format", None, ["pytorch", "onnx", "caffe"], "Of the weights; by default by their content."
    )
    preset = flags.DEFINE_string("preset", None, "PyTorch: what net the tensors are of.")
    prototxt = flags.DEFINE_string("prototxt", None, "Caffe: the file of the architecture.")
    output = flags.DEFINE_string(
        "output", None, "Caffe: last layer to read, if not the class scores."
    )
    classes = flags.DEFINE_string("classes", None, "File of class names, one per line.")
    order = flags.DEFINE_enum("order", None, ["rgb", "bgr"], "Order of the colours that it takes.")
    mean = flags.DEFINE_list(
        "mean", None, "Subtracted from pixels: R,G,B, or one for all; 0 to 255."
    )
    mean_file = flags.DEFINE_string("mean_file", None, "Mean per pixel: .binaryproto or .npy.")
    scale = flags.DEFINE_list("scale", None, "What pixels are divided by: one number, or R,G,B.")
    size = flags.DEFINE_integer("image_size", None, "Smallest side of photos after resizing.")
    crop = flags.DEFINE_integer("crop", None, "Side of the centre crop that the net sees.")

    def read(base: ConfigDict) -> Imported:
        from zfnet_jax.importers import importing  # after the flags, so that --help needs no jax

        options = importing.Options(
            preset=preset.value,
            prototxt=prototxt.value,
            output=output.value,
            bgr=None if order.value is None else order.value == "bgr",
            mean=None if mean.value is None else np.array(_numbers("mean", mean.value), np.float32),
            mean_file=mean_file.value,
            scale=None if scale.value is None else _scale(_numbers("scale", scale.value)),
            image_size=size.value,
            crop=crop.value,
            class_names=classes.value,
        )
        return importing.from_file(weights.value, options, base, kind.value)

    return read


def _numbers(flag: str, values: list[str]) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except ValueError:
        raise ValueError(f"--{flag}={','.join(values)}: expected numbers") from None


def _scale(values: tuple[float, ...]) -> float | tuple[float, ...]:
    return values[0] if len(values) == 1 else values
