"""Launchers, from the environments that they make (Slurm 22.05, Open MPI 4.1.8 and 5.0.11, torchrun
2.13), to the GPUs that a process takes. tests/sweep/test_slurm.py has a real Slurm."""

from __future__ import annotations

import jax
import pytest
from jax._src.clusters import OmpiCluster, SlurmCluster

from zfnet_jax import distributed, launch, meeting
from zfnet_jax.launch import Job, recognise

GIVEN = "what was given"


def slurm(
    process: int, tasks: str, *, gpus: int | None = None, seen: str | None = None
) -> dict[str, str]:
    """A task of srun on nodes n1, n2, ... with `tasks` on them, as '2(x2)'.

    Args:
      gpus: of the job on each node; None where Slurm knows none.
      seen: CUDA_VISIBLE_DEVICES; all of the node if not given.
    """
    nodes = {"1": [1], "2": [2], "4": [4], "8": [8], "1(x2)": [1, 1], "2(x2)": [2, 2]}[tasks]
    node = next(i for i in range(len(nodes)) if process < sum(nodes[: i + 1]))
    result = {
        "SLURM_JOB_ID": "5000",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "n1" if len(nodes) == 1 else f"n[1-{len(nodes)}]",
        "SLURM_NTASKS": str(sum(nodes)),
        "SLURM_STEP_NUM_TASKS": str(sum(nodes)),
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process - sum(nodes[:node])),
        "SLURM_NODEID": str(node),
        "SLURM_STEP_TASKS_PER_NODE": tasks,
    }
    if gpus is not None:
        every = ",".join(map(str, range(gpus)))
        result |= {"SLURM_GPUS_ON_NODE": str(gpus), "CUDA_VISIBLE_DEVICES": seen or every}
    return result


def open_mpi(process: int, local: int, processes: int, beside: int) -> dict[str, str]:
    return {
        "OMPI_COMM_WORLD_SIZE": str(processes),
        "OMPI_COMM_WORLD_RANK": str(process),
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(beside),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(local),
    }


URI_4 = "1852178432.0;tcp://192.0.2.2,10.0.0.2:41909;tcp6://[fd00::2]:48635"
OPEN_MPI_4 = {"OMPI_MCA_orte_hnp_uri": URI_4, "PMIX_NAMESPACE": "1852178433"}
OPEN_MPI_5 = {"PMIX_NAMESPACE": "prterun-gpu-node-1-32554@1", "PMIX_HOSTNAME": "gpu-node-1"}


def torchrun(process: int, local: int, processes: int, beside: int) -> dict[str, str]:
    return {
        "MASTER_ADDR": "n1",
        "MASTER_PORT": "29500",
        "WORLD_SIZE": str(processes),
        "RANK": str(process),
        "LOCAL_RANK": str(local),
        "LOCAL_WORLD_SIZE": str(beside),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


ALL = None


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        # One task per node: all GPUs of the node.
        (slurm(0, "1(x2)", gpus=4), ALL),
        (slurm(1, "1(x2)", gpus=4), ALL),
        # One per GPU, all see all: --ntasks-per-node=4 --gpus-per-node=4, or --gres=gpu:4.
        (slurm(0, "4", gpus=4), (0,)),
        (slurm(3, "4", gpus=4), (3,)),
        (slurm(3, "2(x2)", gpus=2), (1,)),
        # Fewer tasks than GPUs.
        (slurm(0, "2(x2)", gpus=4), (0, 1)),
        (slurm(3, "2(x2)", gpus=4), (2, 3)),
        # --gpus-per-task and --gpu-bind: each sees its own, counted anew in cgroups or not.
        (slurm(3, "4", gpus=4, seen="3"), ALL),
        (slurm(3, "4", gpus=4, seen="0"), ALL),
        (slurm(1, "2", gpus=4, seen="2,3"), ALL),
        (slurm(1, "2", gpus=4, seen="GPU-5f3c,GPU-77aa"), ALL),
        # Slurm that knows no GPUs: those of the machine, else one each as jax takes them.
        (slurm(1, "2"), (1,)),
        # No GPUs are used.
        (slurm(1, "2", gpus=3) | {"JAX_PLATFORMS": "cpu"}, ALL),
        (slurm(1, "2") | {"CUDA_VISIBLE_DEVICES": ""}, ALL),
        # jax reads this one.
        (slurm(1, "2", gpus=4) | {"JAX_LOCAL_DEVICE_IDS": "3"}, ALL),
        (OPEN_MPI_4 | open_mpi(3, 1, 4, 2), (1,)),
        (OPEN_MPI_5 | open_mpi(3, 1, 4, 2), (1,)),
        (OPEN_MPI_5 | open_mpi(3, 1, 4, 2) | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, (2, 3)),
        (OPEN_MPI_5 | open_mpi(3, 1, 4, 2) | {"CUDA_VISIBLE_DEVICES": "1"}, ALL),
        (OPEN_MPI_5 | open_mpi(1, 0, 2, 1), ALL),
        (torchrun(3, 1, 4, 2), (1,)),
        (torchrun(1, 0, 2, 1), ALL),
        (torchrun(1, 1, 2, 2) | {"CUDA_VISIBLE_DEVICES": "4,5"}, (1,)),
    ],
)
def test_the_gpus_of_a_process(environment, devices):
    job = recognise(environment)
    assert job
    assert job.local_device_ids == devices


def test_what_the_launcher_does_not_say_of_gpus_the_machine_does():
    assert recognise(slurm(1, "2"), gpus=8).local_device_ids == (4, 5, 6, 7)
    assert recognise(OPEN_MPI_5 | open_mpi(0, 0, 4, 4), gpus=8).local_device_ids == (0, 1)
    two_of_eight = torchrun(1, 1, 2, 2) | {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert recognise(two_of_eight, gpus=8).local_device_ids == (1,)


@pytest.mark.parametrize(
    "environment",
    [
        slurm(0, "2", gpus=3),  # do not divide
        slurm(0, "8", gpus=4),  # more processes than GPUs
        slurm(0, "8", gpus=8, seen="0,1,2,3"),  # --gpu-bind=closest: shared with some
    ],
)
def test_gpus_that_cannot_be_shared_are_refused(environment):
    with pytest.raises(ValueError, match=r"processes on this node see \d of its \d GPUs"):
        recognise(environment)


def test_slurm_says_where_process_0_is():
    job = recognise(slurm(3, "2(x2)", gpus=2))
    assert job == Job("Slurm", f"n1:{61440 + 5000 % 4096}", 4, 3, (1,))
    step = slurm(0, "1(x2)") | {"SLURM_STEP_ID": "2"}
    assert recognise(step).coordinator != recognise(slurm(0, "1(x2)")).coordinator
    given = slurm(0, "1(x2)") | {"JAX_COORDINATOR_PORT": "1234"}
    assert recognise(given).coordinator == "n1:1234"
    # What jax's own detection cuts short.
    for nodes, first in {"r[1-2]c[03-04],x": "r1c03", "gpu[07,09]-ib": "gpu07-ib"}.items():
        there = slurm(0, "1(x2)") | {"SLURM_STEP_NODELIST": nodes}
        assert recognise(there).coordinator.startswith(f"{first}:")


@pytest.mark.parametrize("nodes", ["node001", "node1,x2", "n[001-015],x2", "10.0.0.[7,9-15],x2"])
def test_slurms_coordinator_is_that_of_jax(nodes, monkeypatch):
    environment = slurm(1, "1(x2)") | {"SLURM_STEP_NODELIST": nodes}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    theirs = SlurmCluster.get_coordinator_address(timeout_secs=1, override_coordinator_port=None)
    assert recognise(environment).coordinator == theirs


def test_open_mpi_says_where_process_0_is(monkeypatch):
    # Of the first host, 4 by mpirun's addresses and 5 by its name.
    environment = OPEN_MPI_4 | open_mpi(2, 0, 4, 2)
    monkeypatch.setenv("OMPI_MCA_orte_hnp_uri", URI_4)
    theirs = OmpiCluster.get_coordinator_address(timeout_secs=1, override_coordinator_port=None)
    host = theirs.rpartition(":")[0]
    port = 61440 + (1852178432 >> 16) % 4096  # every number of mpirun is a multiple of 2^16
    assert recognise(environment) == Job("Open MPI", f"{host}:{port}", 4, 2, (0,))
    five = recognise(OPEN_MPI_5 | open_mpi(2, 0, 4, 2))
    assert five == Job("Open MPI", f"gpu-node-1:{61440 + 32554 % 4096}", 4, 2, (0,))
    six = OPEN_MPI_4 | {"OMPI_MCA_orte_hnp_uri": "65536.0;tcp6://[fd00::2]:48635"}
    assert recognise(six | open_mpi(2, 0, 4, 2)).coordinator == "[fd00::2]:61441"
    # On one host.
    assert recognise(OPEN_MPI_5 | open_mpi(1, 1, 2, 2)).coordinator.startswith("127.0.0.1:")
    # mpirun is elsewhere than process 0, which is to listen.
    far = OPEN_MPI_5 | {"PMIX_HOSTNAME": "gpu-node-2"}
    with pytest.raises(ValueError, match="this is process 0 of 4, but not where"):
        recognise(far | open_mpi(0, 0, 4, 2))


def test_torchrun_listens_at_its_port_itself():
    assert recognise(torchrun(1, 0, 2, 1)) == Job("torchrun", "n1:29501", 2, 1)
    # Others that set its variables do not, nor all of them.
    names = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")
    like = {name: torchrun(1, 0, 2, 1)[name] for name in names}
    assert recognise(like) == Job("torchrun", "n1:29500", 2, 1)
    assert recognise(like | {"LOCAL_RANK": "1"}).local_device_ids == (1,)
    # The inner launcher counts: srun starts a torchrun, or Open MPI's mpirun, on each node.
    inner = slurm(1, "1(x2)", gpus=2) | torchrun(3, 1, 4, 2)
    assert recognise(inner) == Job("torchrun", "n1:29501", 4, 3, (1,))
    inner = slurm(1, "1(x2)") | OPEN_MPI_4 | open_mpi(3, 1, 4, 2)
    assert recognise(inner).launcher == "Open MPI"


def test_one_process_joins_nothing():
    assert recognise({}) is None
    assert recognise(slurm(0, "1", gpus=8)) is None
    assert recognise(OPEN_MPI_5 | open_mpi(0, 0, 1, 1)) is None
    assert recognise(torchrun(0, 0, 1, 1)) is None
    batch = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert recognise(batch) is None
    assert recognise({"WORLD_SIZE": "4"}) is None  # nothing says which one this is


class Silent:
    """A line on which nothing is heard."""

    def watch(self, *_):
        pass

    def leave(self):
        pass


def test_hosts_of_a_tpu_are_left_to_jax(monkeypatch):
    pod = {"TPU_WORKER_HOSTNAMES": "t0,t1", "TPU_WORKER_ID": "1"}
    plain = {"TPU_ML_PLATFORM": "JAX"}  # what jax sets on a TPU's host; the rest is metadata
    slices = {"TPU_WORKER_HOSTNAMES": "t0", "MEGASCALE_NUM_SLICES": "2"}
    for environment in (pod, plain, slices, {"TPU_PROCESS_ADDRESSES": "t0:8476,t1:8476"}):
        assert recognise(environment) is launch.CLOUD_TPU
    assert recognise(plain | {"TPU_SKIP_MDS_QUERY": "1"}) is None
    assert recognise(plain | {"JAX_PLATFORMS": "cpu"}) is None
    assert recognise({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}) is None

    told, met, heeded = [], [], []

    def initialize(*args: object, **named: object) -> None:
        told.append((args, named))
        heeded.append(jax.config.values["jax_enable_preemption_service"])

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(meeting, "meet", lambda *a: met.append(a) or Silent())
    monkeypatch.setattr(distributed, "_line", None)
    monkeypatch.setattr(distributed.os, "environ", plain)
    with distributed.joined(seconds=5):
        pass
    monkeypatch.setattr(distributed.os, "environ", slurm(1, "1(x2)", gpus=4))
    with distributed.joined(seconds=5, saves=True):
        pass
    where = f"n1:{61440 + 5000 % 4096}"
    wait = {"initialization_timeout": 5}
    own = {"cluster_detection_method": "deactivate"}  # jax's would be one GPU each
    assert told == [((), wait), ((where, 2, 1, None), own | wait)]
    assert [one[:4] for one in met] == [(where, 1, 2, 5)]
    # JAX takes SIGTERM away only from a program that asks it whether to stop.
    assert heeded == [False, True]


def test_what_is_given_wins():
    task = slurm(3, "4", gpus=4)
    assert recognise(task, "h:1", 9, 8) == Job(GIVEN, "h:1", 9, 8, (3,))
    assert recognise(task, "h:1") == Job(GIVEN, "h:1", 4, 3, (3,))
    variables = {
        "JAX_COORDINATOR_ADDRESS": "v:2",
        "JAX_NUM_PROCESSES": "6",
        "JAX_PROCESS_ID": "5",
    }
    assert recognise(variables) == Job(GIVEN, "v:2", 6, 5)
    assert recognise(task | variables) == Job(GIVEN, "v:2", 6, 5, (3,))
    assert recognise(variables, "h:1", 9, 8) == Job(GIVEN, "h:1", 9, 8)
    mpich = {"PMI_SIZE": "4", "PMI_RANK": "2", "JAX_COORDINATOR_ADDRESS": "v:2"}
    assert recognise(mpich) == Job(GIVEN, "v:2", 4, 2)


@pytest.mark.parametrize(
    ("environment", "given", "said"),
    [
        ({}, (None, 2, 0), "--processes and --process need --coordinator"),
        ({}, ("h", 2, 0), "at HOST:PORT, not at 'h'"),
        ({}, ("h:1", None, 0), "listens at h:1, but how many processes"),
        ({}, ("h:1", 2, 2), "of 2 processes the last is 1: 2 is none"),
        ({"JAX_COORDINATOR_ADDRESS": "v:2"}, (), "JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
        (
            {"JAX_COORDINATOR_ADDRESS": "v:2", "JAX_NUM_PROCESSES": "two"},
            (),
            "JAX_NUM_PROCESSES is 'two': no number",
        ),
        ({"PMI_SIZE": "4", "PMI_RANK": "2"}, (), "MPI says that this is process 2 of 4, but not"),
        ({"WORLD_SIZE": "2", "RANK": "1"}, (), "torchrun says that this is process 1 of 2"),
        (open_mpi(0, 0, 2, 2), (), "set JAX_COORDINATOR_ADDRESS=HOST:PORT"),
    ],
)
def test_what_cannot_be_recognised_is_asked_for(environment, given, said):
    with pytest.raises(ValueError, match=said) as error:
        recognise(environment, *given)
    assert "\n" not in str(error.value)
