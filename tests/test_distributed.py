"""Jobs of two and four processes of which one differs, fails or dies: all end, and say why.

One process forks all of them, after the slow imports, and their train step is a word to the others.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OVERRIDES, ROOT, copied, simulated
from zfnet_jax.data.prepared import open_prepared

# Runs {job: [[arguments, code to run before], ...]}, some jobs at a time; prints for each the
# processes' [exit code, seconds from the start, what it said].
FORK = """
import json, os, runpy, sys, time
import jax, zfnet_jax.command.processes, zfnet_jax.runs.provenance, zfnet_jax.training.train
from zfnet_jax.studies.features import study

def start(job, number, arguments, before):
    out = os.open(f"{sys.argv[1]}/{job}.{number}", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    child = os.fork()
    if child:
        return child, out
    os.dup2(out, 1), os.dup2(out, 2)
    code = 0
    try:
        exec(before, {})
        sys.argv = arguments
        runpy.run_module("scripts." + arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        import traceback; traceback.print_exc(); code = 1
    if not code:
        jax.distributed.shutdown()
    sys.stdout.flush(); os._exit(code)

waiting, running, said = list(json.load(sys.stdin).items()), {}, {}
while waiting or running:
    while waiting and len(running) < 6:
        job, processes = waiting.pop(0)
        said[job] = [None] * len(processes)
        began = time.monotonic()
        for number, process in enumerate(processes):
            running[start(job, number, *process)[0]] = job, number, began
    child, status = os.wait()
    job, number, began = running.pop(child)
    with open(f"{sys.argv[1]}/{job}.{number}", errors="replace") as out:
        text = out.read()
    code = os.waitstatus_to_exitcode(status)
    said[job][number] = code, time.monotonic() - began, text
print(json.dumps(said))
"""

# In all processes: a step that needs no compiler to speak of.
QUICK = """
import os
from jax import lax, numpy as jnp
from zfnet_jax import parallel
from zfnet_jax.training import train

def quick(step):
    def watched(state, healthy, mean, batch):
        return state, healthy, lax.pmean(jnp.float32(1), parallel.AXIS)
    return watched

train.nonfinite.watched = quick
batches_of = train._batches_of

def die(*_, **__):
    os.kill(os.getpid(), 9)

def fail(*_, **__):
    raise RuntimeError("boom")

def full(*_, **__):
    raise OSError(28, "No space left on device")

def lose(checkpoints):
    restore = checkpoints.restore_latest
    checkpoints.restore_latest = lambda *arguments: restore(*arguments) and None

def at_third_step(do):
    def batches(*arguments):
        for number, batch in enumerate(batches_of(*arguments)):
            if number == 2:
                do()
            yield batch
    train._batches_of = batches
"""

MENDED, DEFECT, ENDED, DIFFERENT, KILLED = 2, 1, 76, 78, -9

# Of each job: processes; the last one's own arguments and code, and the first one's code; exit
# codes of the first and the last; the line that every process says that was not killed.
JOBS: dict[str, tuple[int, list[str], str, str, tuple[int, int], str]] = {
    "seed": (
        *(2, ["--config.seed=1"], "", "", (DIFFERENT, DIFFERENT)),
        "process 1 of 2 has another config.seed: 1, not 0",
    ),
    "config": (
        *(4, ["--config.batch_size=8", "--config.epochs=9"], "", "", (DIFFERENT, DIFFERENT)),
        "process 3 of 4 has another config.batch_size: 8, not 16; process 3 of 4 has another"
        " config.epochs: 9, not 3",
    ),
    "data set": (
        *(2, ["--config.data.exclude={exclude}"], "", "", (DIFFERENT, DIFFERENT)),
        r"process 1 of 2 has another data\.train: (\w+)-less-1-\w+, not \1$",
    ),
    "workdir": (
        *(2, ["--workdir={tmp}/other"], "", "", (DIFFERENT, DIFFERENT)),
        r"process 1 of 2 has another workdir: \S+/other on \S+ \(not the same folder\), not \S+/wo",
    ),
    "flag": (
        *(2, ["--stop_after_steps=4"], "", "", (DIFFERENT, DIFFERENT)),
        "process 1 of 2 has another --stop_after_steps: 4, not None",
    ),
    "start": (
        *(2, ["--workdir={run}"], "lose(train.Checkpoints)", "", (DIFFERENT, DIFFERENT)),
        r"process 1 of 2 has another restored state: None, not \w+; process 1 of 2 has another"
        " step: 0, not 12",
    ),
    "wrong flag": (
        *(2, ["--config.batchsize=8"], "", "", (ENDED, MENDED)),
        "^error: (process 1 of 2: )?no such field of the config: .*batchsize",
    ),
    "dead before": (
        *(2, [], "die()", "", (ENDED, KILLED)),
        r"process 1 of 2 did not come to 127.0.0.1:\d+ within 8 s",
    ),
    "dead in the start": (
        *(2, [], "train.jax.distributed.initialize = die", "", (ENDED, KILLED)),
        "process 1 of 2 has ended without a word",
    ),
    "dead in a step": (
        *(4, [], "at_third_step(die)", "", (ENDED, KILLED)),
        "process 3 of 4 has ended without a word",
    ),
    "the first dead in a step": (
        *(4, [], "", "at_third_step(die)", (KILLED, ENDED)),
        "process 0 of 4 has ended without a word",
    ),
    "no data": (
        *(2, ["--config.data.prepared_dir=/none"], "", "", (ENDED, MENDED)),
        "process 1 of 2: no prepared pictures in /none/train",
    ),
    "not held": (
        *(2, [], "", "train.workdir.lock.locked = fail", (DEFECT, ENDED)),
        "process 0 of 2: RuntimeError: boom",
    ),
    "not claimed": (
        *(2, [], "train.workdir.claim = full", "", (ENDED, MENDED)),
        r"process 1 of 2: \[Errno 28\] No space left on device",
    ),
    "no checkpoints": (
        *(2, [], "train.Checkpoints.__init__ = fail", "", (ENDED, DEFECT)),
        "process 1 of 2: RuntimeError: boom",
    ),
    "fails in a step": (
        *(2, [], "at_third_step(fail)", "", (ENDED, DEFECT)),
        "process 1 of 2: RuntimeError: boom",
    ),
    "fails in validation": (
        *(2, [], "train.make_evaluator = lambda *_: fail", "", (ENDED, DEFECT)),
        "process 1 of 2: RuntimeError: boom",
    ),
    "not saved": (
        *(2, ["--stop_after_steps=2"], "", "train.Checkpoints.save = full", (MENDED, ENDED)),
        r"process 0 of 2: \[Errno 28\] No space left on device",
    ),
}


@pytest.fixture(scope="module")
def ended(
    prepared_pictures: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Any]:
    """[exit code, seconds, what it said] of each process of each job."""
    tmp = tmp_path_factory.mktemp("jobs")
    run, exclude = copied(tiny_run, tmp / "run"), tmp / "exclude.json"
    exclude.write_text(json.dumps({"keys": [open_prepared(prepared_pictures, "train").keys[0]]}))
    fields = OVERRIDES | {"data.prepared_dir": str(prepared_pictures)}
    common = ["train", "--config=configs/quickstart.py", "--start_timeout=8"]
    common += [f"--config.{field}={value}" for field, value in fields.items()]

    def filled(argument: str) -> str:
        return argument.format(tmp=tmp, run=run, exclude=exclude)

    jobs = {}
    for job, (count, own, last, first, *_) in JOBS.items():
        with socket.create_server(("127.0.0.1", 0)) as probe:
            where = [f"--coordinator=127.0.0.1:{probe.getsockname()[1]}", f"--processes={count}"]
        everyone = [f"--workdir={tmp}/workdir-{job.replace(' ', '_')}", *where]
        everyone += [one for one in own if one.split("=")[0] in SHARED.get(job, ())]
        jobs[job] = [
            [
                [
                    *common,
                    *everyone,
                    f"--process={number}",
                    *(map(filled, own) if number == count - 1 else ()),
                ],
                QUICK + {0: first, count - 1: last}.get(number, ""),
            ]
            for number in range(count)
        ]
        jobs[job] = [[list(map(filled, arguments)), code] for arguments, code in jobs[job]]
    done = subprocess.run(
        [sys.executable, "-c", FORK, tmp],
        cwd=ROOT,
        env=os.environ | simulated(1),
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Of the last one's arguments those that the others get too.
SHARED = {"start": ("--workdir",), "not saved": ("--stop_after_steps",)}


@pytest.mark.parametrize("job", JOBS)
def test_all_end_and_say_why(ended, job):
    count, *_, (first, last), line = JOBS[job]
    processes = ended[job]
    codes = [first, *[ENDED if ENDED in (first, last) else first] * (count - 2), last]
    assert [code for code, _, _ in processes] == codes, processes
    for code, _, said in processes:
        if code != KILLED:
            errors = [one for one in said.splitlines() if one.startswith("error: ")]
            assert len(errors) == 1, said
            assert re.search(line, errors[0]), errors
            assert ("Traceback" in said) == (code == DEFECT)
    seconds = [seconds for _, seconds, _ in processes]
    assert max(seconds) - min(seconds) < 20, seconds
