"""Kills a small training again and again, and compares what it becomes with an unbroken run.

python -m scripts.soak --out=DIR [--kills=30] [--signal=SIGKILL] [--processes=1]

The training saves after every step, so that many kills fall into a save. Parameters, metrics (but
for times) and the kept checkpoints must be the same to the last bit, on a GPU with --deterministic;
exit code 1 if they are not.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

from absl import flags

from configs import quickstart
from zfnet_jax.command import outputs, shell

TINY = quickstart.TINY | {"checkpoint.every_steps": 1}

_OUT = flags.DEFINE_string("out", None, "Folder of the runs; made if missing.", required=True)
_KILLS = flags.DEFINE_integer("kills", 30, "How often the training is killed.", lower_bound=0)
_SIGNAL = flags.DEFINE_enum("signal", "SIGKILL", ["SIGKILL", "SIGTERM"], "With what.")
_PROCESSES = flags.DEFINE_integer("processes", 1, "Processes; one is killed.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", 15, "Epochs of four steps.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments of the kills.")


def train_arguments(prepared_dir: Path, epochs: int) -> list[str]:
    """The flags of scripts.train for the small training."""
    fields = TINY | {"data.prepared_dir": str(prepared_dir), "epochs": epochs}
    config = ["--config=configs/quickstart.py", *(f"--config.{k}={v}" for k, v in fields.items())]
    return ["--deterministic", *config]


def main() -> None:
    from zfnet_jax.data.prepare import prepare  # after the flags, so that --help needs no jax
    from zfnet_jax.training.soak import Soak, differences

    out = outputs.folder(_OUT.value).absolute()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "compiled"))
    config = quickstart.get_config()
    config.update_from_flattened_dict(TINY | {"data.prepared_dir": str(out / "data")})
    prepare(config.data, workers=1, store_images=True, overwrite=False, progress=False)

    soak = Soak(train_arguments(out / "data", _EPOCHS.value), _PROCESSES.value)
    unbroken, broken = out / f"unbroken-{_PROCESSES.value}-{_EPOCHS.value}", out / "broken"
    if not unbroken.exists():
        soak.finish(unbroken)
    shutil.rmtree(broken, ignore_errors=True)
    broken.with_suffix(".log").unlink(missing_ok=True)
    chance = random.Random(_SEED.value)
    for number in range(_KILLS.value):
        seen = soak.kill(broken, signal.Signals[_SIGNAL.value], chance)
        print(f"kill {number + 1}: {seen}", flush=True)
    soak.finish(broken)
    found = differences(unbroken, broken)
    print(f"{_KILLS.value} kills: {'; '.join(found) or 'the same to the last bit'}")
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    shell.run(main)
