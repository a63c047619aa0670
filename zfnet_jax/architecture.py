"""The architecture as immutable data: what `config.model` says, checked once, hashable for jit.

`Architecture.stages` is the one place that knows what follows what: the model walks the stages up,
the deconvnet down, and so do geometry, occlusion, exporters and drawings.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from zfnet_jax.layer_fields import read_conv, read_rectifier
from zfnet_jax.layer_specs import (
    RELU,
    Affine,
    Classifier,
    ContrastNorm,
    Conv,
    Part,
    Pool,
    Rectifier,
    check_choice,
)
from zfnet_jax.stages.affine import ScaleAndShift
from zfnet_jax.stages.average_pool import AveragePool
from zfnet_jax.stages.contrast import Normalise
from zfnet_jax.stages.dense import Dense, Dropout, Logits, MapLogits
from zfnet_jax.stages.filters import Filter
from zfnet_jax.stages.max_pool import MaxPool
from zfnet_jax.stages.relu import Relu
from zfnet_jax.stages.stage import Stage


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A convnet of the ZFNet family: conv layers, dense layers, softmax (paper, Fig. 3).

    `classifier`: what follows the conv layers, see `layer_specs.Classifier`; without one there are
    no `classes`.
    `dropout_scales_training`: what dropout leaves is scaled up in training; otherwise, as in the
    paper's time, all is scaled down in evaluation. `dense_then`: the rectifier of each hidden dense
    layer, None where it has none; () for a plain relu each.
    """

    convs: tuple[Conv, ...]
    dense: tuple[int, ...]
    classes: int
    dropout: float
    dropout_scales_training: bool = True
    dense_then: tuple[Rectifier | None, ...] = ()
    classifier: Classifier = "dense"

    def __post_init__(self) -> None:
        numbers = [conv.number for conv in self.convs]
        if not numbers or numbers != sorted(set(numbers)):
            raise ValueError(
                f"model.layers must name each conv layer once, in ascending order, got {numbers}"
            )
        check_choice("model.classifier", self.classifier, ("dense", "maps", "none"))
        if self.classifier != "dense" and self.dense:
            raise ValueError(
                f"model.classifier is {self.classifier!r}, which has no dense layers:"
                f" model.dense=() instead of {self.dense}"
            )
        if self.classifier == "none" and self.classes:
            raise ValueError(f"model.classifier is 'none', but there are {self.classes} classes")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout must be in [0, 1), got {self.dropout}")
        if self.dense_then and len(self.dense_then) != len(self.dense):
            raise ValueError(
                f"model.dense_then is of {len(self.dense_then)} hidden dense layers, of which there"
                f" are {len(self.dense)}"
            )

    @property
    def dense_names(self) -> tuple[str, ...]:
        """Names of the hidden dense layers: their numbers go on from the last conv layer's."""
        first = self.convs[-1].number + 1
        return tuple(f"fc{first + i}" for i in range(len(self.dense)))

    @functools.cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Everything that the net does, from the image to the class scores, in order; without a
        classifier to its last maps."""
        return (*itertools.chain(*map(self._conv_layer, self.convs)), *self._classifier())

    def _conv_layer(self, conv: Conv) -> Iterator[Stage]:
        """The filters, then what follows them."""
        yield Filter(conv.name, conv.number, conv)
        for name, part in zip(conv.then_names, conv.then, strict=True):
            yield _stage(name, conv.number, part)

    def _classifier(self) -> Iterator[Stage]:
        n = self.convs[-1].number + 1
        then = self.dense_then or (RELU,) * len(self.dense)
        for depth, (name, units) in enumerate(zip(self.dense_names, self.dense, strict=True)):
            yield Dense(name, n, units)
            if rectifier := then[depth]:
                yield Relu(name, n, rectifier)
            if self.dropout:
                yield Dropout(name, n, self.dropout, self.dropout_scales_training, depth)
            n += 1
        if self.classifier == "dense":
            yield Logits("logits", n, self.classes)
        elif self.classifier == "maps":
            yield MapLogits("logits", n, self.classes)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers: of the activations, and of the class scores."""
        return tuple(dict.fromkeys(stage.name for stage in self.stages))

    @property
    def activations(self) -> tuple[str, ...]:
        """Names of what the layers put out, but for switches and the class scores."""
        return tuple(dict.fromkeys(stage.name for stage in self.stages if not stage.scores))

    @property
    def map_stages(self) -> tuple[Stage, ...]:
        """The stages of feature maps: those before the first whose units see all of the maps."""
        return tuple(itertools.takewhile(lambda stage: stage.windows is not None, self.stages))

    @property
    def switched(self) -> tuple[str, ...]:
        """Names of the conv layers with a max pool, whose switches unpooling reads."""
        numbers = {stage.number for stage in self.stages if isinstance(stage, MaxPool)}
        return tuple(conv.name for conv in self.convs if conv.number in numbers)

    @property
    def map_layers(self) -> tuple[str, ...]:
        """Names of every layer of feature maps that a projection can start from."""
        return tuple(dict.fromkeys(stage.name for stage in self.map_stages if stage.projects))

    def stages_to(self, layer: str) -> tuple[Stage, ...]:
        """The stages from the image to a layer by name, such as 'conv3' or 'pool5'.

        ValueError names the layers that a projection can start from.
        """
        if layer not in self.map_layers:
            raise ValueError(f"no layer {layer!r}: the net has {', '.join(self.map_layers)}")
        end = max(n for n, stage in enumerate(self.map_stages) if stage.name == layer)
        return self.map_stages[: end + 1]

    @property
    def outputs(self) -> dict[int, str]:
        """The activation that each layer ends with, by the paper's number; the scores are none."""
        return {stage.number: stage.name for stage in self.stages if not stage.scores}


def _stage(name: str, number: int, part: Part) -> Stage:
    match part:
        case Rectifier():
            return Relu(name, number, part)
        case Pool(kind="max"):
            return MaxPool(name, number, part)
        case Pool():
            return AveragePool(name, number, part)
        case ContrastNorm():
            return Normalise(name, number, part)
        case Affine():
            return ScaleAndShift(name, number)


def completed(model: Mapping[str, Any] | ml_collections.ConfigDict) -> dict[str, Any]:
    """A config's model section with the fields that came later, as nets of before computed them."""
    added = {"dropout_scales_training": True} | dict(model)
    added["contrast_norm"] = {"region": "across_maps"} | dict(model["contrast_norm"])
    return added


def from_config(model: ml_collections.ConfigDict, classes: int) -> Architecture:
    """Reads `config.model` (see configs/architectures.py for its fields).

    Args:
      model: the config's model section; `model.layers` lists the conv layers in use, by name.
      classes: number of classes, which the data set says; 0 for a net without classifier.

    Raises:
      ValueError: a field has a value that no net can be built from.
    """
    later = completed(model)
    norm = ContrastNorm(**later["contrast_norm"])
    convs = []
    for name in model.layers:
        if name not in model or not name.removeprefix("conv").isdigit():
            raise ValueError(f"model.layers names {name!r}, but there is no field model.{name}")
        convs.append(read_conv(name, dict(model[name]), norm, model.norm_before_pool))
    return Architecture(
        convs=tuple(convs),
        dense=tuple(model.dense),
        classes=classes,
        dropout=model.dropout,
        dropout_scales_training=later["dropout_scales_training"],
        # What the built-in nets do not say: imported nets do.
        dense_then=_dense_then(later),
        classifier=later.get("classifier", "dense"),
    )


def _dense_then(model: Mapping[str, Any]) -> tuple[Rectifier | None, ...]:
    """What of it the config says: `dense_then`, a dict as in `layer_fields` or None for each hidden
    dense layer; or `dense_without_relu`, the numbers of those that have none, the first being 0."""
    if "dense_then" in model:
        each = model["dense_then"]
        return tuple(fields and read_rectifier("model.dense_then", fields) for fields in each)
    without, count = set(model.get("dense_without_relu", ())), len(model["dense"])
    if not without <= set(range(count)):
        raise ValueError(
            f"model.dense_without_relu names {sorted(without)} of {count} hidden dense layers, the"
            " first being 0"
        )
    return tuple(None if n in without else RELU for n in range(count)) if without else ()
