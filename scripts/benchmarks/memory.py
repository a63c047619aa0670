"""Memory of a train step, ours and PyTorch's, each in a process of its own.

Peak resident memory of the whole process, its libraries included, as Linux counts it. On an
accelerator the step's memory lies elsewhere, and this says nothing of it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.trials import Options, Row, check_installed
from zfnet_jax.entry import HOME

_STEPS = 3


def rows(options: Options) -> Iterator[Row]:
    check_installed("torch")
    for batch in options.batches:
        ours, peers = (_measure(form, batch) for form in ("ours", "PyTorch"))
        what = f"ZFNet train step, float32, batch {batch}: peak memory"
        yield Row(what, "ours", "MiB", ours, ours, ours)
        yield Row(what, "PyTorch", "MiB", peers, peers, peers, ratio=ours / peers, target=1.0)


def _measure(form: str, batch: int) -> float:
    command = [sys.executable, "-m", __name__, form, str(batch)]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _our_steps(batch: int) -> None:
    from scripts.benchmarks.network import Nets

    nets = Nets("float32", batch)
    step = nets.our_step()
    nets.params = {}  # the trainer keeps no other copy either
    for _ in range(_STEPS):
        step()


def _torch_steps(batch: int) -> None:
    """As in the network suite, in a process without JAX."""
    import torch

    from configs import architectures
    from scripts.benchmarks.torch_net import TorchZFNet, laid_out
    from zfnet_jax import architecture

    net = TorchZFNet(architecture.from_config(architectures.zfnet(), 1000), None, 224)
    net = laid_out(net, torch.channels_last)
    images = torch.randn(batch, 3, 224, 224).to(memory_format=torch.channels_last)
    labels = torch.randint(1000, (batch,))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, fused=True)
    for _ in range(_STEPS):
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()


def _peak() -> float:
    """MiB, of this process alone: ru_maxrss begins at what the process that started it had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status holds no VmHWM")


if __name__ == "__main__":
    {"ours": _our_steps, "PyTorch": _torch_steps}[sys.argv[1]](int(sys.argv[2]))
    print(_peak())
