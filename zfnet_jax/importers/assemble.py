"""From the chain of a foreign net's layers to an architecture and parameters of ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax.importers.chain import (
    CHANNELS,
    AnyPool,
    Dropout,
    Filters,
    Folded,
    GlobalPool,
    Link,
    Norm,
    Rectifier,
    Weights,
    WindowPool,
    folded,
)
from zfnet_jax.importers.net import Net, checked
from zfnet_jax.importers.pools import same_pool
from zfnet_jax.layer_specs import ContrastNorm, Conv, Pool

After = Rectifier | Norm | AnyPool  # what may follow a convolution in its layer


def assemble(chain: Sequence[Link], crop: int, *, bgr: bool, base: ConfigDict) -> Net:
    """Turns a chain of layers into a net that sees RGB images of `crop` x `crop` pixels.

    Args:
      chain: the layers from the image to the class scores, without the softmax.
      crop: side of the images, pixels.
      bgr: whether the chain takes blue, green, red; layer 1's filters are then turned round.
      base: a config's model section, for the fields that only matter in training.

    Raises:
      ValueError: the chain is no net of the ZFNet family; names the first layer that does not fit,
        or the first tensor with its shape and the one expected.
    """
    layers = _split(folded(chain))
    convs, dense = layers.convs, layers.dense
    fields, params, order, norms = {}, {}, set(), []
    size, maps = crop, CHANNELS
    for number, (filters, after) in enumerate(convs, start=1):
        conv, kernel = _conv(filters, number, maps)
        if number == 1 and bgr:
            if conv.groups > 1:
                raise ValueError(f"{filters.name}: groups of colours, {conv.groups}")
            kernel = kernel[:, :, ::-1]
        size, maps = conv.size(size), conv.maps
        norm, pool_link, relu = (_only(after, kind) for kind in (Norm, AnyPool, Rectifier))
        if relu:
            _check_commutes(after[: after.index(relu)], relu)
        pool = same_pool(pool_link, size, crop) if pool_link else None
        if pool:
            size = pool.size(size)
        if norm:
            norms.append(norm)
        if norm and pool:
            order.add(after.index(norm) < after.index(pool_link))
        conv = dataclasses.replace(conv, relu=relu is not None)
        fields[f"conv{number}"] = _conv_fields(conv, pool, norm is not None)
        params[f"conv{number}"] = {"kernel": kernel, "bias": filters.bias}
    if len(order) > 1:
        raise ValueError("contrast norm comes before the pool in one layer, after it in another")
    params |= _dense_params(dense, len(convs), maps, size)
    section = {
        **{name: value for name, value in base.to_dict().items() if not _is_conv(name)},
        **fields,
        "layers": tuple(fields),
        "dense": tuple(len(link.weight) for link in dense[:-1]),
        "norm_before_pool": order == {True},
        **_dropout(layers.dropouts, len(dense) - 1),
    }
    if not all(layers.rectified):
        section["dense_without_relu"] = tuple(
            depth for depth, rectified in enumerate(layers.rectified) if not rectified
        )
    if norms:
        section["contrast_norm"] = _norm_fields(norms)
    return checked(section, params, len(dense[-1].weight), crop)


class _Layers(NamedTuple):
    """Conv layers with what follows them, dense layers, and of the hidden ones among these the
    dropouts after each and whether each is rectified."""

    convs: list[tuple[Filters, list[After]]]
    dense: list[Weights]
    dropouts: list[list[Dropout]]
    rectified: list[bool]


def _split(chain: Sequence[Folded]) -> _Layers:
    convs: list[tuple[Filters, list[After]]] = []
    dense: list[Weights] = []
    dropouts: list[list[Dropout]] = []
    rectified: list[bool] = []  # each dense layer
    for link in chain:
        if isinstance(link, Filters):
            if dense:
                raise ValueError(f"{link.name}: a convolution after a dense layer")
            convs.append((link, []))
        elif isinstance(link, Weights):
            dense.append(link)
            dropouts.append([])
            rectified.append(False)
        elif isinstance(link, Dropout):
            # Between the maps and the first dense layer it matters in training only.
            if dense:
                dropouts[-1].append(link)
            elif not link.scales_training:
                raise ValueError(f"{link.name}: dropout of maps that scales them in evaluation")
        elif isinstance(link, Rectifier) and dense:
            if rectified[-1]:
                raise ValueError(f"{link.name}: a second relu")
            rectified[-1] = True
        elif dense or not convs:
            raise ValueError(f"{link.name}: it must follow a convolution")
        else:
            convs[-1][1].append(link)
    if not convs or not dense:
        raise ValueError(
            f"no net of this family: {len(convs)} convolutions and {len(dense)} dense layers"
        )
    if rectified[-1] or dropouts[-1]:
        raise ValueError(f"{dense[-1].name}: a relu or dropout follows the class scores")
    return _Layers(convs, dense, dropouts[:-1], rectified[:-1])


def _check_commutes(before: Sequence[After], relu: Rectifier) -> None:
    """A layer here rectifies first. After a max pool it comes to the same: the largest of rectified
    values is the largest value rectified."""
    for link in before:
        is_mean = isinstance(link, WindowPool | GlobalPool) and link.kind == "average"
        if isinstance(link, Norm) or is_mean:
            raise ValueError(f"{relu.name}: a relu after {link.name}, which must come before it")


def _conv(filters: Filters, number: int, inputs: int) -> tuple[Conv, np.ndarray]:
    """Geometry and kernel [k, k, input maps / groups, maps] of a convolution."""
    weight = filters.weight
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or not all(weight.shape):
        raise _misfit(filters.name, "weight", weight, ["maps", inputs, "k", "k"])
    conv = Conv(
        number=number,
        maps=weight.shape[0],
        kernel=weight.shape[2],
        stride=filters.stride,
        padding=filters.padding,
        groups=filters.groups,
    )
    expected = (conv.maps, inputs // conv.groups, conv.kernel, conv.kernel)
    if weight.shape != expected or inputs % conv.groups:
        raise _misfit(filters.name, "weight", weight, list(expected))
    _check_bias(filters, conv.maps)
    return conv, weight.transpose(2, 3, 1, 0)


def _dense_params(
    dense: Sequence[Weights], convs: int, maps: int, size: int
) -> dict[str, dict[str, np.ndarray]]:
    """Parameters of the dense layers after `convs` layers, of which the last has `maps` maps of
    `size` x `size` units."""
    params, inputs = {}, size * size * maps
    names = [f"fc{convs + n}" for n in range(1, len(dense))] + ["logits"]
    for depth, (name, link) in enumerate(zip(names, dense)):
        weight = link.weight
        if weight.ndim != 2 or weight.shape[1] != inputs:
            detail = f" = {maps} x {size} x {size} inputs" if not depth else ""
            raise _misfit(link.name, "weight", weight, [weight.shape[0], inputs], detail)
        if not depth and not link.channels_last:  # as map, row, column there, as here otherwise
            weight = weight.reshape(-1, maps, size, size).transpose(0, 2, 3, 1)
            weight = weight.reshape(len(weight), -1)
        _check_bias(link, len(weight))
        params[name] = {"kernel": weight.T, "bias": link.bias}
        inputs = len(weight)
    return params


def _dropout(dropouts: list[list[Dropout]], hidden: int) -> dict[str, Any]:
    """Dropout is one number here, after every hidden dense layer."""
    found = [link for links in dropouts for link in links]
    for link in found:
        if not 0 <= link.rate < 1:
            raise ValueError(f"{link.name}: a dropout of {link.rate}")
    scales = {link.scales_training for link in found} or {True}
    rates = {link.rate for link in found} or {0.0}
    if False in scales and (len(scales) > 1 or len(rates) > 1 or len(found) != hidden):
        raise ValueError("dropout that scales in evaluation must be the same after every layer")
    return {"dropout": max(rates), "dropout_scales_training": scales == {True}}


def _norm_fields(norms: list[Norm]) -> dict[str, Any]:
    first = dataclasses.replace(norms[0], name="")
    for norm in norms:
        if dataclasses.replace(norm, name="") != first:
            raise ValueError(f"{norm.name}: other constants than {norms[0].name}")
    return dataclasses.asdict(
        ContrastNorm(first.size, first.k, first.alpha, first.beta, "mean", first.region)
    )


def _conv_fields(conv: Conv, pool: Pool | None, norm: bool) -> dict[str, Any]:
    no_pool = {"window": 0, "stride": 2, "padding": 0, "rounding": "floor"}
    return {
        "maps": conv.maps,
        "kernel": conv.kernel,
        "stride": conv.stride,
        "padding": conv.padding,
        "groups": conv.groups,
        "relu": conv.relu,
        "pool": dataclasses.asdict(pool) if pool else no_pool,
        "contrast_norm": norm,
    }


def _only(links: Sequence[Link], kind: Any) -> Any:
    found = [link for link in links if isinstance(link, kind)]
    if len(found) > 1:
        raise ValueError(f"{found[1].name}: a second one in the same layer")
    return found[0] if found else None


def _is_conv(name: str) -> bool:
    return name.startswith("conv") and name.removeprefix("conv").isdigit()


def _check_bias(link: Filters | Weights, units: int) -> None:
    if link.bias.shape != (units,):
        raise _misfit(link.name, "bias", link.bias, [units])


def _misfit(
    name: str, kind: str, array: np.ndarray, expected: Sequence[Any], detail: str = ""
) -> ValueError:
    wanted = ", ".join(str(n) for n in expected)
    return ValueError(f"{name}: its {kind} is {list(array.shape)}, expected [{wanted}]{detail}")
