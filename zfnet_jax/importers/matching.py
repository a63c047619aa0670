"""The tensors of a state_dict, matched by order and shape with an architecture of ours.

A state_dict has tensors by name in the order in which the net's modules were made, but no graph:
the architecture says what happens between them.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import layer_specs
from zfnet_jax.architecture import Architecture, from_config
from zfnet_jax.importers.chain import (
    CHANNELS,
    TORCH_EPSILON,
    Affine,
    Dropout,
    Filters,
    Link,
    Norm,
    Rectifier,
    Weights,
    WindowPool,
    batch_norm,
)
from zfnet_jax.layer_specs import Classifier

_LEAVES = {
    "filters": ("weight", "bias"),
    "weights": ("weight", "bias"),
    "norm": ("weight", "bias", "running_mean", "running_var"),
}


@dataclasses.dataclass(frozen=True)
class _Module:
    """A module of the foreign net: its tensors by the last part of their names."""

    name: str
    kind: Literal["filters", "weights", "norm"]
    tensors: Mapping[str, np.ndarray]

    def full(self, leaf: str) -> str:
        return f"{self.name}.{leaf}".lstrip(".")

    @property
    def parts(self) -> list[tuple[int, str]]:
        """Its name, cut into text (-1, text) and numbers (number, ''), which sorts by numbers."""
        cut = re.split(r"(\d+)", self.name)
        return [(int(part), "") if part.isdigit() else (-1, part) for part in cut]

    @property
    def section(self) -> str:
        """Its name up to the first number."""
        return self.parts[0][1]

    @property
    def looks(self) -> tuple[str, tuple[int, ...]]:
        """What tells it from others where names do not: its kind and the shape of its weight."""
        leaf = "running_mean" if self.kind == "norm" else "weight"
        return self.kind, self.tensors[leaf].shape

    def __str__(self) -> str:
        leaf = next(iter(self.tensors))
        return f"{self.full(leaf)} {list(self.tensors[leaf].shape)}"


def match(
    tensors: Mapping[str, np.ndarray], model: ConfigDict, *, in_order: bool = True
) -> tuple[list[Link], Classifier, list[str]]:
    """The chain of an architecture's layers with these tensors.

    A batch norm straight after a convolution or dense layer is part of it. One that stands
    elsewhere is an affine part of a layer, in the config's `then`.

    Args:
      tensors: by name.
      model: a config's model section. Who has how many classes the tensors say.
      in_order: whether the tensors are in the order of the net's modules; if not, the order is that
        of the numbers in their names.

    Returns:
      the chain; what it ends in; and what went where, one line for each tensor.

    Raises:
      ValueError: `model` describes no net; or names the first tensor that is missing, left over or
        of another shape, or two modules of which nothing says which comes first.
    """
    net = from_config(model, classes=0)
    modules = _modules(tensors)
    matcher = _Matcher(modules if in_order else _by_numbers(modules))
    for norm in matcher.norms("the image"):
        matcher.chain.append(_affine(norm))
    inputs = (CHANNELS, 1)  # colours or grey
    for conv in net.convs:
        matcher.convolve(conv, inputs)
        inputs = (conv.maps,)
    _match_dense(matcher, net)
    if matcher.left:
        last = matcher.lines[-1].split(" -> ")[1]
        raise ValueError(
            f"{matcher.left[0]} is left over: {last} was the architecture's last layer"
        )
    return matcher.chain, net.classifier, matcher.lines


def _match_dense(matcher: _Matcher, net: Architecture) -> None:
    then = net.dense_then or (layer_specs.RELU,) * len(net.dense)
    for name, units, rectifier in zip(net.dense_names, net.dense, then, strict=True):
        matcher.weigh(name, units)
        if rectifier:
            matcher.chain.append(Rectifier(name, rectifier.slope, rectifier.cap))
        if net.dropout:
            matcher.chain.append(Dropout(name, net.dropout, net.dropout_scales_training))
    if net.classifier == "dense":
        matcher.weigh("logits", None)


class _Matcher:
    """Takes modules, one after the other.

    Attributes:
      left: those not taken yet.
      chain: links of the layers so far.
      lines: what went where.
    """

    def __init__(self, modules: Sequence[_Module]) -> None:
        self.left = deque(modules)
        self.chain: list[Link] = []
        self.lines: list[str] = []

    def convolve(self, conv: layer_specs.Conv, inputs: Sequence[int]) -> None:
        """Takes the tensors of a conv layer; `inputs`: how many maps it may read."""
        kernel = np.broadcast_to(conv.kernel, 2).tolist()
        shapes = [[conv.maps, maps // conv.groups, *kernel] for maps in inputs]
        module = self._take("filters", conv.name, *shapes)
        weight, bias = _weight_and_bias(module)
        self.chain.append(
            Filters(
                module.name, weight, bias, conv.stride, conv.padding, conv.groups, conv.dilation
            )
        )
        norms = self.norms(conv.name)
        places = sum(isinstance(part, layer_specs.Affine) for part in conv.then)
        if len(norms) not in (places, places + 1):
            raise ValueError(
                f"{conv.name}: {len(norms)} batch norms follow {module}; the architecture has"
                f" {places} affine parts there, and one norm may be straight after the filters"
            )
        if len(norms) > places:
            self.chain.append(_affine(norms.pop(0)))
        for name, part in zip(conv.then_names, conv.then, strict=True):
            is_affine = isinstance(part, layer_specs.Affine)
            self.chain.append(_affine(norms.pop(0)) if is_affine else _link(name, part))

    def weigh(self, name: str, units: int | None) -> None:
        """Takes the tensors of a dense layer; `units`: None for any number."""
        module = self._take("weights", name, [units or "classes", "inputs"])
        self.chain.append(Weights(module.name, *_weight_and_bias(module)))
        self.chain += [_affine(norm) for norm in self.norms(name)]

    def norms(self, name: str) -> list[_Module]:
        """Takes the batch norms that come next, which belong to a layer."""
        taken = []
        while self.left and self.left[0].kind == "norm":
            taken.append(self.left.popleft())
            self._tell(taken[-1], f"{name}, batch norm")
        return taken

    def _take(self, kind: str, name: str, *shapes: list[int | str]) -> _Module:
        wanted = ", ".join(map(str, shapes[0]))
        after = f"; {self.lines[-1]} came last" if self.lines else ""
        if not self.left:
            raise ValueError(f"no tensor is left for {name}, expected [{wanted}]{after}")
        module = self.left.popleft()
        fits = module.kind == kind and any(
            all(isinstance(b, str) or a == b for a, b in zip(module.tensors["weight"].shape, shape))
            for shape in shapes
        )
        if not fits:
            raise ValueError(f"{module} does not fit {name}, expected [{wanted}]{after}")
        self._tell(module, name)
        return module

    def _tell(self, module: _Module, name: str) -> None:
        for leaf, tensor in module.tensors.items():
            self.lines.append(f"{module.full(leaf)} {list(tensor.shape)} -> {name}")


def _modules(tensors: Mapping[str, np.ndarray]) -> list[_Module]:
    grouped: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        grouped.setdefault(module, {})[leaf] = tensor
    return [_module(name, leaves) for name, leaves in grouped.items()]


def _module(name: str, tensors: Mapping[str, np.ndarray]) -> _Module:
    axes = tensors["weight"].ndim if "weight" in tensors else 0
    kind = "norm" if "running_mean" in tensors else {4: "filters", 2: "weights"}.get(axes)
    unknown = [leaf for leaf in tensors if kind is None or leaf not in _LEAVES[kind]]
    if unknown or (kind == "norm" and "running_var" not in tensors):
        module = _Module(name, "norm", {leaf: tensors[leaf] for leaf in unknown or tensors})
        raise ValueError(
            f"{module} is nothing of a convolution, a dense layer or a batch norm with its running"
            " mean and variance"
        )
    match kind:
        case "filters" | "weights" | "norm":
            return _Module(name, kind, tensors)
    raise AssertionError(kind)


def _by_numbers(modules: Sequence[_Module]) -> list[_Module]:
    """In the order of the numbers in their names. Names that begin otherwise are sections, such as
    torchvision's `features` and `classifier`: those with filters come first.

    Raises:
      ValueError: of two that no shape tells apart letters alone say which comes first.
    """
    convolved = {module.section for module in modules if module.kind == "filters"}
    dense = {module.section for module in modules if module.kind == "weights"} - convolved
    ordered = sorted(modules, key=lambda one: (one.section not in convolved, one.parts))
    for one, other in _not_told_by_shape(ordered):
        by_section = one.section in convolved and other.section in dense and one.kind != "weights"
        if not by_section and not _differ_in_a_number(one, other):
            raise ValueError(
                f"{one} and {other}: a safetensors file has an order of its own, and these names do"
                " not say which comes first: save it as .pth, which keeps the order"
            )
    return ordered


def _not_told_by_shape(ordered: Sequence[_Module]) -> Iterator[tuple[_Module, _Module]]:
    """Neighbours among those of one kind and shape, and batch norms with what is beside them."""
    alike: dict[tuple[str, tuple[int, ...]], list[_Module]] = {}
    for module in ordered:
        alike.setdefault(module.looks, []).append(module)
    for modules in alike.values():
        yield from itertools.pairwise(modules)
    for one, other in itertools.pairwise(ordered):
        if "norm" in (one.kind, other.kind):
            yield one, other


def _differ_in_a_number(one: _Module, other: _Module) -> bool:
    """Whether a number is the first that their names differ in."""
    pairs = zip(one.parts, other.parts)
    return next((a[0] >= 0 for a, b in pairs if a != b), True)


def _weight_and_bias(module: _Module) -> tuple[np.ndarray, np.ndarray]:
    weight = module.tensors["weight"]
    return weight, module.tensors.get("bias", np.zeros(len(weight), np.float32))


def _affine(module: _Module) -> Affine:
    found = module.tensors
    return batch_norm(
        module.name,
        found["running_mean"],
        found["running_var"],
        TORCH_EPSILON,
        found.get("weight", 1.0),
        found.get("bias", 0.0),
    )


def _link(name: str, part: layer_specs.Part) -> Link:
    match part:
        case layer_specs.Rectifier():
            return Rectifier(name, part.slope, part.cap)
        case layer_specs.Pool():
            ceil = part.rounding == "ceil"
            return WindowPool(
                name, part.kind, part.window, part.stride, part.padding, ceil, part.counts_padding
            )
        case layer_specs.ContrastNorm():
            share = part.neighbours if part.alpha_convention == "sum" else 1
            return Norm(name, part.maps, part.k, part.alpha * share, part.beta, part.region)
    raise AssertionError(part)
