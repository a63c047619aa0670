"""What a sweep makes of Slurm's answers, from stand-ins; test_slurm.py has a real Slurm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ml_collections import ConfigDict

pytest.importorskip("submitit", reason="submitit is not installed")

from zfnet_jax.sweep.execute import Job
from zfnet_jax.sweep.plan import Run
from zfnet_jax.sweep.slurm import SlurmLauncher

SBATCH = """
number=$(($(cat jobs 2>/dev/null || echo 0) + 1)); echo $number > jobs
echo $(grep -o 'array=[0-9-]*' "$1") >> arrays
echo Submitted batch job $number
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the programs of Slurm that are given, by the bodies of shell scripts, and no others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for program in ("sh", "cat", "grep"):
        (folder / program).symlink_to(f"/bin/{program}")
    monkeypatch.setenv("PATH", str(folder))

    def make(**programs: str) -> None:
        for name, body in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{body}\n")
            (folder / name).chmod(0o755)

    return make


def launcher(tmp_path: Path) -> SlurmLauncher:
    return SlurmLauncher(tmp_path / "sweep", gpus_per_node=0, nodes=1, hours=1, sbatch={})


def runs(tmp_path: Path, count: int) -> list[Run]:
    names = [f"run_{i}" for i in range(count)]
    return [Run(x, x, tmp_path / "sweep" / x, "c.py", ConfigDict(), {}) for x in names]


@pytest.mark.parametrize(
    ("scontrol", "arrays", "jobs"),
    [
        ("echo 'MaxArraySize            = 3'", ["array=0-2", "array=0-2", ""], "1_0 1_2 2_1 3"),
        ("echo 'MaxArraySize = 0'", [""] * 7, "1 3 5 7"),  # no arrays
        ("exit 1", ["array=0-6"], "1_0 1_2 1_4 1_6"),
    ],
)
def test_an_array_over_the_limit_of_the_site_is_split(slurm, tmp_path, scontrol, arrays, jobs):
    slurm(srun="", sbatch=SBATCH, squeue="", scontrol=scontrol)
    made = launcher(tmp_path)
    made.start(runs(tmp_path, 7))
    assert (tmp_path / "arrays").read_text().splitlines() == arrays
    assert [made._jobs[f"run_{i}"] for i in (0, 2, 4, 6)] == jobs.split()
    assert len(set(made._jobs.values())) == 7


def test_a_part_that_is_refused_leaves_the_others(slurm, tmp_path):
    refused = """[ "$(cat jobs 2>/dev/null)" = 1 ] && {
        echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2
        echo 'sbatch: error: Batch job submission failed: Job violates policy' >&2
        exit 1
    }"""
    queue = 'for i in 0 1; do echo "1_$i|RUNNING|None"; done'
    scontrol = "echo MaxArraySize = 2"
    slurm(srun="", sbatch=refused + SBATCH, squeue=queue, scontrol=scontrol)
    made = launcher(tmp_path)
    made.start(runs(tmp_path, 4))
    said = (
        "not submitted: sbatch: error: QOSMaxSubmitJobPerUserLimit; sbatch: error: Batch job"
        " submission failed: Job violates policy"
    )
    assert made.poll() == {
        "run_0": Job("running", "job 1_0"),
        "run_1": Job("running", "job 1_1"),
        "run_2": Job("ended", said),
        "run_3": Job("ended", said),
    }
    assert set(made._jobs) == {"run_0", "run_1"}


def test_commands_that_are_not_there_are_named(slurm, tmp_path):
    slurm(srun="", sbatch="")
    with pytest.raises(ValueError, match="there is no squeue on this machine's path"):
        launcher(tmp_path)
    (tmp_path / "bin" / "srun").unlink()
    with pytest.raises(ValueError, match="there is no srun and no squeue"):
        launcher(tmp_path)


def test_what_squeue_says_in_place_of_an_answer_is_shown(slurm, tmp_path):
    slurm(srun="", sbatch=SBATCH, squeue="echo '1|RUNNING|None'")
    made = launcher(tmp_path)
    made.start(runs(tmp_path, 1))
    assert made.poll() == {"run_0": Job("running", "job 1")}
    away = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    slurm(squeue=f"echo '{away}' >&2; exit 1")
    assert made.poll() == {"run_0": Job("running", f"Slurm does not answer: {away}")}
    # A second sweep does not submit what may still be there.
    again = launcher(tmp_path)
    with pytest.raises(ValueError, match=r"some runs may be there: slurm_load_jobs error: Unable"):
        again.start(runs(tmp_path, 1))
    (tmp_path / "bin" / "squeue").unlink()
    notes = [job.note for job in made.poll().values()]
    assert notes == ["Slurm does not answer: squeue: No such file or directory"]
