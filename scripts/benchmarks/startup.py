"""How fast the scripts answer `--help`, what they import for it, and the first step of a training.

Each time is that of a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from scripts.benchmarks.trials import Options, Row, spread
from zfnet_jax.entry import HOME

_HEAVY = ("tensorflow", "torch", "matplotlib", "jax")


def rows(options: Options) -> Iterator[Row]:
    bare = _trials([sys.executable, "-c", "import jax"], options.trials)
    yield Row("start-up", "python -c 'import jax'", "s", *spread(bare))
    for path in sorted((HOME / "scripts").glob("*.py")):
        if 'if __name__ == "__main__":' not in path.read_text(encoding="utf-8"):
            continue
        command = [sys.executable, "-m", f"scripts.{path.stem}", "--help"]
        help_ = spread(_trials(command, options.trials))
        imported = heavy_imports(command)
        form = f"scripts.{path.stem} --help"
        if imported:
            form += f", imports {', '.join(imported)}"
        # At most a second more than importing JAX.
        median = spread(bare)[0]
        yield Row("start-up", form, "s", *help_, ratio=help_[0] / median, target=1 + 1 / median)
    yield from _first_step(options)


def heavy_imports(command: list[str]) -> list[str]:
    """Which heavy packages a Python command imports."""
    timed = [command[0], "-X", "importtime", *command[1:]]
    lines = subprocess.run(timed, cwd=HOME, capture_output=True, text=True, check=False).stderr
    modules = set(re.findall(r"\|\s+([\w.]+)\s*$", lines, flags=re.MULTILINE))
    return [name for name in _HEAVY if name in modules]


def _first_step(options: Options) -> Iterator[Row]:
    """One step of the quickstart's net, with an empty compilation cache and a filled one."""
    with tempfile.TemporaryDirectory() as folder:
        config = "--config=configs/quickstart.py"
        sizes = [
            f"--config.data.pictures.train_per_class={32}",
            f"--config.data.pictures.validation_per_class={8}",
            f"--config.data.prepared_dir={folder}/data",
        ]
        prepare = [sys.executable, "-m", "scripts.prepare_data", config, *sizes]
        subprocess.run(prepare, cwd=HOME, capture_output=True, check=True)
        seconds = {"cold": [], "warm": []}
        for trial in range(options.trials):
            for cache in seconds:
                command = [sys.executable, "-m", "scripts.train", config, *sizes]
                command += [f"--workdir={folder}/{cache}{trial}", "--stop_after_steps=1"]
                where = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache{trial}"}
                began = time.perf_counter()
                subprocess.run(
                    command, cwd=HOME, env=os.environ | where, capture_output=True, check=True
                )
                seconds[cache].append(time.perf_counter() - began)
    cold, warm = spread(seconds["cold"]), spread(seconds["warm"])
    what = "first step of the quickstart's training, process included"
    yield Row(what, "warm compilation cache", "s", *warm)
    yield Row(what, "cold compilation cache", "s", *cold, ratio=warm[0] / cold[0])


def _trials(command: list[str], trials: int) -> list[float]:
    seconds = []
    for _ in range(1 + trials):  # the first reads the files from the disk
        began = time.perf_counter()
        subprocess.run(command, cwd=HOME, capture_output=True, check=False)
        seconds.append(time.perf_counter() - began)
    return seconds[1:]
