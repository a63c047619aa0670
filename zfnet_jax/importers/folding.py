"""What of a chain can be said with fewer links, and means the same to float32's rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from zfnet_jax import windows
from zfnet_jax.importers.chain import (
    Affine,
    Dropout,
    Filters,
    GlobalPool,
    Link,
    Norm,
    Rectifier,
    Weights,
    WindowPool,
    Zeros,
)


def folded(chain: Sequence[Link]) -> list[Link]:
    """The chain with batch norms, scales and biases as part of other links where that is exact, and
    one relu for two that follow each other.

    Straight after a convolution or a dense layer an affine link changes its sums, straight before a
    dense layer what that reads; before a convolution likewise, unless that pads maps with zeros,
    which no shift would change. Two that follow each other become one, but those of maps and of the
    units that these become. Where it is none of these it stays. Zeros around maps become padding of
    the convolution or pool after them where that means the same.

    Raises:
      ValueError: one has values for another number of maps or units.
    """
    links: list[Link] = []
    for link in chain:
        last = links[-1] if links else None
        if isinstance(link, Affine):
            _add_affine(links, link)
        elif isinstance(link, Rectifier) and isinstance(last, Rectifier):
            caps = [cap for cap in (last.cap, link.cap) if cap is not None]
            links[-1] = Rectifier(last.name, last.slope * link.slope, min(caps, default=None))
        elif isinstance(link, Zeros) and isinstance(last, Zeros):
            links[-1] = Zeros(last.name, windows.added(last.pads, link.pads))
        elif isinstance(link, Filters):
            padded = _take_zeros(links, _take_affine(links, link))
            links.append(_take_affine(links, padded))
        elif isinstance(link, Weights):
            while (taken := _take_affine(links, link)) is not link:  # of its units, then of maps
                link = taken
            links.append(link)
        elif isinstance(link, WindowPool):
            links.append(_take_zeros(links, link))
        else:
            links.append(link)
    return links


Padded = TypeVar("Padded", Filters, WindowPool)
Weighted = TypeVar("Weighted", bound=Filters | Weights)


def _take_zeros(links: list[Link], link: Padded) -> Padded:
    """The link with the zeros at the end of `links` as padding too, which are taken from there; or
    as it is, where that would be something else."""
    zeros = links[-1] if links else None
    if not isinstance(zeros, Zeros) or isinstance(link.padding, str):
        return link
    own = windows.pads(link.padding)
    if isinstance(link, WindowPool):
        if link.ceil:  # there is no last window in padding alone, but one in zeros
            return link
        # Padding is never a maximum, as zeros are not where nothing is below them.
        counted = link.counts_padding or not any(map(any, own))
        if not (_never_negative(links) if link.kind == "max" else counted):
            return link
        link = dataclasses.replace(link, counts_padding=True)
    links.pop()
    return dataclasses.replace(link, padding=windows.added(zeros.pads, own))


def _never_negative(links: Sequence[Link]) -> bool:
    """Whether what a chain puts out cannot be below zero."""
    for link in reversed(links):
        if not isinstance(link, WindowPool | GlobalPool | Norm | Dropout | Zeros):
            return isinstance(link, Rectifier) and link.slope == 0
    return False


def _add_affine(links: list[Link], affine: Affine) -> None:
    """Puts an affine link into the one at the end of `links`, or behind it."""
    last = links[-1] if links else None
    if isinstance(last, Weights) or (
        isinstance(last, Filters) and not _is_of_units(affine, len(last.weight))
    ):
        links[-1] = _after(last, affine)
    elif isinstance(last, Affine) and len((_sizes(last) | _sizes(affine)) - {1}) < 2:
        factor, shift = affine.factor * last.factor, affine.factor * last.shift + affine.shift
        links[-1] = Affine(last.name, factor, shift)
    else:
        links.append(affine)


def _after(link: Weighted, affine: Affine) -> Weighted:
    """A convolution or dense layer whose sums an affine link changes."""
    units = (len(link.weight),)
    factor, shift = _values(affine, units[0])
    weight = link.weight * factor.reshape(-1, *[1] * (link.weight.ndim - 1))
    return _replaced(link, weight, link.bias * factor + shift)


def _take_affine(links: list[Link], link: Weighted) -> Weighted:
    """The link with what an affine one at the end of `links` does, which is taken from there; or as
    it is, where it cannot have it. Dropout between them matters in training only, but for what it
    scales."""
    place = len(links) - 1
    while place >= 0 and isinstance(links[place], Dropout):
        place -= 1
    affine = links[place] if place >= 0 else None
    if not isinstance(affine, Affine) or link.weight.ndim not in (2, 4):
        return link
    if isinstance(link, Filters) and _padded(link) and affine.shift.any():
        return link
    kept = 1.0
    for dropout in links[place + 1 :]:
        if isinstance(dropout, Dropout) and not dropout.scales_training:
            kept *= 1 - dropout.rate
    if isinstance(link, Filters):
        maps, inputs, *_ = link.weight.shape
        if maps % link.groups:
            return link
        factor, shift = (
            values.reshape(link.groups, 1, inputs, 1, 1).repeat(maps // link.groups, 1)
            for values in _values(affine, inputs * link.groups)
        )
        factor, shift = (values.reshape(maps, inputs, 1, 1) for values in (factor, shift))
    else:
        inputs = link.weight.shape[1]
        maps = _width(affine)
        if not maps or inputs % maps:
            return link
        factor, shift = _values(affine, maps)
        spread = np.tile if link.channels_last else np.repeat
        factor, shift = (spread(values, inputs // maps) for values in (factor, shift))
    del links[place]
    bias = link.bias + kept * (link.weight * shift).reshape(len(link.weight), -1).sum(axis=1)
    return _replaced(link, link.weight * factor, bias)


def _width(affine: Affine) -> int:
    """How many maps or units it has values for; 1 for any number."""
    return max(_sizes(affine))


def _sizes(affine: Affine) -> set[int]:
    return {affine.factor.size, affine.shift.size}


def _is_of_units(affine: Affine, maps: int) -> bool:
    """Whether it has values for each unit of so many maps, which are flat then."""
    return 0 < maps < _width(affine) and _width(affine) % maps == 0


def _values(affine: Affine, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift of each map or unit, float64."""
    if any(values.shape not in ((units,), (1,)) for values in (affine.factor, affine.shift)):
        shapes = f"{list(affine.factor.shape)} and {list(affine.shift.shape)}"
        raise ValueError(f"{affine.name}: {shapes} values for {units} maps or units")
    factor = np.broadcast_to(affine.factor, units).astype(np.float64)
    return factor, np.broadcast_to(affine.shift, units).astype(np.float64)


def _replaced(link: Weighted, weight: np.ndarray, bias: np.ndarray) -> Weighted:
    return dataclasses.replace(link, weight=weight.astype(np.float32), bias=bias.astype(np.float32))


def _padded(filters: Filters) -> bool:
    padding = filters.padding
    return isinstance(padding, str) or any(map(any, windows.pads(padding)))
