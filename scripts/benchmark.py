"""Benchmarks: ours beside Flax, PyTorch and Captum, in one run, on this machine.

    python -m scripts.benchmark [--suite=pooling,network] [--out=DIR]

Needs pip install "zfnet_jax[bench]". The forms of each comparison take turns; medians and
quartiles of the trials after warm-up. What a suite compares stands at the top of its file in
scripts/benchmarks/. DIR gets results.md and results.json. Quiet machine, please.
"""

from __future__ import annotations

import importlib

from absl import flags

from zfnet_jax.command import outputs, shell

SUITES = (
    "pooling",
    "convolution",
    "products",
    "network",
    "memory",
    "projection",
    "mining",
    "occlusion",
    "input",
    "decoding",
    "reading",
    "crops",
    "startup",
    "explore",
    # Made for an accelerator; scripts/gpu_check.sh runs them, each with its settings.
    "parity",
    "step",
    "stages",
    "atlas",
    "loop",
    "resume",
)
_NOT_ALONE = ("explore", "mining", "reading", "parity", "step", "stages", "atlas", "loop", "resume")

_SUITE = flags.DEFINE_list(
    "suite",
    [name for name in SUITES if name not in _NOT_ALONE],
    f"Which of {', '.join(SUITES)}; mining needs --workdir.",
)
_OUT = flags.DEFINE_string("out", None, "Folder for results.md and results.json; made if missing.")
_TRIALS = flags.DEFINE_integer("trials", 5, "Rounds that count.", lower_bound=1)
_BATCHES = flags.DEFINE_list("batches", ["1", "16", "128"], "Batches of network and memory.")
_WORKDIR = flags.DEFINE_string("workdir", None, "A run's folder, for mining.")
_SMALL = flags.DEFINE_bool("small", False, "Rehearse the suites made for an accelerator.")
_PHOTOS = flags.DEFINE_string("photos", None, "Folder of JPEG files, for input.")


def main() -> None:
    unknown = set(_SUITE.value) - set(SUITES)
    if unknown:
        raise ValueError(f"no suite {', '.join(sorted(unknown))}: there are {', '.join(SUITES)}")
    from scripts.benchmarks import machine, report
    from scripts.benchmarks.trials import Options

    out = outputs.folder(_OUT.value) if _OUT.value else None
    flops, bytes_per_second = machine.limits()
    options = Options(
        trials=_TRIALS.value,
        batches=tuple(map(int, _BATCHES.value)),
        workdir=_WORKDIR.value,
        photos=_PHOTOS.value,
        flops_per_second=flops,
        bytes_per_second=bytes_per_second,
        small=_SMALL.value,
    )
    about = machine.description() | {
        "limits": {"flops_per_second": flops, "bytes_per_second": bytes_per_second},
        "trials": options.trials,
    }
    print(report.heading(about))
    suites = {}
    for name in _SUITE.value:
        print(f"\n## {name}\n", flush=True)
        suite = importlib.import_module(f"scripts.benchmarks.{name}")
        suites[name] = []
        for row in suite.rows(options):
            suites[name].append(row)
            if out:  # what is measured is not lost if what follows fails
                report.write(out, about, suites)
        print(report.table(suites[name]), flush=True)
    if out:
        print(f"\nthe results lie in {out}")


if __name__ == "__main__":
    shell.run(main)
