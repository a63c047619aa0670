"""Checks and times this code on the accelerator at hand, in at most eight minutes.

python -m scripts.gpu_check --out=OUT [--small]     # what bash scripts/gpu_check.sh OUT calls

Parity with the CPU from operators to projections; a training that is killed and goes on; the
training loop beside its bare step; occlusion; mining of 50,000 made images; the train step beside
PyTorch's and every stage of it. Each part is a suite of scripts.benchmark in a process of its own
with a time limit, so that one that fails or hangs costs no other. OUT gets gpu_check.md,
gpu_check.json and a log of each part. --small rehearses it on a CPU.
"""

from __future__ import annotations

import time

from absl import flags

from zfnet_jax.command import outputs, shell

_OUT = flags.DEFINE_string("out", None, "Folder of the results; made if missing.", required=True)
_SMALL = flags.DEFINE_bool("small", False, "A rehearsal: narrow nets, few images, small batches.")
_SECONDS = flags.DEFINE_float("seconds", 470, "When the parts that have not ended are stopped.")
_PARTS = flags.DEFINE_list("parts", None, "Which parts; all if not given.")


def main() -> None:
    from scripts.benchmarks.accelerator import PARTS, TOGETHER, check  # after the flags

    names = [part.suite for part in (*TOGETHER, *PARTS)]
    if unknown := set(_PARTS.value or ()) - set(names):
        raise ValueError(f"no part {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    groups = [TOGETHER, *([part] for part in PARTS)]
    if _PARTS.value:
        groups = [[part for part in group if part.suite in _PARTS.value] for group in groups]
    began = time.monotonic()
    notes = check(outputs.folder(_OUT.value), groups, seconds=_SECONDS.value, small=_SMALL.value)
    print(f"{_OUT.value}/gpu_check.md, {time.monotonic() - began:.0f} s")
    if not all(note.startswith("done") for note in notes.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    shell.run(main)
