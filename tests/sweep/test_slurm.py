"""Sweeps on a real Slurm: a controller and two nodes on loopback, in a temporary folder.

Debian has what it needs in slurm-wlm and munge; skipped where those are not installed or the user
is not root.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT
from zfnet_jax.sweep.lock import SLURM_JOBS
from zfnet_jax.training.metrics import read_metrics

pytest.importorskip("submitit", reason="submitit is not installed")

# The nodes are named by addresses, so that jax finds the first one as the coordinator.
NODES = ("127.0.0.1", "127.0.0.2")
SLURM_CONF = """
ClusterName=loopback
SlurmctldHost=localhost
SlurmUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SlurmdParameters=config_overrides
# Nothing waits for the next round.
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1,sched_min_interval=0
KillWait=1
GresTypes=gpu
NodeName={nodes[0]} NodeHostname=localhost Port={ports[1]} CPUs=8 Gres=gpu:4
NodeName={nodes[1]} NodeHostname=localhost Port={ports[2]} CPUs=8 Gres=gpu:4
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE
"""

# Devices that are everywhere, in place of cards: Slurm gives out their numbers.
GRES_CONF = """
AutoDetect=off
Name=gpu File=/dev/null
Name=gpu File=/dev/zero
Name=gpu File=/dev/random
Name=gpu File=/dev/urandom
"""

SWEEP = """
from pathlib import Path
from zfnet_jax.sweep.slurm import SlurmLauncher
from configs import quickstart
from tests.conftest import tiny

SlurmLauncher.seconds_between_polls = 0.5

def get_config():
    return tiny(quickstart.get_config(), Path({prepared!r}))

def sweep(add):
    add("one", {{}})
    if {runs} > 1:
        add("twin", {{"checkpoint.keep_latest": 3}})  # trains the same steps
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def run(*command: str, **options: object) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert result.returncode == 0, f"{command}: {result.stderr or result.stdout}"
    return result.stdout


def wait_for(what: str, condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} seconds"
        time.sleep(0.1)


def losses(folder: Path) -> list[float]:
    return [record["train/loss"] for record in read_metrics(folder)]


def kill_processes(argument: str, variable: str) -> None:
    """SIGKILL to the processes with this in their command line and environment."""
    for process in Path("/proc").iterdir():
        try:
            command, environment = (
                (process / name).read_bytes().split(b"\0") for name in ("cmdline", "environ")
            )
        except OSError:  # no process, or gone meanwhile
            continue
        if argument.encode() in command and variable.encode() in environment:
            os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A running Slurm; the environment of its clients."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
    path = os.environ["PATH"] + ":/usr/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing:
        pytest.skip(f"Slurm is not installed (Debian: slurm-wlm munge): no {', '.join(missing)}")
    if os.geteuid():
        pytest.skip("starting Slurm takes root")
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    for name in ("munge", "state"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge" / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    configuration = SLURM_CONF.format(folder=folder, ports=free_ports(3), nodes=NODES)
    (folder / "slurm.conf").write_text(configuration)
    (folder / "gres.conf").write_text(GRES_CONF)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    options = {"socket": "munge.socket", "pid-file": "munge/munged.pid"}
    options |= {"log-file": "munge/munged.log", "seed-file": "munge/seed", "key-file": key}
    # --force: the sockets' folder belongs to the user who runs the tests.
    munged = ["munged", "--force", *(f"--{name}={folder / at}" for name, at in options.items())]
    try:
        for command in (munged, ["slurmctld"], *(["slurmd", "-N", node] for node in NODES)):
            run(*command, env=environment)
        wait_for(
            "idle nodes",
            lambda: "idle:2" in run("sinfo", "--noheader", "--format=%T:%D", env=environment),
        )
        yield environment
    finally:
        for command in (["scontrol", "shutdown"], [*munged, "--stop"]):
            subprocess.run(command, env=environment, capture_output=True, timeout=60)


JOB = """
import os
from zfnet_jax.launch import recognise
job = recognise(os.environ)
print(job and (job.processes, job.process, job.local_device_ids))
"""


@pytest.mark.parametrize(
    ("options", "processes"),
    [
        # One task per node, which has all of its GPUs.
        ("--nodes=1 --ntasks=1 --gpus-per-node=4", [None]),
        ("--nodes=2 --ntasks-per-node=1 --gpus-per-node=4", [(2, 0, None), (2, 1, None)]),
        # One per GPU, all seen by all; or each sees its own.
        ("--nodes=1 --ntasks=4 --gres=gpu:4", [(4, n, (n,)) for n in range(4)]),
        ("--nodes=1 --ntasks=4 --gpus-per-task=1", [(4, n, None) for n in range(4)]),
        ("--nodes=1 --ntasks=2 --gpus-per-node=4", [(2, 0, (0, 1)), (2, 1, (2, 3))]),
    ],
)
def test_each_task_takes_its_own_gpus(slurm: dict[str, str], options: str, processes: list):
    command = ["srun", "--label", *options.split(), sys.executable, "-c", JOB]
    said = run(*command, cwd=ROOT, env=slurm).splitlines()
    assert sorted(said) == [f"{n}: {each}" for n, each in enumerate(processes)]


FULL_DISK = """
from zfnet_jax.sweep import slurm

def full(*_):
    raise OSError(28, "No space left on device")

slurm.write_json = full
"""


def start_sweep(
    folder: Path,
    prepared: Path,
    environment: dict[str, str],
    *arguments: str,
    runs: int,
    more: str = "",
) -> forked.Popen:
    """`more`: code at the end of the sweep's config file."""
    config = folder / "config.py"
    config.write_text(SWEEP.format(prepared=str(prepared), runs=runs) + more)
    command = [sys.executable, "-m", "scripts.sweep", f"--config={config}", "--launcher=slurm"]
    command += [f"--workdir={folder / 'sweep'}", "--devices_per_run=0", "--hours_per_job=1"]
    return forked.Popen([*command, *arguments], env=environment | {"JAX_PLATFORMS": "cpu"})


@pytest.mark.slow
def test_jobs_that_are_killed_or_told_to_stop_are_requeued_and_all_runs_finish(
    slurm: dict[str, str], prepared_pictures: Path, tmp_path: Path
):
    directory = tmp_path / "sweep"
    one, twin = directory / "one", directory / "twin"

    def start() -> forked.Popen:
        return start_sweep(tmp_path, prepared_pictures, slurm, "--config.epochs=25", runs=2)

    sweep = start()
    try:
        metrics = one / "metrics.jsonl"
        wait_for("three epochs", lambda: metrics.exists() and len(losses(one)) >= 3)
        wait_for("an epoch", lambda: (twin / "metrics.jsonl").exists() and losses(twin))
        jobs = json.loads((directory / SLURM_JOBS).read_text())
        array = jobs["one"].partition("_")[0]
        assert jobs == {"one": f"{array}_0", "twin": f"{array}_1"}
        run("scontrol", "requeue", jobs["one"], env=slurm)
        kill_processes(str(directory / "slurm"), "SLURM_ARRAY_TASK_ID=0")  # no time for a farewell
        # What Slurm sends before the time limit: the training saves, submitit requeues the job.
        run("scancel", "--signal=USR2", jobs["twin"], env=slurm)
        # Killing the sweep leaves its jobs to Slurm; the same command finds them again.
        sweep.terminate()
        output, errors = sweep.communicate(timeout=60)
        said = "error: stopped: the same command goes on; jobs go on in Slurm"
        assert errors.startswith(said), output
        both = ["squeue", "--noheader", "--array", "--states=PENDING", "--format=%i"]
        wait_for("two requeues", lambda: len(run(*both, env=slurm).split()) == 2)
        assert 3 <= len(losses(one)) < 25

        sweep = start()
        # Slurm lets a requeued job wait for two minutes, unless it is told otherwise.
        for job in jobs.values():
            run("scontrol", "update", f"JobId={job}", "StartTime=now", env=slurm)
        output, errors = sweep.communicate(timeout=300)
    finally:
        sweep.kill()
    assert errors == ""
    assert f"2 of 2 runs are finished; they lie in {directory}" in output
    final = {line.split()[0]: line.split()[1] for line in output.splitlines() if "25/25" in line}
    assert final == {"one": "finished", "twin": "finished"}
    for job in jobs.values():
        assert "Restarts=1" in run("scontrol", "show", "job", job, env=slurm)
    assert re.search(r"stopped by SIGUSR2: saved at step \d+", (twin / "train.log").read_text())
    assert json.loads((directory / SLURM_JOBS).read_text()) == {}
    # However they were stopped, they trained the same steps.
    assert losses(one) == pytest.approx(losses(twin), rel=1e-5)
    assert len(losses(one)) == 25
    assert (one / "train.log").read_text().count("epoch  1/25") == 1


@pytest.mark.slow
def test_a_run_on_two_nodes_or_in_two_tasks_is_one_training(
    slurm: dict[str, str], prepared_pictures: Path, tiny_run: Path, tmp_path: Path
):
    sweep = start_sweep(tmp_path, prepared_pictures, slurm, "--nodes_per_run=2", runs=1)
    # At the same time two tasks of one node, without a sweep.
    config = f"--config={tmp_path / 'config.py'}"
    train = ("srun", "--nodes=1", "--ntasks=2", sys.executable, "-m", "scripts.train", config)
    environment = slurm | {"JAX_PLATFORMS": "cpu"}
    said = run(*train, f"--workdir={tmp_path / 'two'}", cwd=ROOT, env=environment)
    assert said.count("the run lies in") == 1
    output, errors = sweep.communicate(timeout=300)
    assert errors == ""
    assert "1 of 1 runs are finished" in output
    for folder in (tmp_path / "sweep" / "one", tmp_path / "two"):
        devices = json.loads((folder / "run.json").read_text())["devices"]
        assert (devices["processes"], devices["count"]) == (2, 2)
        assert losses(folder) == pytest.approx(losses(tiny_run), rel=1e-3)


def test_what_sbatch_refuses_is_said(
    slurm: dict[str, str], prepared_pictures: Path, tmp_path: Path
):
    sweep = start_sweep(tmp_path, prepared_pictures, slurm, "--sbatch=partition=moon", runs=1)
    output, errors = sweep.communicate(timeout=60)
    assert sweep.returncode == 1
    assert "failed: one: not submitted" in output, errors
    assert "invalid partition" in output.lower()


@pytest.mark.slow
def test_a_run_that_fails_is_submitted_once_more_and_reported(
    slurm: dict[str, str], prepared_pictures: Path, tmp_path: Path
):
    wrong = "--config.optimizer.accumulation=3"
    sweep = start_sweep(tmp_path, prepared_pictures, slurm, wrong, runs=1)
    output, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 1
    reason = r"failed: one: Slurm says FAILED of job \d+: error: a batch of 16 .* a multiple of 3"
    assert re.search(reason, output)
    assert (tmp_path / "sweep" / "one" / "train.log").read_text().count("a multiple of 3") == 2
    assert json.loads((tmp_path / "sweep" / SLURM_JOBS).read_text()) == {}


def test_jobs_that_cannot_be_noted_are_cancelled(
    slurm: dict[str, str], prepared_pictures: Path, tmp_path: Path
):
    sweep = start_sweep(tmp_path, prepared_pictures, slurm, runs=1, more=FULL_DISK)
    output, _ = sweep.communicate(timeout=60)
    assert "failed: one: not submitted: [Errno 28] No space left on device" in output
    queue = ["squeue", "--noheader", "--states=PENDING,RUNNING", "--format=%j"]
    wait_for("an empty queue", lambda: "sweep" not in run(*queue, env=slurm))
