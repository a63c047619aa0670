"""A small training that is killed and goes on, against an unbroken one: the same to the last bit?

The same check as scripts.soak, with few kills.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.trials import Options, Row

_KILLS, _EPOCHS = 2, 6
_ROOT = Path(__file__).parents[2]


def rows(_: Options) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scripts.soak", f"--out={folder}"]
        command += [f"--kills={_KILLS}", f"--epochs={_EPOCHS}"]
        began = time.perf_counter()
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    lines = (done.stdout + done.stderr).strip().splitlines() or ["nothing was printed"]
    for line in lines:
        print(line, flush=True)
    yield Row(
        "killed and resumed",
        lines[-1],
        "s",
        *(seconds,) * 3,
        ratio=float(done.returncode),  # 0: the same
        target=0.0,
    )
