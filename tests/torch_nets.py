"""PyTorch's published ZFNets and AlexNets with few maps, and a deconvnet written in PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.foreign import CLASSES, DENSE, MAPS

# (kernel, stride, padding) of the first two layers, whether they are normalised, ceil pools.
TOPOLOGIES = {
    "pytorchcv_zfnet": ((7, 2, 1), (5, 2, 0), True, True),
    "pytorchcv_alexnet": ((11, 4, 0), (5, 1, 2), True, True),
    "pytorchcv_alexnetb": ((11, 4, 2), (5, 1, 2), False, True),
    "torchvision_alexnet": ((11, 4, 2), (5, 1, 2), False, False),
}
_CV_NAMES = ["stage1.unit1", "stage2.unit1", "stage3.unit1", "stage3.unit2", "stage3.unit3"]
NAMES = {
    "pytorchcv": (
        [f"features.{unit}.conv" for unit in _CV_NAMES],
        ["output.fc1.fc", "output.fc2.fc", "output.fc3"],
    ),
    "torchvision": (
        [f"features.{n}" for n in (0, 3, 6, 8, 10)],
        [f"classifier.{n}" for n in (1, 4, 6)],
    ),
}


class Net(nn.Module):
    """Layers 1 to 5 filter and rectify, 1 and 2 normalise, 1, 2 and 5 pool; then dense layers."""

    def __init__(self, topology: str, maps=MAPS, dense=DENSE, seed: int = 0) -> None:
        super().__init__()
        first, second, self.norm, self.ceil = TOPOLOGIES[topology]
        self.names = NAMES[topology.split("_")[0]]
        torch.manual_seed(seed)
        shapes = [first, second] + [(3, 1, 1)] * 3
        channels = (3, *maps)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, k, s, p) for a, b, (k, s, p) in zip(channels, maps, shapes)
        )
        units = (maps[-1] * 36, *dense, CLASSES)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(units))
        with torch.no_grad():
            for layer in [*self.convs, *self.dense]:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            self.convs[0].weight *= 60  # so that the contrast norm matters

    def published_state(self) -> dict[str, torch.Tensor]:
        """The state_dict as the published file has it."""
        layers = zip([*self.names[0], *self.names[1]], [*self.convs, *self.dense])
        return {
            f"{name}.{leaf}": getattr(layer, leaf).detach()
            for name, layer in layers
            for leaf in ("weight", "bias")
        }

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        found, self.places = {}, {}
        for n, conv in enumerate(self.convs, start=1):
            x = found[f"conv{n}"] = F.relu(conv(x))
            if self.norm and n < 3:
                x = found[f"norm{n}"] = F.local_response_norm(x, size=5, k=2.0)
            if n in (1, 2, 5):
                x, places = F.max_pool2d(x, 3, 2, 0, ceil_mode=self.ceil, return_indices=True)
                found[f"pool{n}"], self.places[n] = x, places
        x = x.flatten(1)
        for n, dense in enumerate(self.dense, start=6):
            x = dense(x)
            if n < 8:
                x = found[f"fc{n}"] = F.relu(x)
        return found | {"logits": x}


_VGG_WIDTHS = {
    11: "1 M 1 M 2 2 M 3 3 M 3 3 M",
    13: "1 1 M 1 1 M 2 2 M 3 3 M 3 3 M",
    16: "1 1 M 1 1 M 2 2 2 M 3 3 3 M 3 3 3 M",
    19: "1 1 M 1 1 M 2 2 2 2 M 3 3 3 3 M 3 3 3 3 M",
}


class Vgg(nn.Module):
    """torchvision's VGGs with few maps, named as there, for images of 64 pixels."""

    def __init__(self, layers: int, norm: bool, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        modules: list[nn.Module] = []
        maps = 3
        for word in _VGG_WIDTHS[layers].split():
            if word == "M":
                modules.append(nn.MaxPool2d(2, return_indices=True))
                continue
            modules.append(nn.Conv2d(maps, maps := 4 * int(word), 3, padding=1))
            if norm:
                modules.append(nn.BatchNorm2d(maps))
            modules.append(nn.ReLU())
        self.features = nn.Sequential(*modules)
        self.classifier = nn.Sequential(
            nn.Linear(4 * maps, DENSE[0]), nn.ReLU(), nn.Dropout(),
            nn.Linear(*DENSE), nn.ReLU(), nn.Dropout(), nn.Linear(DENSE[1], CLASSES),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                for array in (module.weight.data, module.running_var):
                    array.uniform_(0.5, 2)
                for array in (module.bias.data, module.running_mean):
                    array.normal_()
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self.eval()

    @torch.no_grad()
    def answers(self, x: torch.Tensor):
        """Activations by our names, and the indices of the pools by layer number."""
        found, places, n = {}, {}, 0
        for module in self.features:
            if isinstance(module, nn.MaxPool2d):
                x, places[n] = module(x)
                found[f"pool{n}"] = x.numpy()
                continue
            x = module(x)
            n += isinstance(module, nn.Conv2d)
            if isinstance(module, nn.ReLU):
                found[f"conv{n}"] = x.numpy()
        return found | {"logits": self.classifier(x.flatten(1)).numpy()}, places

    @torch.no_grad()
    def scaled_filters(self) -> list[torch.Tensor]:
        """Of each convolution the filters, times the scale of the batch norm after it."""
        filters: list[torch.Tensor] = []
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                filters.append(module.weight.detach())
            elif isinstance(module, nn.BatchNorm2d):
                scale = module.weight / torch.sqrt(module.running_var + module.eps)
                filters[-1] = filters[-1] * scale[:, None, None, None]
        return filters


def answers(net: Net, x: np.ndarray) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {name: value.numpy() for name, value in net(torch.from_numpy(x)).items()}


def unpool(x, places, size: tuple[int, int], window: int, stride: int) -> torch.Tensor:
    """Values back at their places; where windows overlap, the sum of those that name a pixel."""
    if window <= stride:
        return F.max_unpool2d(x, places, window, stride, output_size=size)
    flat = torch.zeros(*x.shape[:2], size[0] * size[1])
    flat.scatter_add_(2, places.flatten(2), x.flatten(2))
    return flat.reshape(*x.shape[:2], *size)


def project(convs, places, sizes, pools, seed: torch.Tensor, layer: int, pooled: bool):
    """The deconvnet (Section 2.1) from a layer's maps, or its pooled ones, to pixels.

    Args:
      convs: (weight, stride, padding, groups) per layer.
      places: indices of `max_pool2d` by layer number.
      sizes: (H, W) of the image and of every layer's maps.
      pools: (window, stride) by layer number.
    """
    x = seed
    for n in range(layer, 0, -1):
        if n in pools and (n < layer or pooled):
            x = unpool(x, places[n], sizes[n], *pools[n])
        weight, stride, padding, groups = convs[n - 1]
        below = sizes[n - 1]
        if n - 1 in pools:  # the layer read pooled maps
            below = places[n - 1].shape[2:]
        whole = [(size - 1) * stride + weight.shape[2] - 2 * padding for size in x.shape[2:]]
        extra = [size - there for size, there in zip(below, whole)]
        x = F.conv_transpose2d(
            F.relu(x), weight, None, stride, padding, output_padding=extra, groups=groups
        )
    return x
