"""The suites made for an accelerator, each in a process of its own, and one page of all results."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Part:
    """A suite of scripts.benchmark with its flags and the seconds that it may take."""

    suite: str
    seconds: float
    flags: tuple[str, ...] = ()
    small: tuple[str, ...] = ()


# In the order of what is to be known first. Nothing in the first two is timed: they run together.
# The two last compile for minutes (PyTorch too), so that what the time cuts is theirs alone.
TOGETHER = (Part("parity", 120), Part("resume", 120))
PARTS = (
    Part("loop", 120, ("--batches=128,1024", "--trials=3"), ("--batches=8", "--trials=1")),
    Part("occlusion", 90, ("--trials=3",), ("--trials=1",)),
    Part("atlas", 120),
    Part("step", 300, ("--batches=128,1024", "--trials=3"), ("--batches=2", "--trials=1")),
    Part("stages", 120, ("--batches=128", "--trials=3"), ("--batches=2", "--trials=1")),
)


def check(
    out: Path, groups: Sequence[Sequence[Part]], *, seconds: float, small: bool
) -> dict[str, str]:
    """Runs groups of parts one after the other, the parts of a group at the same time, and writes
    gpu_check.json and gpu_check.md after each.

    Args:
      seconds: parts that would begin later are left out.
      small: a rehearsal.

    Returns:
      what became of each part, by its suite: 'done in 5 s', ...
    """
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    notes: dict[str, str] = {}
    parts = [part for group in groups for part in group]
    for group in groups:
        left = seconds - (time.monotonic() - began)
        with ThreadPoolExecutor(max(1, len(group))) as pool:
            ran = pool.map(lambda part, left=left: _run(part, out, left, small), group)
            for part, note in zip(group, ran):
                notes[part.suite] = note
                print(f"{part.suite}: {note}", flush=True)
        title = f"{time.monotonic() - began:.0f} s in all" + (", a rehearsal" if small else "")
        _write(out, parts, notes, title)
    return notes


def _run(part: Part, out: Path, left: float, small: bool) -> str:
    """Runs a part to its end or its limit, `left` seconds at most; what became of it."""
    if left <= 0:
        return "left out: the time was over"
    seconds = min(part.seconds, left)
    command = [sys.executable, "-m", "scripts.benchmark", f"--suite={part.suite}"]
    command += [f"--out={out / part.suite}", *(part.small if small else part.flags)]
    command += ["--small"] if small else []
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(out / "compiled"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # PyTorch needs memory of the same card
    }
    log = out / f"{part.suite}.log"
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, cwd=_ROOT, env=os.environ | settings, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"stopped after {seconds:.0f} s; what was measured by then counts"
    taken = f"{time.monotonic() - began:.0f} s"
    if code:
        lines = log.read_text(encoding="utf-8").strip().splitlines()
        return f"failed after {taken}: {lines[-1] if lines else f'exit code {code}'}"
    return f"done in {taken}"


def _write(out: Path, parts: Sequence[Part], notes: Mapping[str, str], title: str) -> None:
    """All parts so far, as JSON and as Markdown."""
    from scripts.benchmarks import report
    from scripts.benchmarks.trials import Row
    from zfnet_jax import files

    about: dict[str, Any] = {}
    sections, results = [], []
    for part in parts:
        lines = [f"## {part.suite}", notes.get(part.suite, "not yet run")]
        path = out / part.suite / "results.json"
        if part.suite in notes and path.exists():
            read = json.loads(path.read_text(encoding="utf-8"))
            about = about or read["machine"]
            results += read["results"]
            fields = [field.name for field in dataclasses.fields(Row)]
            rows = [Row(**{name: one[name] for name in fields}) for one in read["results"]]
            lines.append(report.table(rows))
        sections.append("\n\n".join(lines))
    heading = report.heading(about).replace("\n", "  \n") if about else "no part has results"
    heading = f"{heading}  \n{title}"
    text = "\n\n".join(["# The check on an accelerator", heading, *sections]) + "\n"
    files.write_text(out / "gpu_check.md", text)
    files.write_json(
        out / "gpu_check.json",
        {"machine": about, "time": title, "parts": notes, "results": results},
    )
