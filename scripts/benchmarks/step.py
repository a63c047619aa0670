"""ZFNet's train step on an accelerator against the same net in PyTorch, eager and compiled.

As `network` compares them, but many steps are under way before anybody waits, as in a training, and
in each of the modes in which an accelerator computes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from scripts.benchmarks.network import Nets, torch_computes_here
from scripts.benchmarks.trials import Options, Row, compare

_TARGET = 1 / 1.2  # of compiled PyTorch's time, in bfloat16
_STEPS = 10


def rows(options: Options) -> Iterator[Row]:
    modes = ("float32",) if options.small else ("bfloat16", "TF32")
    for mode, batch in itertools.product(modes, options.batches):
        nets = Nets(mode, batch, small=options.small)
        alone = "" if torch_computes_here() else ", no PyTorch to compare with"
        if batch == options.batches[0] and not alone:
            nets.check()
        steps = 2 if options.small else _STEPS
        yield from compare(
            f"ZFNet train step, {mode}, batch {batch}, {steps} steps under way{alone}",
            nets.step_forms(steps),
            options,
            work=nets.work(3),
            targets={"PyTorch, torch.compile": _TARGET} if mode == "bfloat16" else None,
            repeats=steps,
        )
