"""Rehearses ImageNet's size without its photos: what each program needs of time and memory.

python -m scripts.rehearse_imagenet --out=DIR [--stages=first,last,evaluate,mine,transfer,overlap]

Prepares 1,281,167 and 50,000 images of 256 pixels in 1,000 classes as files with holes, which take
next to no room on the disk, and lets a small net work on them through the usual commands: the first
hundred steps of an epoch, its last hundred with the validation, and the analyses. Of each command
it says the seconds to its end and the most memory that is the process's own (RssAnon of Linux; the
system may take back what it caches of files). Start-up is the time that a second `train` takes to
see that all is done. A line each goes to DIR/rehearsal.md.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from configs import quickstart
from scripts.benchmarks.sparse_images import make_sparse
from zfnet_jax.command import outputs, shell

STAGES = ("first", "last", "evaluate", "mine", "transfer", "overlap")
STEPS = 100  # of an epoch's begin and of its end
_SECONDS_BETWEEN_LOOKS = 0.05

_OUT = flags.DEFINE_string("out", None, "Folder of images and run; made if missing.", required=True)
_TRAIN = flags.DEFINE_integer("train", 1_281_167, "Training images.", lower_bound=1)
_VALIDATION = flags.DEFINE_integer("validation", 50_000, "Validation images.", lower_bound=1)
_TRANSFER = flags.DEFINE_integer("transfer", 5_000, "Images of 100 other classes.", lower_bound=100)
_OVERLAP = flags.DEFINE_integer(
    "overlap", 128_000, "Images that are searched for these; all take hours.", lower_bound=1
)
_CLASSES = flags.DEFINE_integer("classes", 1000, "Classes.", lower_bound=2)
_SIZE = flags.DEFINE_integer("image_size", 256, "Side of the images, pixels.", lower_bound=64)
_BATCH = flags.DEFINE_integer("batch_size", 128, "Images per step.", lower_bound=1)
_STAGES = flags.DEFINE_list("stages", list(STAGES), "Of these, which are rehearsed.")


def main() -> None:
    if unknown := set(_STAGES.value) - set(STAGES):
        raise ValueError(f"--stages: there are {', '.join(STAGES)}, not {', '.join(unknown)}")
    out = outputs.folder(_OUT.value).absolute()
    out.mkdir(parents=True, exist_ok=True)
    size = _SIZE.value
    make_sparse(out / "images" / "train", _TRAIN.value, _CLASSES.value, size)
    make_sparse(out / "images" / "validation", _VALIDATION.value, _CLASSES.value, size)
    make_sparse(out / "transfer" / "train", _TRANSFER.value, 100, size)
    # Blocks of noise would all be pairs.
    make_sparse(out / "overlap" / "train", _OVERLAP.value, _CLASSES.value, size, noise=0)
    run, images = out / "run", out / "images"
    steps = _TRAIN.value // _BATCH.value
    if steps < 2 * STEPS:
        raise ValueError(f"{steps} steps in an epoch: --train gives fewer than {2 * STEPS}")
    if "last" in _STAGES.value and "first" not in _STAGES.value and not run.exists():
        raise ValueError("the last steps go on from the first: --stages=first,last")
    train = ["train", *_config(images), f"--workdir={run}"]
    workdir = f"--workdir={run}"
    commands = {
        "first": [*train, f"--stop_after_steps={STEPS}"],
        "last": [*train, f"--stop_after_steps={steps}"],
        "evaluate": ["evaluate", workdir, "--split=validation", "--crops=1"],
        "mine": ["mine", workdir],
        "transfer": [
            *("transfer", workdir, "--data=other", f"--prepared_dir={out / 'transfer'}"),
            *("--layer=pool1", "--head=softmax", "--per_class=30"),
        ],
        "overlap": [
            *("overlap", str(out / "overlap" / "train"), str(out / "transfer" / "train")),
            f"--out={out / 'overlap_found'}",
        ],
    }
    for stage in _STAGES.value:
        if stage == "last":
            _skip_to(run, steps - STEPS)
        _tell(out, stage, *_measured(commands[stage]))
        if stage == "first":
            _tell(out, "start-up of train", *_measured(commands[stage]))


def _config(images: Path) -> list[str]:
    fields = {
        **{name: value for name, value in quickstart.TINY.items() if name.startswith("model.")},
        "data.source": "prepared",
        "data.prepared_dir": str(images),
        "data.image_size": _SIZE.value,
        "augment.crop": 56,
        "batch_size": _BATCH.value,
        "eval_batch_size": _BATCH.value,
        "epochs": 2,
    }
    return ["--config=configs/quickstart.py", *(f"--config.{k}={v}" for k, v in fields.items())]


def _skip_to(run: Path, step: int) -> None:
    """Saves the newest checkpoint again as that of a later step, in a process of its own."""
    code = """
import sys
from pathlib import Path
import numpy as np
from zfnet_jax.runs.checkpoint import Checkpoints
step = int(sys.argv[2])
folder = Path(sys.argv[1])
with Checkpoints(folder, keep_latest=2, keep_best=0, keep_steps=()) as checkpoints:
    if checkpoints.latest_step() < step:
        _, arrays, record = checkpoints.restore_latest()
        arrays["state"]["step"] = np.asarray(step, arrays["state"]["step"].dtype)
        checkpoints.save(step, arrays, record, None)
"""
    subprocess.run([sys.executable, "-c", code, run / "checkpoints", str(step)], check=True)


def _measured(command: Sequence[str]) -> tuple[float, int, int]:
    """Seconds that a script takes, and the most memory it has of its own and in all, bytes."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", f"scripts.{command[0]}", *command[1:]])
    most = whole = 0
    while process.poll() is None:
        own, resident = _memory(process.pid)
        most, whole = max(most, own), max(whole, resident)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise ValueError(f"scripts.{command[0]} ended with {process.returncode}")
    return time.monotonic() - began, most, whole


def _memory(process: int) -> tuple[int, int]:
    """(RssAnon, VmRSS) of a process, bytes."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0, 0
    found = dict(line.split(":", 1) for line in lines)
    own, resident = (1024 * int(found.get(name, "0").split()[0]) for name in ("RssAnon", "VmRSS"))
    return own, resident


def _tell(out: Path, stage: str, seconds: float, own: int, resident: int) -> None:
    line = f"| {stage} | {seconds:.1f} s | {own / 1e9:.2f} GB | {resident / 1e9:.2f} GB |"
    print(line, flush=True)
    with (out / "rehearsal.md").open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    shell.run(main)
