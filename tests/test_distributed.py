"""Jobs of two and four processes of which one differs, fails or dies: all end, and say why.

One process forks all of them, after the slow imports, and their train step is a word to the others.
"""

from __future__ import annotations

import dataclasses
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

from tests.conftest import OVERRIDES, ROOT, SHALLOW, copied, simulated
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
        exec(before, {"arguments": arguments})
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
from zfnet_jax.training import job as prepared, train

def quick(step):
    def watched(state, healthy, mean, batch):
        return state, healthy, lax.pmean(jnp.float32(1), parallel.AXIS)
    return watched

train.nonfinite.watched = quick
batches_of = prepared.Job.batches

def die(*_, **__):
    os.kill(os.getpid(), 9)

def fail(*_, **__):
    raise RuntimeError("boom")

def full(*_, **__):
    raise OSError(28, "No space left on device")

def lose(checkpoints):
    restore = checkpoints.restore_latest
    checkpoints.restore_latest = lambda *arguments: restore(*arguments) and None

def mine_others():
    from zfnet_jax.studies.features import study
    subject = study.Subject
    study.Subject = lambda *its, **more: subject(*its[:3], {"fingerprint": "another"}, **more)

def at_third_step(do):
    def batches(*arguments):
        for number, batch in enumerate(batches_of(*arguments)):
            if number == 2:
                do()
            yield batch
    prepared.Job.batches = batches
"""

# Where JAX finds the others by itself, as on a TPU.
POD = """
import functools
from zfnet_jax import distributed, launch
given = dict(one[2:].split("=") for one in arguments if one.startswith(("--coord", "--process")))
distributed.launch.recognise = lambda *_: launch.CLOUD_TPU
distributed.jax.distributed.initialize = functools.partial(
    distributed.jax.distributed.initialize,
    given["coordinator"], int(given["processes"]), int(given["process"]),
)
"""

MENDED, DEFECT, ENDED, DIFFERENT, KILLED = 2, 1, 76, 78, -9


@dataclasses.dataclass(frozen=True)
class Job:
    """A job whose last process differs, or whose first or last one is made to fail.

    Attributes:
      codes: exit codes of the first and the last process.
      said: by every process that is not killed, in one line.
      own: arguments that the last process alone has.
      last, first: code that is run in it before.
      shared: further arguments of all processes.
    """

    codes: tuple[int, int]
    said: str
    own: tuple[str, ...] = ()
    last: str = ""
    first: str = ""
    processes: int = 2
    script: str = "train"
    shared: tuple[str, ...] = ()


JOBS = {
    # Another seed, config, data set, workdir, flag, start.
    "seed": Job(
        codes=(DIFFERENT, DIFFERENT),
        said="process 1 of 2 has another config.seed: 1, not 0",
        own=("--config.seed=1",),
    ),
    "seed on a pod": Job(
        codes=(DIFFERENT, DIFFERENT),
        said="process 1 of 2 has another config.seed: 1, not 0",
        own=("--config.seed=1",),
        last=POD,
        first=POD,
    ),
    "config": Job(
        codes=(DIFFERENT, DIFFERENT),
        said="process 3 of 4 has another config.batch_size: 8, not 16; process 3 of 4 has another"
        " config.epochs: 9, not 3",
        own=("--config.batch_size=8", "--config.epochs=9"),
        processes=4,
    ),
    "data set": Job(
        codes=(DIFFERENT, DIFFERENT),
        said=r"process 1 of 2 has another data\.train: (\w+)-less-1-\w+, not \1$",
        own=("--config.data.exclude={exclude}",),
    ),
    "workdir": Job(
        codes=(DIFFERENT, DIFFERENT),
        said=r"process 1 of 2 has another workdir: \S+/other on \S+ \(not the same folder",
        own=("--workdir={tmp}/other",),
    ),
    "flag": Job(
        codes=(DIFFERENT, DIFFERENT),
        said="process 1 of 2 has another --stop_after_steps: 4, not None",
        own=("--stop_after_steps=4",),
    ),
    "start": Job(
        codes=(DIFFERENT, DIFFERENT),
        said=r"process 1 of 2 has another restored state: None, not \w+; process 1 of 2 has another"
        " step: 0, not 12",
        last="lose(train.Checkpoints)",
        shared=("--workdir={run}",),
    ),
    "workdir of a study": Job(
        codes=(DIFFERENT, DIFFERENT),
        said=r"process 1 of 2 has another workdir: \S+/copy on",
        own=("--workdir={copy}",),
        script="mine",
        shared=("--workdir={run}",),
    ),
    "images of a study": Job(
        codes=(DIFFERENT, DIFFERENT),
        said=r"process 1 of 2 has another result\.data\.fingerprint: another, not \w+",
        last="mine_others()",
        script="mine",
        shared=("--workdir={run}",),
    ),
    # Dead before the start, in it, after it.
    "dead before": Job(
        codes=(ENDED, KILLED),
        said=r"process 1 of 2 did not come to 127.0.0.1:\d+ within 8 s",
        last="die()",
    ),
    "dead in the start": Job(
        codes=(ENDED, KILLED),
        said="process 1 of 2 has ended without a word",
        last="train.jax.distributed.initialize = die",
    ),
    "dead in a step": Job(
        codes=(ENDED, KILLED),
        said="process 3 of 4 has ended without a word",
        last="at_third_step(die)",
        processes=4,
    ),
    "the first dead in a step": Job(
        codes=(KILLED, ENDED),
        said="process 0 of 4 has ended without a word",
        first="at_third_step(die)",
        processes=4,
    ),
    # An error, wherever it is raised.
    "wrong flag": Job(
        codes=(ENDED, MENDED),
        said="^error: (process 1 of 2: )?no such field of the config: .*batchsize",
        own=("--config.batchsize=8",),
    ),
    "no data": Job(
        codes=(ENDED, MENDED),
        said="process 1 of 2: no prepared pictures in /none/train",
        own=("--config.data.prepared_dir=/none",),
    ),
    "all refuse": Job(
        codes=(MENDED, MENDED),
        said="process . of 2: .* holds a run of another config: model.conv5.maps is 12 there",
        shared=("--workdir={run}", "--config.model.conv5.maps=13"),
    ),
    "not held": Job(
        codes=(DEFECT, ENDED),
        said="process 0 of 2: RuntimeError: boom",
        first="train.workdir.lock.locked = fail",
    ),
    "not claimed": Job(
        codes=(ENDED, MENDED),
        said=r"process 1 of 2: \[Errno 28\] No space left on device",
        last="train.workdir.claim = full",
    ),
    "no checkpoints": Job(
        codes=(ENDED, DEFECT),
        said="process 1 of 2: RuntimeError: boom",
        last="train.Checkpoints.__init__ = fail",
    ),
    "fails in a step": Job(
        codes=(ENDED, DEFECT),
        said="process 1 of 2: RuntimeError: boom",
        last="at_third_step(fail)",
    ),
    "fails in validation": Job(
        codes=(ENDED, DEFECT),
        said="process 1 of 2: RuntimeError: boom",
        last="prepared.make_evaluator = lambda *_: fail",
    ),
    "not saved": Job(
        codes=(MENDED, ENDED),
        said=r"process 0 of 2: \[Errno 28\] No space left on device",
        first="train.Checkpoints.save = full",
        shared=("--stop_after_steps=2",),
    ),
}

ONE_OF_EACH_KIND = ("seed", "dead in the start", "fails in a step")  # not slow

EVERY = [
    pytest.param(job, marks=() if job in ONE_OF_EACH_KIND else pytest.mark.slow) for job in JOBS
]


@pytest.fixture(scope="module")
def ended(
    request: pytest.FixtureRequest,
    prepared_pictures: Path,
    shallow_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, Any]:
    """[exit code, seconds, what it said] of each process of each job that is asked for."""
    here = (item for item in request.session.items if item.module.__name__ == __name__)
    asked = {item.callspec.params["job"] for item in here}
    tmp = tmp_path_factory.mktemp("jobs")
    exclude = tmp / "exclude.json"
    exclude.write_text(json.dumps({"keys": [open_prepared(prepared_pictures, "train").keys[0]]}))
    run, copy = copied(shallow_run, tmp / "run"), copied(shallow_run, tmp / "copy")
    fields = OVERRIDES | SHALLOW | {"data.prepared_dir": str(prepared_pictures)}
    config = [f"--config.{field}={value}" for field, value in fields.items()]

    def processes(name: str, job: Job) -> list[tuple[list[str], str]]:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"--coordinator=127.0.0.1:{probe.getsockname()[1]}"
        everyone = [job.script, "--start_timeout=8", address, f"--processes={job.processes}"]
        if job.script == "train":
            workdir = f"--workdir={{tmp}}/{name.replace(' ', '_')}"
            everyone += ["--config=configs/quickstart.py", *config, workdir]
        last, made = job.processes - 1, []
        for number in range(job.processes):
            arguments = [*everyone, *job.shared, f"--process={number}"]
            arguments += job.own if number == last else ()
            filled = [one.format(tmp=tmp, run=run, copy=copy, exclude=exclude) for one in arguments]
            made.append((filled, QUICK + {0: job.first, last: job.last}.get(number, "")))
        return made

    done = subprocess.run(
        [sys.executable, "-c", FORK, tmp],
        cwd=ROOT,
        env=os.environ | simulated(1),
        input=json.dumps(
            {name: processes(name, job) for name, job in JOBS.items() if name in asked}
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("job", EVERY)
def test_all_end_and_say_why(ended, job):
    first, last = JOBS[job].codes
    others = ENDED if ENDED in (first, last) else first
    processes = ended[job]
    codes = [first, *[others] * (JOBS[job].processes - 2), last]
    assert [code for code, _, _ in processes] == codes, processes
    for code, _, said in processes:
        if code != KILLED:
            errors = [one for one in said.splitlines() if one.startswith("error: ")]
            assert len(errors) == 1, said
            assert re.search(JOBS[job].said, errors[0]), errors
            assert ("Traceback" in said) == (code == DEFECT)
    seconds = [seconds for _, seconds, _ in processes]
    assert max(seconds) - min(seconds) < 20, seconds
