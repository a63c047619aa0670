"""Kills a small training again and again, and compares what it becomes with an unbroken run.

python -m scripts.soak --out=DIR [--kills=30] [--signal=SIGKILL] [--processes=1]

The training saves after every step, so that many kills fall into a save. Parameters, metrics (but
for times) and the kept checkpoints must be the same to the last bit; exit code 1 if they are not.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from configs import quickstart
from zfnet_jax.command import shell

TIME_FIELDS = ("images_per_second", "epoch_seconds")

TINY = quickstart.TINY | {"checkpoint.every_steps": 1}

_OUT = flags.DEFINE_string("out", None, "Folder of the runs; made if missing.", required=True)
_KILLS = flags.DEFINE_integer("kills", 30, "How often the training is killed.", lower_bound=0)
_SIGNAL = flags.DEFINE_enum("signal", "SIGKILL", ["SIGKILL", "SIGTERM"], "With what.")
_PROCESSES = flags.DEFINE_integer("processes", 1, "Processes; one is killed.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", 15, "Epochs of four steps.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments of the kills.")


@dataclasses.dataclass
class Soak:
    """Trainings of one config in processes of their own.

    Attributes:
      arguments: the flags of scripts.train, but for the folder.
      processes: how many train together; a kill hits one of them.
      seconds_to_end: how long the others may take to notice; one that waits for a process that
        died before they met gives up after jax's five minutes.
    """

    arguments: Sequence[str]
    processes: int = 1
    seconds_to_end: float = 360.0

    def start(self, workdir: Path) -> list[subprocess.Popen[bytes]]:
        """Starts a training, or goes on with it; it writes to WORKDIR.log."""
        command = [sys.executable, "-m", "zfnet_jax", "train", *self.arguments]
        command.append(f"--workdir={workdir}")
        together: list[list[str]] = [[]]
        if self.processes > 1:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                address = f"--coordinator=127.0.0.1:{probe.getsockname()[1]}"
            count = f"--processes={self.processes}"
            together = [[address, count, f"--process={i}"] for i in range(self.processes)]
        with workdir.with_suffix(".log").open("a", encoding="utf-8") as log:
            return [subprocess.Popen([*command, *own], stdout=log, stderr=log) for own in together]

    def finish(self, workdir: Path) -> None:
        """Trains to the end."""
        codes = [process.wait() for process in self.start(workdir)]
        if any(codes):
            raise ValueError(f"the training in {workdir} ended with {codes}: see its .log")

    def kill(self, workdir: Path, number: signal.Signals, chance: random.Random) -> str:
        """Starts the training and kills it at a random moment; what was seen."""
        before = _newest(workdir)
        processes = self.start(workdir)
        try:
            if chance.random() < 0.9:  # else perhaps while it still starts
                while _newest(workdir) == before and all(p.poll() is None for p in processes):
                    time.sleep(0.002)
            time.sleep(chance.uniform(0, 1.5))
            victim = chance.choice(processes)
            victim.send_signal(number)
            killed = time.monotonic()
            codes = [process.wait(self.seconds_to_end) for process in processes]
        finally:
            for process in processes:
                process.kill()
        half = len(list((workdir / "checkpoints").glob("*tmp*")))
        return (
            f"{number.name} to process {processes.index(victim)} of {len(processes)}, newest step "
            f"{_newest(workdir)}, {half} half-written; exit codes {codes} after "
            f"{time.monotonic() - killed:.1f} s"
        )


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two runs, beside times: nothing if they are the same to the last bit."""
    import jax  # after the flags, so that --help needs no jax

    from zfnet_jax.runs.array_tree import digest
    from zfnet_jax.runs.checkpoint import open_checkpoints
    from zfnet_jax.training.metrics import read_metrics

    found = []
    untimed = [
        [{k: v for k, v in record.items() if k not in TIME_FIELDS} for record in read_metrics(run)]
        for run in (one, other)
    ]
    if untimed[0] != untimed[1]:
        found.append("metrics differ")
    with (
        open_checkpoints(one / "checkpoints") as first,
        open_checkpoints(other / "checkpoints") as second,
    ):
        if first.all_steps() != second.all_steps():
            found.append(f"steps {first.all_steps()} and {second.all_steps()} are kept")
            return found
        for step in first.all_steps():
            (left, a), (right, b) = first.restore(step), second.restore(step)
            if not jax.tree.all(jax.tree.map(lambda x, y: digest(x) == digest(y), left, right)):
                found.append(f"arrays of step {step} differ")
            if a != b:
                found.append(f"records of step {step} differ")
    return found


def train_arguments(prepared_dir: Path, epochs: int) -> list[str]:
    """The flags of scripts.train for the small training."""
    fields = TINY | {"data.prepared_dir": str(prepared_dir), "epochs": epochs}
    return ["--config=configs/quickstart.py", *(f"--config.{k}={v}" for k, v in fields.items())]


def main() -> None:
    from zfnet_jax.data.prepare import prepare  # after the flags, so that --help needs no jax

    out = Path(_OUT.value).absolute()
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


def _newest(workdir: Path) -> int:
    """The newest step that is saved; -1 if there is none."""
    folders = (workdir / "checkpoints").glob("*")
    return max((int(path.name) for path in folders if path.name.isdecimal()), default=-1)


if __name__ == "__main__":
    shell.run(main)
