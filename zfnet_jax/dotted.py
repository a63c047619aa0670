"""Nested settings in one level, each field by its dotted name, such as 'model.conv1.maps'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def fields(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of each; a mapping that is empty has none."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
