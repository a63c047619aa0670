"""ZFNet's train step on an accelerator against the same net in PyTorch, eager and compiled.

As `network` compares them, but many steps are under way before anybody waits, as in a training, and
in each of the modes in which an accelerator computes.
"""

from __future__ import annotations

from collections.abc import Iterator

from scripts.benchmarks.network import Nets
from scripts.benchmarks.trials import Options, Row, compare

_TARGET = 1 / 1.2
_STEPS = 10


def rows(options: Options) -> Iterator[Row]:
    modes = ("float32",) if options.small else ("bfloat16", "TF32", "float32")
    steps = 2 if options.small else _STEPS
    for mode in modes:
        for batch in options.batches:
            nets = Nets(mode, batch, small=options.small)
            if batch == options.batches[0]:
                nets.check()
            yield from compare(
                f"ZFNet train step, {mode}, batch {batch}, {steps} steps under way",
                nets.step_forms(steps),
                options,
                work=nets.work(3),
                targets={"PyTorch, torch.compile": _TARGET} if mode == "bfloat16" else None,
                repeats=steps,
            )
