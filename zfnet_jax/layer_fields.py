"""A conv layer as the fields of `config.model.convN` say it, and back.

Two ways to say what follows its filters: plain fields `relu`, `pool` and `contrast_norm`, which
with `config.model.norm_before_pool` and the constants of `config.model.contrast_norm` suffice for
layers as the paper's; or `then`, a list in order with a dict for each part: its `kind`, and the
fields of its class in `layer_specs`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from zfnet_jax.layer_specs import (
    RELU,
    Affine,
    ContrastNorm,
    Conv,
    Part,
    Pool,
    PoolKind,
    Rectifier,
    plain_then,
)

_PLAIN = ("relu", "pool", "contrast_norm")
_NO_POOL = {"window": 0, "stride": 2, "padding": 0, "rounding": "floor"}
_POOLS: dict[str, PoolKind] = {"max_pool": "max", "average_pool": "average"}
_RECTIFIERS = {"relu": (), "leaky_relu": ("slope",), "capped_relu": ("cap", "slope")}


def read_conv(
    name: str, fields: Mapping[str, Any], norm: ContrastNorm, norm_before_pool: bool
) -> Conv:
    """The layer that `config.model.<name>` describes.

    Args:
      norm: the constants that all layers share which `contrast_norm` gives one.
      norm_before_pool: whether that comes before the layer's pool.

    Raises:
      ValueError: no layer is like that.
    """
    filters = {field: value for field, value in fields.items() if field not in (*_PLAIN, "then")}
    plain = {field: fields[field] for field in _PLAIN if field in fields}
    if "then" in fields and plain:
        raise ValueError(
            f"model.{name}: `then` says all that follows the filters; leave out {', '.join(plain)}"
        )
    number = int(name.removeprefix("conv"))
    try:
        if "then" in fields:
            then = tuple(read_part(f"model.{name}.then", part) for part in fields["then"])
        else:
            then = plain_then(
                plain.get("relu", True),
                _read_pool(f"model.{name}.pool", plain.get("pool", _NO_POOL)),
                norm if plain.get("contrast_norm") else None,
                norm_before_pool,
            )
        return Conv(number=number, **filters, then=then)
    except TypeError as error:
        raise ValueError(f"model.{name}: {error}") from None


def _read_pool(where: str, fields: Mapping[str, Any]) -> Pool | None:
    """The pool that the plain field says; None for a window of 0."""
    try:
        pool = dict(fields)
        return Pool(**pool) if pool.get("window", True) else None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def conv_fields(conv: Conv, norm: ContrastNorm | None, norm_before_pool: bool) -> dict[str, Any]:
    """The fields that `read_conv` reads the layer from: plain ones where these suffice."""
    fields = {
        field.name: getattr(conv, field.name)
        for field in dataclasses.fields(conv)
        if field.name not in ("number", "then")
    }
    if conv.dilation == 1:  # as in every net of the family
        del fields["dilation"]
    if is_plain(conv, norm, norm_before_pool):
        return fields | {
            "relu": RELU in conv.then,
            "pool": dataclasses.asdict(conv.pool) if conv.pool else dict(_NO_POOL),
            "contrast_norm": conv.contrast_norm is not None,
        }
    return fields | {"then": [part_fields(part) for part in conv.then]}


def is_plain(conv: Conv, norm: ContrastNorm | None, norm_before_pool: bool) -> bool:
    """Whether the plain fields say what follows the layer's filters."""
    own = conv.contrast_norm
    if own and (own != norm or (norm_before_pool and not conv.pool)):
        return False
    return conv.then == plain_then(RELU in conv.then, conv.pool, own, norm_before_pool)


def read_part(where: str, fields: Mapping[str, Any]) -> Part:
    """The part that a dict with its `kind` describes.

    Args:
      where: the field that the dict is in, for messages.

    Raises:
      ValueError: there is no such part.
    """
    if not isinstance(fields, (Mapping, ConfigDict)):
        raise ValueError(f"{where}: {fields!r} is no dict with a kind")
    values = dict(fields)
    kind = values.pop("kind", None)
    try:
        if kind in _RECTIFIERS and set(values) <= set(_RECTIFIERS[kind]):
            return Rectifier(**values)
        if kind in _POOLS:
            return Pool(**values, kind=_POOLS[kind])
        if kind == "contrast_norm":
            return ContrastNorm(**values)
        if kind == "affine":
            return Affine(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {dict(fields)}: {error}") from None
    known = ", ".join((*_RECTIFIERS, *_POOLS, "contrast_norm", "affine"))
    raise ValueError(f"{where}: {dict(fields)} is none of {known} with its fields")


def read_rectifier(where: str, fields: Mapping[str, Any]) -> Rectifier:
    """`read_part` of a rectifier alone."""
    part = read_part(where, fields)
    if not isinstance(part, Rectifier):
        raise ValueError(f"{where}: {dict(fields)} is no relu")
    return part


def part_fields(part: Part) -> dict[str, Any]:
    """The dict that `read_part` reads the part from."""
    fields = dataclasses.asdict(part)
    match part:
        case Rectifier(slope=slope, cap=cap):
            kind = "leaky_relu" if slope else "relu"
            kind = kind if cap is None else "capped_relu"
            fields = {field: fields[field] for field in _RECTIFIERS[kind]}
        case Pool():
            kind = f"{fields.pop('kind')}_pool"
        case ContrastNorm():
            kind = "contrast_norm"
        case Affine():
            kind = "affine"
    return {"kind": kind} | fields
