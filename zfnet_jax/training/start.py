"""What a run takes over from a net that was trained before: `config.init_from`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax.architecture import Architecture
from zfnet_jax.runs import origins, steps
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.runs.steps import Which
from zfnet_jax.training import layers
from zfnet_jax.training.optimizer import Params


@dataclasses.dataclass(frozen=True)
class Start:
    """What a run starts with.

    Attributes:
      params: of the layers that are taken over, by name.
      mean: [S, S, C] float32, what is subtracted from images.
      record: where it comes from, for run.json: folder, step, digest of all its weights, layers
        taken over and what they are called where it comes from, and layers made anew.
      words: the same in one line.
    """

    params: Params
    mean: np.ndarray
    record: dict[str, Any]
    words: str


def from_net(
    config: ConfigDict,
    net: Architecture,
    shapes: Params,
    class_names: Sequence[str],
    mean: np.ndarray,
) -> Start:
    """Reads the net that `config.init_from` names, 'WORKDIR' or 'WORKDIR:STEP', where STEP
    is a number, 'best' or 'latest'.

    A layer is taken over where its parameters have the shapes that they have here; the last one
    only where the classes are the same, too, or `config.init_layers` names it. The first layer
    comes with the preprocessing that it was trained with: the mean, not that of the new images, and
    the scale, which the config must have.

    Args:
      config: of the run that starts.
      net: its net.
      shapes: the net's parameters, arrays or `jax.ShapeDtypeStruct`.
      class_names: of its data, in the order of the class scores.
      mean: [S, S, C] float32, of its data.

    Raises:
      ValueError: there is no such net, nothing of it fits, or not what was asked for.
    """
    folder, step = _split(config.init_from)
    try:
        source = open_run(folder, step)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"config.init_from: {error}") from error
    every, asked = layers.layers_of(net), tuple(config.init_layers)
    layers.check_names(net, asked, "config.init_layers")
    first, last = next(iter(every)), list(every)[-1]
    new: dict[str, str] = {}  # why a layer is made anew
    for layer, names in every.items():
        why = _misfit(source, names, shapes)
        if why and layer in asked:
            raise ValueError(f"config.init_layers names {layer}, but {why}")
        if not asked and layer == last and source.class_names != tuple(class_names):
            new[layer] = "other classes"
        elif asked and layer not in asked:
            new[layer] = "not asked for"
        elif why:
            new[layer] = why
    taken = [layer for layer in every if layer not in new]
    if not taken:
        raise ValueError(f"config.init_from: no layer of {folder} fits: {_listed(new)}")
    if first in taken:
        _check_scale(config, source)
        mean = _mean_of(source, mean.shape)
    numbers = {stage.number for stage in net.stages if stage.weights in taken}
    its = {stage.name for stage in net.stages if stage.number in numbers}
    named = {layer: name for layer, name in source.origins.items() if layer in its}
    record = {
        "run": str(folder),
        "step": source.step,
        "weights": source.weights_digest,
        "layers": taken,
        "new": list(new),
        **origins.record(named),
    }
    words = f"starts from {folder}, step {source.step}: {', '.join(taken)}"
    words += " and the mean of its images" if first in taken else ""
    words += f"; made anew: {_listed(new)}" if new else ""
    params = {name: source.params[name] for name in layers.params_of(net, taken)}
    return Start(params, mean, record, words)


def in_our_names(
    config: ConfigDict, net: Architecture, directory: Path | None = None
) -> ConfigDict:
    """The config with layers in `init_layers` and `frozen` as we call them, where it calls them as
    the net in `init_from` does.

    Args:
      net: of the run.
      directory: its folder, which keeps their names once it has begun.

    Raises:
      ValueError: there is no such layer; lists both names of each. Or no net to take layers from.
    """
    if config.init_layers and not config.init_from:
        raise ValueError(
            "config.init_layers names layers to take over, but config.init_from no net"
        )
    named = origins.given(_split(config.init_from)[0]) if config.init_from else {}
    named |= origins.given(directory) if directory else {}
    if not named:
        return config
    config = config.copy_and_resolve_references()
    for field in ("init_layers", "frozen"):
        names = tuple(origins.ours(one, layers.layers_of(net), named) for one in config[field])
        layers.check_names(net, names, f"config.{field}", named)
        config[field] = names
    return config


def _split(text: str) -> tuple[Path, Which | None]:
    folder, step = (text, None) if Path(text).exists() else steps.split(text)
    return Path(folder), step


def _misfit(source: Run, names: Sequence[str], shapes: Params) -> str:
    """Why parameters of these names cannot be taken over; '' if they can."""
    for name in names:
        if name not in source.params:
            return f"{source.directory} has no {name}"
        for kind, leaf in shapes[name].items():
            there = source.params[name].get(kind)
            if there is None or there.shape != leaf.shape:
                shape = "none" if there is None else list(there.shape)
                return f"its {kind} is {shape} in {source.directory}, {list(leaf.shape)} here"
    return ""


def _listed(new: dict[str, str]) -> str:
    return ", ".join(f"{layer} ({why})" for layer, why in new.items())


def _check_scale(config: ConfigDict, source: Run) -> None:
    here, there = config.augment.scale, source.config.augment.scale
    if not np.array_equal(np.broadcast_to(here, 3), np.broadcast_to(there, 3)):
        raise ValueError(
            f"config.augment.scale is {here}, but {source.directory} was trained with {there}, with"
            f" which its first layer goes: set it, or use configs/finetune.py:{source.directory}"
        )


def _mean_of(source: Run, shape: tuple[int, ...]) -> np.ndarray:
    """Its mean; the one of each channel where images have another size here."""
    if source.mean.shape == shape:
        return source.mean
    return np.broadcast_to(source.mean.mean((0, 1), dtype=np.float64), shape).astype(np.float32)
