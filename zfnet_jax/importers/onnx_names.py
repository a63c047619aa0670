"""What the layers of an ONNX graph are called where it comes from.

Exporters name nodes in their own ways: PyTorch's by the modules around an operation,
'/features/features.0/Conv', its newer one by numbers, Keras's with the scopes of TensorFlow,
'sequential/block1_conv1/BiasAdd'. The tensors of a PyTorch module keep its name in both.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any


def of_node(node: Any, constants: Collection[str]) -> str:
    """The name of a node's layer; '' where it has none but its operation's.

    Args:
      constants: names of the graph's tensors.
    """
    for name in node.input[1:2]:
        if name in constants and name.endswith(".weight"):
            return name.removesuffix(".weight")
    if "/" not in node.name:
        numbered = rf"node_.*|n\d+|{node.op_type}_?\d*"
        return "" if re.fullmatch(numbered, node.name, re.IGNORECASE) else node.name
    scopes = node.name.split("/")[:-1]
    if scopes[0]:  # TensorFlow's: the last is the layer
        return scopes[-1]
    return _module(scopes[1:])


def _module(scopes: list[str]) -> str:
    """The dotted name of a PyTorch module from those of the modules around it, of which one in a
    list has that of the list, too: ['features', 'features.0']."""
    path: list[str] = []
    for scope in scopes:
        if path and scope.startswith(f"{path[-1]}."):
            path.pop()
        path.append(scope)
    return ".".join(path)
