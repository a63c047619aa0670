"""Architectures of published PyTorch weights: a state_dict has tensors by name, but no graph.

Widths are read from the tensors. Where the numbers come from is said at each preset.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from zfnet_jax.importers.chain import (
    TORCH_EPSILON,
    Dropout,
    Filters,
    Link,
    Norm,
    Rectifier,
    Weights,
    WindowPool,
    batch_norm,
)
from zfnet_jax.importers.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class ConvShape:
    """A conv layer of a preset.

    Attributes:
      tensor: the name of its weight and bias, without the dot.
      batch_norm: that of the batch norm after it; '' for none.
    """

    tensor: str
    kernel: int
    stride: int
    padding: int
    norm: bool = False
    pool: bool = False
    batch_norm: str = ""


@dataclasses.dataclass(frozen=True)
class Preset:
    """A published architecture: everything but the widths.

    Attributes:
      convs: see `ConvShape`.
      dense: names of the dense layers' tensors, the class scores last.
      norm: contrast norm of the layers that have it, straight after their relu.
      pool: of the layers that have it.
      dropout: in training, after each hidden dense layer.
      preprocessing: what the published weights expect.
    """

    convs: tuple[ConvShape, ...]
    dense: tuple[str, ...]
    norm: Norm
    pool: WindowPool
    dropout: float
    preprocessing: Preprocessing

    def chain(self, tensors: Mapping[str, np.ndarray]) -> list[Link]:
        """The layers with their tensors.

        A file of the convolutions alone, `net.features.state_dict()` or one without the dense
        layers, is a trunk.

        Raises:
          ValueError: names the first tensor that is missing, left over, or of another shape.
        """
        if all(name.partition(".")[0].isdigit() for name in tensors):
            tensors = {f"features.{name}": tensor for name, tensor in tensors.items()}
        dense = self.dense if any(f"{name}.weight" in tensors for name in self.dense) else ()
        names = [*(conv.tensor for conv in self.convs), *dense]
        wanted = [f"{name}.{leaf}" for name in names for leaf in ("weight", "bias")]
        norms = [conv.batch_norm for conv in self.convs if conv.batch_norm]
        wanted += [f"{name}.{leaf}" for name in norms for leaf in _BATCH_NORM]
        for name in wanted:
            if name not in tensors:
                there = ", ".join(list(tensors)[:4])
                raise ValueError(f"there is no tensor {name}; the first ones are {there}")
        links: list[Link] = []
        for conv in self.convs:
            weight, bias = tensors[f"{conv.tensor}.weight"], tensors[f"{conv.tensor}.bias"]
            k = conv.kernel
            if weight.ndim != 4 or weight.shape[2:] != (k, k):
                expected = f"[maps, inputs, {k}, {k}]"
                raise ValueError(
                    f"{conv.tensor}.weight is {list(weight.shape)}, expected {expected}"
                )
            links.append(Filters(conv.tensor, weight, bias, conv.stride, conv.padding))
            if conv.batch_norm:
                mean, variance, scale, shift = (
                    tensors[f"{conv.batch_norm}.{leaf}"] for leaf in _BATCH_NORM
                )
                links.append(
                    batch_norm(conv.batch_norm, mean, variance, TORCH_EPSILON, scale, shift)
                )
            links.append(Rectifier(conv.tensor))
            if conv.norm:
                links.append(dataclasses.replace(self.norm, name=conv.tensor))
            if conv.pool:
                links.append(dataclasses.replace(self.pool, name=conv.tensor))
        for name in dense:
            links.append(Weights(name, tensors[f"{name}.weight"], tensors[f"{name}.bias"]))
            if name != dense[-1]:
                links += [Rectifier(name), Dropout(name, self.dropout)]
        extra = [name for name in tensors if name not in wanted]
        if extra:
            shape = list(tensors[extra[0]].shape)
            raise ValueError(f"tensor {extra[0]} {shape} has no place in this net")
        return links


_BATCH_NORM = ("running_mean", "running_var", "weight", "bias")

# As torchvision's models: images in [0, 1], then mean and standard deviation of ImageNet.
_TORCH = Preprocessing(
    image_size=256,
    crop=224,
    mean=255 * np.array([0.485, 0.456, 0.406], np.float32),
    scale=tuple(255 * std for std in (0.229, 0.224, 0.225)),
)
_NORM = Norm("", size=5, k=2.0, alpha=1e-4, beta=0.75)
_CEIL = WindowPool("", "max", window=3, stride=2, padding=(0, 0), ceil=True)
_HALVING = WindowPool("", "max", window=2, stride=2, padding=(0, 0), ceil=False)
_FLOOR = WindowPool("", "max", window=3, stride=2, padding=(0, 0), ceil=False)


def _pytorchcv(first: tuple[int, int, int], second: tuple[int, int, int], norm: bool) -> Preset:
    """Kernel, stride and padding of the first two layers; the rest is common to the package."""
    shapes = (first, second, (3, 1, 1), (3, 1, 1), (3, 1, 1))
    units = ("stage1.unit1", "stage2.unit1", "stage3.unit1", "stage3.unit2", "stage3.unit3")
    convs = tuple(
        ConvShape(f"features.{unit}.conv", *shape, norm=norm and depth < 2, pool=depth in (0, 1, 4))
        for depth, (unit, shape) in enumerate(zip(units, shapes))
    )
    dense = ("output.fc1.fc", "output.fc2.fc", "output.fc3")
    return Preset(convs, dense, _NORM, _CEIL, dropout=0.5, preprocessing=_TORCH)


def _torchvision_alexnet() -> Preset:
    shapes = {0: (11, 4, 2), 3: (5, 1, 2), 6: (3, 1, 1), 8: (3, 1, 1), 10: (3, 1, 1)}
    convs = tuple(
        ConvShape(f"features.{number}", *shape, pool=number in (0, 3, 10))
        for number, shape in shapes.items()
    )
    dense = tuple(f"classifier.{number}" for number in (1, 4, 6))
    return Preset(convs, dense, _NORM, _FLOOR, dropout=0.5, preprocessing=_TORCH)


def _torchvision_vgg(blocks: tuple[int, ...], norm: bool) -> Preset:
    """`blocks`: how many convolutions before each of the five pools."""
    convs, number = [], 0
    for count in blocks:
        for place in range(count):
            after = f"features.{number + 1}" if norm else ""
            pool = place == count - 1
            convs.append(ConvShape(f"features.{number}", 3, 1, 1, pool=pool, batch_norm=after))
            number += 3 if norm else 2  # the relu has a number, too
        number += 1  # and so has the pool
    dense = tuple(f"classifier.{number}" for number in (0, 3, 6))
    return Preset(tuple(convs), dense, _NORM, _HALVING, dropout=0.5, preprocessing=_TORCH)


_VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

PRESETS: dict[str, Preset] = {
    # osmr/imgclsmob, pytorch/pytorchcv/models/{zfnet,alexnet}.py. 'pytorchcv_zfnet' is for both
    # zfnet and zfnetb (512-1024-512); each layer's contrast norm comes before its pool.
    "pytorchcv_zfnet": _pytorchcv((7, 2, 1), (5, 2, 0), norm=True),
    "pytorchcv_alexnet": _pytorchcv((11, 4, 0), (5, 1, 2), norm=True),
    "pytorchcv_alexnetb": _pytorchcv((11, 4, 2), (5, 1, 2), norm=False),
    # pytorch/vision, torchvision/models/alexnet.py; no contrast norm. Its adaptive average pool
    # leaves the 6 x 6 maps of 224-pixel images as they are.
    "torchvision_alexnet": _torchvision_alexnet(),
    # torchvision/models/vgg.py: vgg11 to vgg19, and vgg11_bn to vgg19_bn.
    **{
        f"torchvision_vgg{layers}{'_bn' * norm}": _torchvision_vgg(blocks, norm)
        for norm in (False, True)
        for layers, blocks in _VGG.items()
    },
}
