"""Trees of arrays by the names of their leaves, and digests of them: what checkpoints hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

PyTree = Any


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """Leaves by their path, such as 'params/conv1/kernel'."""
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        parts = [jax.tree_util.keystr((key,), simple=True) for key in path]
        if not parts or any(not part or "/" in part for part in parts):
            raise ValueError(f"array names must be non-empty and without '/': {parts}")
        named["/".join(parts)] = leaf
    return named


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dict whose `named_leaves` these are."""
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree


def fill(like: PyTree, flat: Mapping[str, np.ndarray], where: str) -> PyTree:
    """Named arrays in the structure of a tree of arrays or `jax.ShapeDtypeStruct`.

    Raises:
      ValueError: names, shapes or dtypes are not those of `like`; begins with `where`.
    """
    wanted = named_leaves(like)
    if wanted.keys() != flat.keys():
        missing, extra = sorted(wanted.keys() - flat.keys()), sorted(flat.keys() - wanted.keys())
        raise ValueError(
            f"{where} is of another model or config: it lacks {missing} and has {extra} too many"
        )
    for name, leaf in wanted.items():
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        saved = flat[name]
        if (saved.shape, saved.dtype) != (tuple(leaf.shape), leaf.dtype):
            raise ValueError(
                f"{where} is of another model or config: {name} is {saved.dtype}"
                f"{list(saved.shape)}, expected {leaf.dtype}{list(leaf.shape)}"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [flat[name] for name in wanted])


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's dtype, shape and bytes."""
    sha256 = hashlib.sha256(f"{array.dtype.name}{list(array.shape)}".encode())
    sha256.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def tree_digest(tree: PyTree) -> str:
    """Short digest of the digests of a tree's leaves, by name."""
    text = json.dumps({name: digest(leaf) for name, leaf in sorted(named_leaves(tree).items())})
    return hashlib.sha256(text.encode()).hexdigest()[:16]
