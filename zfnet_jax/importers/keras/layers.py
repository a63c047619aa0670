"""The layers of a Keras net, first to last, as its config lists them.

The config is the JSON that `.h5`, `.keras` and TensorFlow.js files all hold: of a Sequential model,
or a Functional one with the layers that each layer reads, and of such models inside it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MODELS = ("Sequential", "Functional", "Model")
_OURS = ("keras", "tf_keras", "tensorflow", "builtins")  # packages whose layers are known
_DEEPEST = 20  # models inside models


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
      kind: its class, 'Conv2D'.
      config: its options.
      path: names of the models that it lies in, the outermost apart, and its own.
      place: where `.keras` files have its variables: 'layers/sequential/layers/conv2d_1'.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    path: tuple[str, ...]
    place: str

    @property
    def title(self) -> str:
        """As errors call it."""
        return f"{self.kind} {self.name}"


def chain(model: Any, output: str | None = None) -> list[Layer]:
    """The layers between image and output.

    Args:
      model: the JSON of a model: {'class_name': 'Sequential', 'config': ...}.
      output: name of the last layer, if not the net's own.

    Raises:
      ValueError: it is no chain, holds what is not Keras's own, or has no layer `output`.
    """
    if not isinstance(model, Mapping) or model.get("class_name") not in MODELS:
        kind = model.get("class_name") if isinstance(model, Mapping) else None
        raise ValueError(f"its model is {kind!r}, expected a Sequential or Functional one")
    layers = list(_layers(model, (), "", output))
    if output is not None:
        names = [layer.name for layer in layers]
        if output not in names:
            raise ValueError(f"there is no layer {output}, only {', '.join(names)}")
        layers = layers[: names.index(output) + 1]
    return layers


def _layers(
    model: Mapping[str, Any], path: tuple[str, ...], place: str, output: str | None = None
) -> Iterator[Layer]:
    if len(path) > _DEEPEST:
        raise ValueError(f"{path[0]}: models inside models, more than {_DEEPEST} deep")
    config = model.get("config")
    entries = config.get("layers") if isinstance(config, Mapping) else config
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ValueError(f"{path[-1] if path else 'the model'}: it lists no layers")
    named = _named(entries, place)
    if model["class_name"] == "Sequential":
        used = list(named)
        shape = config.get("build_input_shape") if isinstance(config, Mapping) else None
        if shape is not None:
            yield Layer("input", "InputLayer", {"batch_shape": shape}, (*path, ""), "")
    else:
        used = _way(config, named, output)
    for name in used:
        entry, inner_place = named[name]
        _check_is_keras(name, entry)
        if entry["class_name"] in MODELS:
            yield from _layers(entry, (*path, name), inner_place)
        else:
            yield Layer(name, entry["class_name"], entry["config"], (*path, name), inner_place)


def _named(entries: Sequence[Any], place: str) -> dict[str, tuple[Mapping[str, Any], str]]:
    """The layers of a model by name, each with the place of its variables."""
    found: dict[str, tuple[Mapping[str, Any], str]] = {}
    counts: dict[str, int] = {}
    for entry in entries:
        kind = entry.get("class_name") if isinstance(entry, Mapping) else None
        config = entry.get("config") if isinstance(entry, Mapping) else None
        is_model = kind in MODELS and isinstance(config, Sequence)  # before Keras 2.2.3
        if not isinstance(kind, str) or not (isinstance(config, Mapping) or is_model):
            raise ValueError(f"layer {len(found) + 1} has no class_name and config")
        name = config.get("name") if isinstance(config, Mapping) else None
        name = entry.get("name") if name is None else name
        if not isinstance(name, str) or not name:
            raise ValueError(f"layer {len(found) + 1}, a {kind}, has no name")
        if name in found:
            raise ValueError(f"two layers are called {name}")
        snake = _snake_case(kind)
        number = counts[snake] = counts.get(snake, -1) + 1
        folder = f"{snake}_{number}" if number else snake
        found[name] = entry, "/".join(part for part in (place, "layers", folder) if part)
    return found


def _way(
    config: Any, named: Mapping[str, tuple[Mapping[str, Any], str]], output: str | None
) -> list[str]:
    """Names of the layers of a Functional model between its input and its output."""
    if not isinstance(config, Mapping):
        raise ValueError("a Functional model that lists its layers alone")
    outputs = _references(config.get("output_layers"))
    if output in named:
        outputs = [(str(output), 0)]
    if len(outputs) != 1:
        names = ", ".join(name for name, _ in outputs) or "none"
        raise ValueError(f"{config.get('name')} has {len(outputs)} outputs, expected one: {names}")
    (name, node), way = outputs[0], dict[str, None]()
    while True:
        if name not in named:
            raise ValueError(f"nothing makes {name}, which the model reads")
        if name in way:
            raise ValueError(f"{name} is used twice: not a chain")
        way[name] = None
        entry = named[name][0]
        nodes = entry.get("inbound_nodes") or []
        if entry["class_name"] == "InputLayer" or not nodes:
            return list(way)[::-1]
        if entry["class_name"] in MODELS and len(nodes) == 1:
            node = 0  # Keras 2 counts a first use, of its own making
        if not isinstance(nodes, Sequence) or not 0 <= node < len(nodes):
            raise ValueError(f"{name}: what it reads is not said")
        read = _references(nodes[node])
        if len(read) != 1:
            names = ", ".join(other for other, _ in read) or "nothing"
            raise ValueError(f"{entry['class_name']} {name} reads {names}: not a chain")
        name, node = read[0]


def _references(value: Any, depth: int = 0) -> list[tuple[str, int]]:
    """The layers, and which of their uses, that a part of a config names: [name, use, output], or
    Keras 3's tensors with such a history, in lists and dicts of any form."""
    if depth > 2 * _DEEPEST:
        raise ValueError("lists in lists of layers")
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            config = value.get("config")
            value = config.get("keras_history") if isinstance(config, Mapping) else None
            return _references(value, depth + 1)
        values = list(value.values())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) >= 2 and isinstance(value[0], str) and isinstance(value[1], int):
            # What is given beside, as the fourth, may be tensors of other layers.
            return [(value[0], value[1]), *_references(list(value[3:]), depth + 1)]
        values = list(value)
    else:
        return []
    return [reference for one in values for reference in _references(one, depth + 1)]


def _check_is_keras(name: str, entry: Mapping[str, Any]) -> None:
    kind, module = entry["class_name"], entry.get("module")
    package = module.split(".")[0] if isinstance(module, str) else "keras"
    registered = entry.get("registered_name")
    is_custom = isinstance(registered, str) and ">" in registered
    if kind == "Lambda":
        raise ValueError(f"Lambda {name}: Python code in the file, which is never run")
    if ">" in kind or is_custom or package not in _OURS:
        raise ValueError(f"{kind} {name}: a layer of somebody's own code, not of Keras")


def _snake_case(kind: str) -> str:
    """As Keras calls the folders of a `.keras` file's weights."""
    kind = re.sub(r"\W+", "", kind)
    kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
