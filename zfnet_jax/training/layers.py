"""The layers of a net by name, as `config.init_layers` and `config.frozen` choose among them."""

from __future__ import annotations

from collections.abc import Sequence

from zfnet_jax.architecture import Architecture
from zfnet_jax.runs import origins
from zfnet_jax.runs.origins import NONE, Origins
from zfnet_jax.training.optimizer import Params


def layers_of(net: Architecture) -> dict[str, tuple[str, ...]]:
    """The layers that have parameters, from the image up, and the names that these have: more than
    one where something in a layer has parameters beside its filters."""
    by_number: dict[int, list[str]] = {}
    for stage in net.stages:
        if stage.weights:
            by_number.setdefault(stage.number, []).append(stage.weights)
    return {names[0]: tuple(names) for names in by_number.values()}


def in_order(net: Architecture) -> tuple[str, ...]:
    """The names of all parameters, from the image up."""
    return params_of(net, list(layers_of(net)))


def check_names(net: Architecture, names: Sequence[str], field: str, named: Origins = NONE) -> None:
    """ValueError unless a field of the config names layers of the net.

    Args:
      named: what they are called where the net's weights come from.
    """
    layers = layers_of(net)
    if unknown := [name for name in names if name not in layers]:
        raise ValueError(
            f"{field} names {', '.join(map(repr, unknown))}, but the layers are"
            f" {origins.listed(layers, named)}: --{field}=\"('conv1', 'conv2')\""
        )


def check_frozen(net: Architecture, frozen: Sequence[str]) -> None:
    """ValueError unless `config.frozen` names layers of the net, and leaves one to train."""
    check_names(net, frozen, "config.frozen")
    if set(frozen) == layers_of(net).keys():
        raise ValueError("config.frozen names every layer of the net: nothing is left to train")


def params_of(net: Architecture, layers: Sequence[str]) -> tuple[str, ...]:
    """The names of the parameters of some layers."""
    return tuple(name for one, names in layers_of(net).items() if one in layers for name in names)


def without(params: Params, frozen: Sequence[str]) -> Params:
    """The parameters that are trained, where some are not, by name."""
    return {name: layer for name, layer in params.items() if name not in frozen}
