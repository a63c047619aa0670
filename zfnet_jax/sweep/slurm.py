"""Runs of a sweep as jobs of Slurm, through submitit: the only file that imports it.

The jobs are Slurm's: they outlive the sweep that submitted them, and the same command finds them
again by what `slurm_jobs.json` in the sweep's folder says. A job that is preempted, loses its node
or reaches its time limit is requeued and goes on from its run's last checkpoint. Its state comes
from squeue, which needs no accounting database.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from zfnet_jax import entry, extras
from zfnet_jax.files import write_json
from zfnet_jax.sweep.execute import Job
from zfnet_jax.sweep.lock import SLURM_JOBS
from zfnet_jax.sweep.plan import Run
from zfnet_jax.training.preemption import PreemptedError

try:
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError
except ImportError:
    raise extras.missing("submitit", "slurm") from None

# How often a run may reach the time limit; an end, so that one that gets nowhere stops some day.
_MAX_TIMEOUTS = 100
_MAX_ARRAY_SIZE = 1001  # Slurm's own, of a site that does not say
_SECONDS_TO_ANSWER = 60.0
_QUEUED = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
_AT_WORK = ("RUNNING", "COMPLETING", "STAGE_OUT", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING")


class _NoAnswerError(Exception):
    """Slurm did not answer; what it or the system said instead, in one line."""


class Training(submitit.helpers.Checkpointable):
    """What a process of a job does: scripts.train, in this process.

    In this process, so that submitit's handlers of Slurm's signals hold for it before and after the
    training itself, which saves when it is told to stop. After the signal before the time limit
    submitit then requeues the job. After SIGTERM (a preemption, scancel) Slurm decides what becomes
    of the job, which waits for its end: a job that ends by itself would not be requeued.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self.arguments = list(arguments)
        self.log = log

    def __call__(self) -> None:
        process = int(os.environ.get("SLURM_PROCID", "0"))
        log = self.log if process == 0 else self.log.with_suffix(f".{process}.log")
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            entry.run("train", self.arguments)
        except SystemExit as end:  # how a script ends, also well
            if isinstance(end.__cause__, PreemptedError):
                _wait_for_slurm(end.__cause__.number)
            if end.code:
                raise


class SlurmLauncher:
    """An array job per submission, a run per task of the array; several if it is over the site's
    limit.

    A run on several nodes is one process per GPU (or per node, without GPUs) joined through
    jax.distributed; on one node it is one process with all of its GPUs.

    Args:
      directory: the sweep's folder, on a disk that all nodes share.
      gpus_per_node: of each run; 0 for none.
      nodes: of each run.
      hours: time limit of a job.
      sbatch: further options of sbatch by name, such as {'partition': 'gpu'}.

    Raises:
      ValueError: there is no Slurm here, or not all of it.
    """

    seconds_between_polls = 5.0

    def __init__(
        self,
        directory: Path,
        *,
        gpus_per_node: int,
        nodes: int,
        hours: float,
        sbatch: Mapping[str, str | bool],
    ) -> None:
        directory = Path(directory).absolute()
        self._jobs_path = directory / SLURM_JOBS
        self._jobs: dict[str, str] = {}  # job by run, all that were submitted and not collected
        if self._jobs_path.exists():
            self._jobs = json.loads(self._jobs_path.read_text())
        self._in_hand: dict[str, Run] = {}
        self._not_submitted: dict[str, str] = {}
        self._absent: set[str] = set()
        self._seen: dict[str, Job] = {}  # what `poll` last said of those in hand
        # Its own for each sweep, so that squeue can be asked for just these.
        digest = hashlib.sha256(str(directory).encode()).hexdigest()[:8]
        self._name = f"sweep-{directory.name}-{digest}"
        missing = [name for name in ("srun", "sbatch", "squeue") if not shutil.which(name)]
        if missing:
            raise ValueError(
                f"--launcher=slurm, but there is no {' and no '.join(missing)} on this machine's"
                " path: are Slurm's commands elsewhere (module load slurm)?"
            )
        self._executor = submitit.SlurmExecutor(directory / "slurm", _MAX_TIMEOUTS)
        several = nodes > 1
        self._executor.update_parameters(
            job_name=self._name,
            time=max(1, round(60 * hours)),
            nodes=nodes,
            ntasks_per_node=max(1, gpus_per_node) if several else 1,
            **({"gpus_per_node": gpus_per_node} if gpus_per_node else {}),
            # Processes of a run end together by themselves, unless JAX itself hangs in one.
            srun_args=["--kill-on-bad-exit=1"],
            additional_parameters={"requeue": True} | dict(sbatch),
        )

    def room(self) -> int:
        return sys.maxsize

    def start(self, runs: Sequence[Run]) -> None:
        """Submits the runs, but for those whose job is still with Slurm from an earlier sweep."""
        try:
            queue = self._squeue()
        except _NoAnswerError as silence:
            if any(run.name in self._jobs for run in runs):
                raise ValueError(
                    f"Slurm does not answer, and some runs may be there: {silence}; try again"
                ) from None
            queue = {}
        new = [run for run in runs if not _alive(queue, self._jobs.get(run.name))]
        self._in_hand |= {run.name: run for run in runs}
        limit = _max_array_size() if len(new) > 1 else 1
        for first in range(0, len(new), limit):
            array = new[first : first + limit]
            try:
                with self._executor.batch():
                    jobs = []
                    for run in array:
                        run.folder.mkdir(parents=True, exist_ok=True)
                        training = Training(run.arguments, run.log.absolute())
                        jobs.append(self._executor.submit(training))
                self._remember({run.name: job for run, job in zip(array, jobs, strict=True)})
            except (OSError, FailedJobError, FailedSubmissionError) as error:
                said = f"not submitted: {_one_line(str(error)) or 'sbatch said nothing'}"
                self._not_submitted |= {run.name: said for run in array}

    def poll(self) -> dict[str, Job]:
        jobs = {name: Job("ended", error) for name, error in self._not_submitted.items()}
        self._not_submitted.clear()
        try:
            queue = self._squeue()
        except _NoAnswerError as silence:
            for name in self._in_hand.keys() - jobs.keys():
                state = self._seen.get(name, Job("queued")).state
                jobs[name] = Job(state, f"Slurm does not answer: {silence}")
            return self._collect(jobs)
        for name in self._in_hand.keys() - jobs.keys():
            state, reason = queue.get(self._jobs[name], ("", ""))
            if state in _QUEUED:
                jobs[name] = Job("queued", f"Slurm: {reason}")
            elif state in _AT_WORK:
                jobs[name] = Job("running", f"job {self._jobs[name]}")
            elif state or name in self._absent:
                how = f"Slurm says {state or 'no more'} of job {self._jobs[name]}"
                jobs[name] = Job("ended", how, again=state != "CANCELLED")
            else:  # on its way in or out: believed when it is absent a second time
                self._absent.add(name)
        self._absent -= jobs.keys()
        self._seen |= jobs
        # Those that ended well while no sweep looked on are in nobody's hands.
        unseen = self._jobs.keys() - self._in_hand.keys()
        return self._collect(jobs, {x for x in unseen if not _alive(queue, self._jobs[x])})

    def stop(self) -> None:
        """Leaves the jobs to Slurm."""

    def _remember(self, jobs: Mapping[str, submitit.Job[Any]]) -> None:
        """Notes submitted jobs; cancels them if it cannot, else a later sweep would double them."""
        known = self._jobs | {name: job.job_id for name, job in jobs.items()}
        try:
            write_json(self._jobs_path, known)
        except OSError:
            for job in jobs.values():
                job.cancel(check=False)
            raise
        self._jobs = known

    def _collect(self, jobs: dict[str, Job], unseen: Collection[str] = ()) -> dict[str, Job]:
        """Lets go of the jobs that have ended, of this sweep and `unseen` ones."""
        ended = {name for name, job in jobs.items() if job.state == "ended"}
        for name in ended:
            del self._in_hand[name]
            self._seen.pop(name, None)
        left = {n: job for n, job in self._jobs.items() if n not in ended and n not in unseen}
        if left != self._jobs:
            self._jobs = left
            write_json(self._jobs_path, left)
        return jobs

    def _squeue(self) -> dict[str, tuple[str, str]]:
        """State and reason of this sweep's jobs, those that ended lately included."""
        command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r"]
        command += [f"--user={getpass.getuser()}", f"--name={self._name}"]
        rows = (line.strip().split("|") for line in _ask(*command).splitlines())
        return {job: (state, reason) for job, state, reason in rows}


def _max_array_size() -> int:
    """How many tasks an array may have here; 1 where arrays are turned off."""
    try:
        said = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.M)
    except _NoAnswerError:
        said = None
    return max(1, int(said[1])) if said else _MAX_ARRAY_SIZE


def _ask(*command: str) -> str:
    """What a command of Slurm's prints. _NoAnswerError: it failed."""
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_SECONDS_TO_ANSWER
        )
    except subprocess.TimeoutExpired:
        raise _NoAnswerError(f"{command[0]} took over {_SECONDS_TO_ANSWER:.0f} s") from None
    except OSError as error:
        raise _NoAnswerError(f"{command[0]}: {error.strerror}") from None
    if answer.returncode:
        said = _one_line(answer.stderr + answer.stdout)
        raise _NoAnswerError(said or f"{command[0]} ended with {answer.returncode}")
    return answer.stdout


def _one_line(text: str) -> str:
    """What Slurm said, without submitit's lines around it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    slurms = [line for line in lines if re.match(r"(sbatch|srun|squeue|scontrol|slurm_)", line)]
    return "; ".join(dict.fromkeys(slurms or lines[-1:]))


def _wait_for_slurm(number: int) -> None:
    """After a signal that was heeded: lets submitit's handler have it, and waits for the end."""
    signal.raise_signal(number)
    while True:
        signal.pause()


def _alive(queue: Mapping[str, tuple[str, str]], job: str | None) -> bool:
    return queue.get(job or "", ("", ""))[0] in (*_QUEUED, *_AT_WORK)
