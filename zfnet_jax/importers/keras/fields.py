"""What the config of a Keras layer says, checked: numbers, pairs, activations, where channels are.

All raise ValueError with the layer and the field that makes no sense.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zfnet_jax.importers.keras.layers import Layer
from zfnet_jax.windows import Pair

_LARGEST = 2**24  # any number of a config


def as_activation(layer: Layer) -> Any:
    """What an activation's layer does, as other layers say it of theirs."""
    return layer.config.get("activation") if layer.kind == "Activation" else {
        "class_name": layer.kind, "config": layer.config,
    }  # fmt: skip


def activation(layer: Layer, given: Any) -> tuple[str, Mapping[str, Any]]:
    """Name and options of an activation, which configs say as a name or as what makes it."""
    names = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "Softmax": "softmax", "Linear": "linear"}
    options: Mapping[str, Any] = {}
    if isinstance(given, Mapping):
        kind, config = given.get("class_name"), given.get("config")
        if kind == "function":
            given = config
        else:
            given, options = (
                names.get(str(kind), kind),
                config if isinstance(config, Mapping) else {},
            )
    given = "linear" if given is None else given
    if not isinstance(given, str):
        raise ValueError(f"{layer.title}: its activation is {given!r}")
    return given, options


def is_linear(layer: Layer) -> bool:
    """Whether a layer is an activation that does nothing."""
    return layer.kind == "Activation" and activation(layer, as_activation(layer))[0] == "linear"


def channels_come_first(layer: Layer) -> bool:
    """Whether a layer's channels come first."""
    given = layer.config.get("data_format") or "channels_last"
    if given not in ("channels_last", "channels_first"):
        raise ValueError(f"{layer.title}: its data_format is {given!r}")
    return given == "channels_first"


def pair(layer: Layer, field: str, default: int | None = None) -> Pair:
    """A field of one number for rows and columns, or two."""
    given = layer.config.get(field, default)
    both = (
        list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given] * 2
    )
    if len(both) == 1:
        both *= 2
    if len(both) != 2:
        raise ValueError(f"{layer.title}: its {field} is {given}, expected two numbers")
    return whole(layer, field, both[0]), whole(layer, field, both[1])


def whole(layer: Layer, field: str, given: Any, least: int = 1) -> int:
    """`given`, the value of a field, as a whole number of at least `least`."""
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= _LARGEST:
        raise ValueError(f"{layer.title}: its {field} is {given!r}")
    return given


def number(layer: Layer, field: str, default: float) -> float:
    """A field of the config as a finite number."""
    return real(layer, field, layer.config.get(field, default))


def real(layer: Layer, field: str, given: Any) -> float:
    """`given`, the value of a field, as a finite number."""
    if isinstance(given, Mapping) and isinstance(config := given.get("config"), Mapping):
        given = config.get("value")  # of some versions of Keras, which have an array there
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise ValueError(f"{layer.title}: its {field} is {given!r}")
    return float(given)
