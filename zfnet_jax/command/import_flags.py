"""The flags of a net that is imported: its file, and what the file does not say."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from zfnet_jax.importers.write import Imported
    from zfnet_jax.windows import Sides

flags.disclaim_key_flags()  # they belong to the script, whose --help shows them


class NetFlags:
    """The flags, defined as it is made; read once they are parsed.

    Args:
      required: whether a script cannot do without weights.
    """

    def __init__(self, required: bool = True) -> None:
        self._weights = flags.DEFINE_string(
            "weights",
            None,
            ".pth, .safetensors, .onnx, .h5, .keras, model.json or .caffemodel.",
            required=required,
        )
        self._format = flags.DEFINE_enum(
            "format",
            None,
            ["pytorch", "onnx", "keras", "caffe"],
            "Of the weights; by default by their content.",
        )
        self._preset = flags.DEFINE_string("preset", None, "PyTorch: what net the tensors are of.")
        self._prototxt = flags.DEFINE_string(
            "prototxt", None, "Caffe: the file of the architecture."
        )
        self._architecture = flags.DEFINE_string(
            "architecture",
            None,
            "The layers of weights alone. PyTorch: a config, FILE.py or FILE.py:ARG; Keras: what"
            " model.to_json() wrote, FILE.json.",
        )
        self._output = flags.DEFINE_string(
            "output", None, "Caffe, Keras: last layer to read, if not the class scores."
        )
        self._classes = flags.DEFINE_string(
            "classes", None, "File of class names, one per line, in the net's order."
        )
        self._order = flags.DEFINE_enum(
            "order", None, ["rgb", "bgr"], "Order of the colours that it takes."
        )
        self._mean = flags.DEFINE_list(
            "mean", None, "Subtracted from pixels: R,G,B, or one for all; 0 to 255."
        )
        self._mean_file = flags.DEFINE_string(
            "mean_file", None, "Mean per pixel: .binaryproto or .npy."
        )
        self._scale = flags.DEFINE_list(
            "scale", None, "What pixels are then divided by: one number, or R,G,B; 1."
        )
        self._size = flags.DEFINE_integer(
            "image_size", None, "Smallest side of photos after resizing, pixels."
        )
        self._crop = flags.DEFINE_list(
            "crop",
            None,
            "Side of the centre crop that the net sees, pixels, or ROWS,COLUMNS.",
        )

    @property
    def is_given(self) -> bool:
        """Whether there are weights."""
        return self._weights.value is not None

    def read(self, base: ConfigDict) -> Imported:
        """The net, where weights are given; errors as in `importing`.

        Args:
          base: a config whose fields of the model hold where the file says nothing.
        """
        from zfnet_jax.importers import importing  # after the flags, so that --help needs no jax

        assert self._weights.value is not None
        order, mean, scale = self._order.value, self._mean.value, self._scale.value
        architecture = self._architecture.value
        is_json = architecture is not None and architecture.endswith(".json")
        options = importing.Options(
            preset=self._preset.value,
            architecture=None if is_json else read_config(architecture),
            prototxt=self._prototxt.value,
            architecture_json=architecture if is_json else None,
            output=self._output.value,
            bgr=None if order is None else order == "bgr",
            mean=None if mean is None else np.array(_numbers("mean", mean), np.float32),
            mean_file=self._mean_file.value,
            scale=None if scale is None else _scale(_numbers("scale", scale)),
            image_size=self._size.value,
            crop=None if self._crop.value is None else sides(self._crop.value),
            class_names=self._classes.value,
        )
        return importing.from_file(self._weights.value, options, base, self._format.value)

    def given(self) -> list[str]:
        """What a shell is told of them: those that were given."""
        return [
            f"--{one.name}={','.join(one.value) if isinstance(one.value, list) else one.value}"
            for one in vars(self).values()
            if one.present
        ]


def read_config(name: str | None) -> ConfigDict | None:
    """What `get_config` of a config file returns; `name` is FILE or FILE:ARG."""
    if name is None:
        return None
    path, *arg = name.split(":", 1)
    if not Path(path).is_file():
        raise ValueError(f"--architecture={name}: there is no file {path}")
    get_config = runpy.run_path(path).get("get_config")
    if get_config is None:
        raise ValueError(f"--architecture={name}: {path} has no function get_config")
    return get_config(*arg)


def _numbers(flag: str, values: list[str]) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except ValueError:
        raise ValueError(f"--{flag}={','.join(values)}: expected numbers") from None


def sides(values: list[str]) -> Sides:
    """What --crop says."""
    from zfnet_jax.windows import shortest

    if not all(value.isdecimal() for value in values) or len(values) not in (1, 2):
        raise ValueError(f"--crop={','.join(values)}: expected pixels, N or ROWS,COLUMNS")
    rows, columns = int(values[0]), int(values[-1])
    return shortest((rows, columns))


def _scale(values: tuple[float, ...]) -> float | tuple[float, ...]:
    return values[0] if len(values) == 1 else values
