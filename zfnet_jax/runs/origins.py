"""What the layers of a net are called where it comes from, which its run.json keeps.

Ours are the names that results are kept by: 'conv7', which VGG-16's authors call 'conv3_3'. Whoever
names a layer may use either; what is drawn shows both.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zfnet_jax.names import fit

Origins = Mapping[str, str]  # names there, by ours; of the layers that have another one there
NONE: Origins = types.MappingProxyType({})

_FIELD = "origins"


def from_names(named: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Pairs of our name and the one there, from the image up, without what tells nobody anything.

    Numbers are left out, as an unnamed list of modules has them; and all but the first of the same.
    """
    first: dict[str, str] = {}  # of our layers, by the name there
    for layer, name in named:
        first.setdefault(name, layer)
    return {
        layer: name
        for name, layer in first.items()
        if name and name != layer and not name.isdecimal()
    }


def record(origins: Origins) -> dict[str, Any]:
    """What run.json says of them; nothing where there are none."""
    return {_FIELD: dict(origins)} if origins else {}


def recorded(said: Mapping[str, Any]) -> dict[str, str]:
    """The names of `record`; of a run that starts from another, those of the layers taken over."""
    return said.get(_FIELD) or (said.get("init_from") or {}).get(_FIELD, {})


def given(directory: Path) -> dict[str, str]:
    """The names that a run's folder keeps."""
    path = Path(directory) / "run.json"
    return recorded(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def ours(name: str, layers: Iterable[str], origins: Origins) -> str:
    """Our name of a layer: itself if it is one of ours, `layers`, whatever it means there; else
    that of the layer which is called so there; itself where there is none."""
    if name in layers:
        return name
    return next((layer for layer, there in origins.items() if there == name), name)


def in_brackets(layer: str, origins: Origins) -> str:
    """' (conv3_3)', to stand after our name; '' where there is no other."""
    return f" ({fit(origins[layer])})" if layer in origins else ""


def listed(layers: Iterable[str], origins: Origins) -> str:
    """'conv1 (conv1_1), pool1, ...'."""
    return ", ".join(layer + in_brackets(layer, origins) for layer in layers)
