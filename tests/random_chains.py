"""Random chains of every kind of layer, built in PyTorch: what each of its modules puts out, by our
names of stages."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

CLASSES = 4
_LEAST = 1e-2  # of the largest value that modules put out, so that there is something to compare


@dataclasses.dataclass(frozen=True)
class Chain:
    """A chain of modules for images [B, channels, size, size]."""

    net: nn.Sequential
    channels: int
    size: int
    classifier: str

    @torch.no_grad()
    def answers(self, x: torch.Tensor) -> dict[str, np.ndarray]:
        """What our net should put out, by name: a relu shares the name of what is before it, batch
        norm that of a convolution, dense layer or batch norm straight before it; padding,
        flattening and dropout have none."""
        found: dict[str, np.ndarray] = {}
        count: dict[str, int] = {}
        number, dense, name, last = 0, 0, "", None
        many = sum(isinstance(module, nn.Linear) for module in self.net)
        for module in self.net:
            x = module(x)
            stem = _stem(module)
            if isinstance(module, nn.Conv2d):
                number, count, name = number + 1, {}, f"conv{number + 1}"
            elif isinstance(module, nn.Linear):
                dense += 1
                name = f"fc{number + dense}" if dense < many else "logits"
            elif stem == "affine" and isinstance(last, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                pass
            elif stem:
                count[stem] = nth = count.get(stem, 0) + 1
                name = f"{stem}{number}" + (f"_{nth}" if nth > 1 else "")
            if not isinstance(module, nn.Flatten | nn.Dropout | nn.ZeroPad2d | nn.LogSoftmax):
                found[name] = x.numpy()
                last = module
        if self.classifier == "maps":
            found["logits"] = found[name].reshape(len(x), -1)
        return found

    def export(self, path: Path, dynamo: bool) -> None:
        """As ONNX, by either of PyTorch's exporters."""
        images = torch.zeros(1, self.channels, self.size, self.size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(self.net, (images,), path, dynamo=dynamo, input_names=["image"])


def _stem(module: nn.Module) -> str:
    """What names of our stages begin with that do as a module does."""
    if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
        return "affine"
    if isinstance(module, nn.LocalResponseNorm):
        return "norm"
    return "pool" if "Pool2d" in type(module).__name__ else ""


class _Builder:
    """Adds modules that fit what there is, run on an image of noise."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.channels = self.one_of(1, 3, 3)
        self.size = int(self.rng.integers(17, 42))
        self.x = torch.randn(2, self.channels, self.size, self.size)
        self.modules: list[nn.Module] = []

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def one_of(self, *values):
        return values[self.rng.integers(len(values))]

    def pair(self, *values: int) -> tuple[int, int]:
        """For rows and columns, mostly alike."""
        first = self.one_of(*values)
        return first, (self.one_of(*values) if self.chance(0.4) else first)

    @torch.no_grad()
    def add(self, module: nn.Module) -> bool:
        """Whether it fits; else nothing is added."""
        for name, array in [*module.named_parameters(), *module.named_buffers()]:
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) and array.ndim:
                array.uniform_(0.5, 2) if name in ("weight", "running_var") else array.normal_()
            elif isinstance(module, nn.Conv2d | nn.Linear) and name == "weight":
                nn.init.kaiming_normal_(array, nonlinearity="relu")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of "same" with even kernels, which are slow
                x = module.eval()(self.x)
        except RuntimeError:  # maps smaller than a window
            return False
        if not x.numel() or float(x.abs().max()) < _LEAST or (x.ndim == 4 and x.shape[2] < 1):
            return False
        self.x = x
        self.modules.append(module)
        return True

    def maps(self) -> int:
        return self.x.shape[1]

    def rectifier(self) -> None:
        kind = self.one_of("relu", "relu", "leaky", "relu6", "capped", "prelu")
        self.add(
            {
                "relu": nn.ReLU(),
                "leaky": nn.LeakyReLU(self.one_of(0.01, 0.2)),
                "relu6": nn.ReLU6(),
                "capped": nn.Hardtanh(0.0, 1.5),
                "prelu": nn.PReLU(init=0.125),
            }[kind]
        )

    def batch_norm(self) -> None:
        kind = nn.BatchNorm2d if self.x.ndim == 4 else nn.BatchNorm1d
        self.add(kind(self.maps(), eps=self.one_of(1e-5, 1e-3)))

    def zeros(self, most: int) -> None:
        left, right, top, bottom = (int(n) for n in self.rng.integers(0, most + 1, 4))
        self.add(nn.ZeroPad2d((left, right, top, bottom)))

    def add_padded(self, module: nn.Module, most: int) -> bool:
        """With zeros in a module of their own before it, or neither."""
        before = self.x
        self.zeros(most)
        if self.add(module):
            return True
        self.x = before
        del self.modules[-1:]
        return False

    def convolution(self) -> bool:
        inputs, kernel, dilation = self.maps(), self.pair(1, 2, 3, 3, 4, 5), self.pair(1, 1, 1, 2)
        groups = self.one_of(1, 1, 1, inputs, 2 if inputs % 2 == 0 else 1)
        padding = tuple(int(self.rng.integers(0, k)) for k in kernel)
        stride = self.pair(1, 1, 1, 2, 3)
        if same := self.chance(0.1):
            padding, stride = "same", (1, 1)
        maps = groups * self.one_of(1, 2) if groups > 2 else self.one_of(4, 6, 8)
        bias = self.chance(0.7)
        module = nn.Conv2d(inputs, maps, kernel, stride, padding, dilation, groups, bias)
        return self.add_padded(module, 2) if self.chance(0.2) and not same else self.add(module)

    def pool(self) -> None:
        window = self.pair(2, 2, 3, 3, 4, 5)
        stride, ceil = self.pair(1, 2, 2, 3), self.chance(0.4)
        padding = tuple(int(self.rng.integers(0, k // 2 + 1)) for k in window)
        if self.chance(0.5):
            self.add(nn.MaxPool2d(window, stride, padding, ceil_mode=ceil))
            return
        if self.chance(0.1):
            self.add_padded(nn.AvgPool2d(window, stride), 1)
            return
        self.add(nn.AvgPool2d(window, stride, padding, ceil, count_include_pad=self.chance(0.5)))

    def layer(self) -> None:
        """A convolution and what follows it, in the usual order or in none."""
        if not self.convolution():
            return
        usual = [
            (self.batch_norm, 0.3), (self.rectifier, 0.8), (self.norm, 0.15), (self.pool, 0.5),
            (self.batch_norm, 0.1), (lambda: self.add(nn.Dropout(0.3)), 0.1),
        ]  # fmt: skip
        if self.chance(0.25):
            usual = [usual[n] for n in self.rng.permutation(len(usual))] + [(self.rectifier, 0.3)]
        for add, share in usual:
            if self.chance(share):
                add()

    def norm(self) -> None:
        size, alpha, k = self.one_of(3, 5), self.one_of(1e-4, 0.3), self.one_of(1.0, 2.0)
        self.add(nn.LocalResponseNorm(size, alpha, self.one_of(0.5, 0.75), k))

    def whole_pool(self) -> None:
        self.add(self.one_of(nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)))

    def dense(self) -> None:
        if self.chance(0.3):
            self.whole_pool()
        self.add(nn.Flatten())
        for _ in range(self.rng.integers(0, 3)):
            self.add(nn.Linear(self.maps(), self.one_of(5, 7), bias=self.chance(0.8)))
            for add, share in (
                (self.batch_norm, 0.2), (self.rectifier, 0.8),
                (lambda: self.add(nn.Dropout(0.5)), 0.3),
            ):  # fmt: skip
                if self.chance(share):
                    add()
        self.add(nn.Linear(self.maps(), CLASSES))

    def class_maps(self) -> None:
        """Class scores of convolutions: 1 x 1 before or after the mean of whole maps, or one that
        reads whole maps."""
        sides = tuple(self.x.shape[2:])
        if self.chance(0.4):
            self.add(nn.Conv2d(self.maps(), CLASSES, sides))
        elif self.chance(0.5):
            self.whole_pool()
            self.add(nn.Conv2d(self.maps(), CLASSES, 1))
        else:
            self.add(nn.Conv2d(self.maps(), CLASSES, 1))
            if self.chance(0.5):
                self.add(nn.ReLU())
            self.add(nn.AdaptiveAvgPool2d(1))
        self.add(nn.Flatten())


def draw(seed: int) -> Chain:
    """A chain of one to four convolutions and more in its head."""
    for attempt in range(100):
        made = _Builder(seed * 100 + attempt)
        if made.chance(0.05):
            made.batch_norm()
        for _ in range(made.rng.integers(1, 5)):
            made.layer()
        if not any(isinstance(module, nn.Conv2d) for module in made.modules):
            continue
        classifier = made.one_of("dense", "dense", "maps", "none")
        if classifier == "dense":
            made.dense()
        elif classifier == "maps":
            made.class_maps()
        whole = tuple(made.x.shape[1:]) == (CLASSES,) if classifier != "none" else made.x.ndim == 4
        if not whole or (classifier == "none" and made.x.shape[2:] == (1, 1)):
            continue
        if classifier != "none" and made.chance(0.2):
            made.add(nn.LogSoftmax(dim=1))
        return Chain(nn.Sequential(*made.modules).eval(), made.channels, made.size, classifier)
    raise AssertionError(f"no chain of seed {seed}")
