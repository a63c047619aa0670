"""From the chain of a foreign net's layers to an architecture and parameters of ours."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import layer_specs
from zfnet_jax.importers.chain import (
    CHANNELS,
    Affine,
    AnyPool,
    Dropout,
    Filters,
    GlobalPool,
    Link,
    Norm,
    Rectifier,
    Softmax,
    Weights,
    WindowPool,
    Zeros,
    sized,
)
from zfnet_jax.importers.folding import folded
from zfnet_jax.importers.net import Net, checked
from zfnet_jax.importers.pools import same_pool
from zfnet_jax.layer_fields import conv_fields, is_plain, part_fields
from zfnet_jax.layer_specs import Classifier, ContrastNorm, Conv, Part, Pool
from zfnet_jax.runs import origins
from zfnet_jax.windows import Pair, Sides, both, by

After = Rectifier | Norm | Affine | AnyPool  # what may follow a convolution in its layer


def assemble(
    chain: Sequence[Link],
    crop: Sides,
    *,
    bgr: bool,
    base: ConfigDict,
    names: Mapping[str, str] | None = None,
    classifier: Classifier | None = None,
) -> Net:
    """Turns a chain of layers into a net that sees RGB images of `crop` pixels.

    Args:
      chain: the layers from the image to the class scores, or to the last maps.
      crop: side of the images, or their rows and columns, pixels.
      bgr: whether the chain takes blue, green, red; layer 1's filters are then turned round.
      base: a config's model section, for the fields that only matter in training.
      names: what people call links, by their names, if not by these.
      classifier: what the chain ends in, where that is known; else its last links tell.

    Raises:
      ValueError: the chain is no net of the ZFNet family; names the first layer that does not fit,
        or the first tensor with its shape and the one expected.
    """
    links = folded(chain)
    last = links[-1] if links else None
    softmax = last if isinstance(last, Softmax) else None
    layers = _split(links[:-1] if softmax else links)
    dense = layers.dense
    convs: list[Conv] = []
    named: list[tuple[str, str]] = []  # our layers and the links that they come from
    params: dict[str, dict[str, np.ndarray]] = {}
    images = both(crop)
    size, maps = images, CHANNELS
    for number, (filters, after) in enumerate(layers.convs, start=1):
        conv, kernel = _conv(filters, number, maps, size)
        if number == 1 and bgr:
            if conv.groups > 1:
                raise ValueError(f"{filters.name}: groups of colours, {conv.groups}")
            kernel = kernel[:, :, ::-1]
        params[conv.name] = {"kernel": kernel, "bias": filters.bias}
        size, maps = (conv.size(size[0], 0), conv.size(size[1], 1)), conv.maps
        then: list[Part] = []
        for link in after:
            part = _part(link, size, images)
            if isinstance(part, Pool):
                size = (part.size(size[0], 0), part.size(size[1], 1))
            then.append(part)
        convs.append(dataclasses.replace(conv, then=tuple(then)))
        named.append((conv.name, filters.name))
        for name, link in zip(convs[-1].then_names, after, strict=True):
            if not isinstance(link, Rectifier):  # which shares the name of what is before it
                named.append((name, link.name))
            if isinstance(link, Affine):
                params[name] = _affine_params(link, maps)
    if classifier is None:
        classifier = "dense" if dense else _without_dense(layers.convs[-1], softmax, size)
    if classifier == "maps" and size != (1, 1):
        raise ValueError(
            f"{links[-1].name}: class scores of {by(size)} units each, expected one: choose"
            " smaller images (--crop)"
        )
    classes = {"dense": len(dense[-1].weight) if dense else 0, "maps": maps, "none": 0}[classifier]
    dense_names = [f"fc{len(convs) + n}" for n in range(1, len(dense))] + ["logits"]
    params |= _dense_params(dense, dense_names, maps, size)
    named += zip(dense_names, (link.name for link in dense))
    section = {
        **{name: value for name, value in base.to_dict().items() if not _is_conv(name)},
        **_conv_fields(convs),
        "dense": tuple(len(link.weight) for link in dense[:-1]),
        **_dropout(layers.dropouts, len(dense) - 1),
        **_dense_then(layers.rectifiers),
    }
    if classifier != "dense":
        section["classifier"] = classifier
    known = names or {}
    found = origins.from_names((layer, known.get(link, link)) for layer, link in named)
    return checked(section, params, classes, images, found)


def _without_dense(
    conv: tuple[Filters, list[After]], softmax: Softmax | None, size: Pair
) -> Classifier:
    """What a chain of convolutions alone ends in; its last leaves maps of `size` units.

    They are class scores if the file says so by a softmax; or if they have one unit each and are
    what such nets end in: sums, as of a dense layer written as a convolution, or means of whole
    maps (NIN). Else the chain is a trunk: what follows its maps is not in the file.
    """
    last = [conv[0], *conv[1]][-1]
    is_mean = isinstance(last, WindowPool | GlobalPool) and last.kind == "average"
    return (
        "maps" if softmax or (size == (1, 1) and (is_mean or isinstance(last, Filters))) else "none"
    )


class _Layers(NamedTuple):
    """Conv layers with what follows them, dense layers, and of the hidden ones among these the
    dropouts after each and its rectifier, None where it has none."""

    convs: list[tuple[Filters, list[After]]]
    dense: list[Weights]
    dropouts: list[list[Dropout]]
    rectifiers: list[layer_specs.Rectifier | None]


def _split(chain: Sequence[Link]) -> _Layers:
    convs: list[tuple[Filters, list[After]]] = []
    dense: list[Weights] = []
    dropouts: list[list[Dropout]] = []
    rectifiers: list[layer_specs.Rectifier | None] = []  # of each dense layer
    for link in chain:
        if isinstance(link, Filters):
            if dense:
                raise ValueError(f"{link.name}: a convolution after a dense layer")
            convs.append((link, []))
        elif isinstance(link, Weights):
            dense.append(link)
            dropouts.append([])
            rectifiers.append(None)
        elif isinstance(link, Dropout):
            # Between the maps and the first dense layer it matters in training only.
            if dense:
                dropouts[-1].append(link)
            elif not link.scales_training:
                raise ValueError(f"{link.name}: dropout of maps that scales them in evaluation")
        elif isinstance(link, Rectifier) and dense:
            if rectifiers[-1]:
                raise ValueError(f"{link.name}: a second relu")
            rectifiers[-1] = _rectifier(link)
        elif isinstance(link, Affine) and (dense or not convs):
            raise ValueError(
                f"{link.name}: a batch norm, scale or bias that no layer straight before or after"
                " it can take"
            )
        elif isinstance(link, Zeros):
            raise ValueError(f"{link.name}: zeros around maps that no layer after it can take")
        elif dense or not convs or isinstance(link, Softmax):
            raise ValueError(f"{link.name}: it must follow a convolution")
        else:
            convs[-1][1].append(link)
    if not convs:
        raise ValueError("no net of this family: it has no convolution")
    if dense and (rectifiers[-1] or dropouts[-1]):
        raise ValueError(f"{dense[-1].name}: a relu or dropout follows the class scores")
    return _Layers(convs, dense, dropouts[:-1], rectifiers[:-1])


def _part(link: After, size: Pair, crop: Pair) -> Part:
    """The same in our net, on maps of `size` pixels of images of `crop`."""
    match link:
        case Rectifier():
            return _rectifier(link)
        case Norm():
            with _named(link):
                return ContrastNorm(link.size, link.k, link.alpha, link.beta, "mean", link.region)
        case Affine():
            return layer_specs.Affine()
    return same_pool(link, size, crop)


def _rectifier(link: Rectifier) -> layer_specs.Rectifier:
    with _named(link):
        return layer_specs.Rectifier(link.slope, link.cap)


@contextlib.contextmanager
def _named(link: Link) -> Iterator[None]:
    """Puts the link's name in front of what no layer of ours can be."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{link.name}: {error}") from None


def _affine_params(link: Affine, maps: int) -> dict[str, np.ndarray]:
    params = {}
    for name, values in (("scale", link.factor), ("bias", link.shift)):
        if values.shape not in ((maps,), (1,)):
            raise _misfit(link.name, name, values, [maps])
        params[name] = np.broadcast_to(values, maps).astype(np.float32)
    return params


def _conv(filters: Filters, number: int, inputs: int, size: Pair) -> tuple[Conv, np.ndarray]:
    """Geometry and kernel [k, l, input maps / groups, maps] of a convolution of maps of `size`."""
    weight = filters.weight
    if weight.ndim != 4 or not all(weight.shape):
        raise _misfit(filters.name, "weight", weight, ["maps", inputs, "k", "l"])
    maps, _, *sides = weight.shape
    kernel = (sides[0], sides[1])
    conv = Conv(
        number=number,
        maps=maps,
        kernel=kernel,
        stride=filters.stride,
        padding=sized(filters.padding, kernel, filters.stride, filters.dilation, size),
        groups=filters.groups,
        dilation=filters.dilation,
    )
    expected = (conv.maps, inputs // conv.groups, *kernel)
    if weight.shape != expected or inputs % conv.groups:
        raise _misfit(filters.name, "weight", weight, list(expected))
    _check_bias(filters, conv.maps)
    return conv, weight.transpose(2, 3, 1, 0)


def _dense_params(
    dense: Sequence[Weights], names: Sequence[str], maps: int, size: Pair
) -> dict[str, dict[str, np.ndarray]]:
    """Parameters, by name, of the dense layers after a conv layer of `maps` maps of `size`
    units."""
    params, inputs = {}, size[0] * size[1] * maps
    for depth, (name, link) in enumerate(zip(names, dense)):
        weight = link.weight
        if weight.ndim != 2 or weight.shape[1] != inputs:
            detail = f" = {maps} x {by(size)} inputs" if not depth else ""
            raise _misfit(link.name, "weight", weight, [weight.shape[0], inputs], detail)
        if not depth and not link.channels_last:  # as map, row, column there, as here otherwise
            weight = weight.reshape(-1, maps, *size).transpose(0, 2, 3, 1)
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


def _conv_fields(convs: Sequence[Conv]) -> dict[str, Any]:
    """The fields of the model section that say the conv layers: plain ones as far as they can."""
    norm = next((conv.contrast_norm for conv in convs if conv.contrast_norm), None)
    both = [conv for conv in convs if conv.pool and conv.contrast_norm]
    first = any(is_plain(conv, norm, norm_before_pool=True) for conv in both)
    return {
        **{conv.name: conv_fields(conv, norm, first) for conv in convs},
        "layers": tuple(conv.name for conv in convs),
        "norm_before_pool": first,
        **({"contrast_norm": dataclasses.asdict(norm)} if norm else {}),
    }


def _dense_then(rectifiers: Sequence[layer_specs.Rectifier | None]) -> dict[str, Any]:
    """The field of the model section that says them, where they are not a relu each."""
    if all(each in (None, layer_specs.RELU) for each in rectifiers):
        without = tuple(depth for depth, each in enumerate(rectifiers) if each is None)
        return {"dense_without_relu": without} if without else {}
    return {"dense_then": [each and part_fields(each) for each in rectifiers]}


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
