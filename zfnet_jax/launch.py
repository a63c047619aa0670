"""How a launcher tells a process of its job: variables of the environment, read as plain data.

Slurm, Open MPI 4 and 5, torchrun and Cloud TPU. jax.distributed has a detection of its own, which
finds Cloud TPU's hosts; of the others it gives every process one GPU, however many are meant for
it, takes all of Open MPI 5 from mpi4py, and knows no torchrun.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

# Where process 0 listens unless JAX_COORDINATOR_PORT says it: above the ports that systems give
# away by themselves.
_FIRST_PORT, _PORTS = 61440, 4096
_GPU_PLATFORMS = {"cuda", "gpu", "rocm"}


@dataclasses.dataclass(frozen=True)
class Job:
    """A process of a job, as its launcher describes it.

    Attributes:
      launcher: its name, for people.
      coordinator: 'host:port' of process 0.
      processes, process: how many there are and which one this is.
      local_device_ids: which of the GPUs that it sees are its own; None for all.
    """

    launcher: str
    coordinator: str | None
    processes: int | None
    process: int | None
    local_device_ids: tuple[int, ...] | None = None


# jax finds the rest itself.
CLOUD_TPU = Job("Cloud TPU", None, None, None)


def recognise(
    environment: Mapping[str, str],
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    gpus: int = 0,
) -> Job | None:
    """The job that this process belongs to, whole or `CLOUD_TPU`; None if it is the only one.

    What is given wins over JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, and they
    over a launcher, which says what they leave out.

    Args:
      environment: variables by name, as in os.environ once jax is imported.
      coordinator: 'host:port' of process 0.
      processes, process: how many there are and which one this is.
      gpus: how many this machine has, as far as is known.

    Raises:
      ValueError: there are several processes, but not all is known; or those of a node cannot
        share its GPUs.
    """
    if coordinator is None and (processes is not None or process is not None):
        raise ValueError("--processes and --process need --coordinator=HOST:PORT")
    if coordinator is None and "JAX_COORDINATOR_ADDRESS" in environment:
        coordinator = environment["JAX_COORDINATOR_ADDRESS"]
        processes = _given_number(environment, "JAX_NUM_PROCESSES")
        process = _given_number(environment, "JAX_PROCESS_ID")
    # The innermost first: torchrun and mpirun are started by srun too.
    found = (
        _torchrun(environment, gpus)
        or _open_mpi(environment, gpus)
        or _slurm(environment, gpus)
        or _other_mpi(environment)
        or _cloud_tpu(environment)
    )
    if coordinator is None:
        if found is None or found is CLOUD_TPU or found.coordinator:
            return found
        raise ValueError(
            f"{found.launcher} says that this is process {found.process} of {found.processes}, but"
            " not where process 0 listens: give --coordinator=HOST:PORT --processes=N --process=I,"
            " or set JAX_COORDINATOR_ADDRESS=HOST:PORT"
        )
    if not re.fullmatch(r".+:\d+", coordinator):
        raise ValueError(f"process 0 listens at HOST:PORT, not at {coordinator!r}")
    if found:
        processes = found.processes if processes is None else processes
        process = found.process if process is None else process
    if processes is None or process is None:
        raise ValueError(
            f"process 0 listens at {coordinator}, but how many processes are there, and which one"
            " is this? Give --processes=N --process=I, or JAX_NUM_PROCESSES and JAX_PROCESS_ID"
        )
    if not 0 <= process < processes:
        raise ValueError(f"of {processes} processes the last is {processes - 1}: {process} is none")
    own = found.local_device_ids if found else None
    return Job("what was given", coordinator, processes, process, own)


def count_gpus() -> int:
    """The NVIDIA GPUs that the driver shows; 0 where there is none, or another kind."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def _torchrun(environment: Mapping[str, str], gpus: int) -> Job | None:
    """torchrun, and schedulers that set its variables."""
    numbers = _several(environment, "WORLD_SIZE", "RANK")
    if not numbers:
        return None
    address = None
    host, port = environment.get("MASTER_ADDR"), _number(environment, "MASTER_PORT")
    if host and port is not None:
        # torchrun itself listens there.
        port += environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        address = _address(environment, host, port)
    local, beside = (_number(environment, f"LOCAL_{name}") for name in ("RANK", "WORLD_SIZE"))
    return Job("torchrun", address, *numbers, _own_gpus(environment, local, beside, None, gpus))


def _open_mpi(environment: Mapping[str, str], gpus: int) -> Job | None:
    """mpirun of Open MPI: 4 tells its address, 5 names the job 'prterun-HOST-PID@1'."""
    numbers = _several(environment, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
    if not numbers:
        return None
    local, beside = (
        _number(environment, f"OMPI_COMM_WORLD_LOCAL_{name}") for name in ("RANK", "SIZE")
    )
    uri = environment.get("OMPI_MCA_orte_hnp_uri", "")
    old = re.match(r"(\d+)\..*?(?:tcp://([^,:]+)|tcp6://\[([^,\]]+))", uri)
    new = re.fullmatch(r"prte(?:run)?-(.+)-(\d+)@\d+", environment.get("PMIX_NAMESPACE", ""))
    host, job = None, 0
    if old:
        host, job = old[2] or old[3], int(old[1]) >> 16
    elif new:
        host, job = new[1], int(new[2])
        own = environment.get("PMIX_HOSTNAME", host)
        if numbers[1] == 0 and own.partition(".")[0] != host.partition(".")[0]:
            host = None  # process 0 listens, and it is not where mpirun is
    if host and beside == numbers[0]:
        host = "127.0.0.1"
    address = _address(environment, host, _port(job)) if host else None
    return Job("Open MPI", address, *numbers, _own_gpus(environment, local, beside, None, gpus))


def _slurm(environment: Mapping[str, str], gpus: int) -> Job | None:
    """A task of srun. A batch script outside of srun is one process, whatever it has reserved."""
    numbers = _several(environment, "SLURM_STEP_NUM_TASKS", "SLURM_PROCID")
    if not numbers:
        return None
    address = None
    nodes = environment.get("SLURM_STEP_NODELIST", "")  # 'n[01-04,09],m1'
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    job = _number(environment, "SLURM_JOB_ID")
    if first and job is not None:
        host = re.sub(r"\[(\w+)[^\]]*\]", r"\1", first.group())
        step = _number(environment, "SLURM_STEP_ID") or 0
        address = _address(environment, host, _port(job + 997 * step))
    tasks = _tasks_per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    local, node = (_number(environment, f"SLURM_{name}") for name in ("LOCALID", "NODEID"))
    beside = tasks[node] if node is not None and node < len(tasks) else None
    on_node = _number(environment, "SLURM_GPUS_ON_NODE")
    return Job("Slurm", address, *numbers, _own_gpus(environment, local, beside, on_node, gpus))


def _other_mpi(environment: Mapping[str, str]) -> Job | None:
    """MPICH, Intel MPI and others: how many there are and which one this is, but not where."""
    numbers = _several(environment, "PMI_SIZE", "PMI_RANK")
    return Job("MPI", None, *numbers) if numbers else None


def _cloud_tpu(environment: Mapping[str, str]) -> Job | None:
    """A TPU host, whose fellows jax reads from these variables or asks the host's metadata for."""
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms and "tpu" not in platforms.split(","):
        return None
    hosts = environment.get("TPU_PROCESS_ADDRESSES", environment.get("TPU_WORKER_HOSTNAMES"))
    several = (
        (hosts is not None and "," in hosts)
        or "TPU_PROCESS_ADDRESSES_PATH" in environment
        or (_number(environment, "MEGASCALE_NUM_SLICES") or 1) > 1
    )
    # jax sets the one where it finds TPUs; the other where it finds none, and others do where there
    # is no metadata. A host without fellows becomes a job of one process, which does no harm.
    ask = environment.get("TPU_ML_PLATFORM") == "JAX" and "TPU_SKIP_MDS_QUERY" not in environment
    return CLOUD_TPU if several or (ask and hosts is None) else None


def _own_gpus(
    environment: Mapping[str, str],
    local: int | None,
    beside: int | None,
    on_node: int | None,
    gpus: int,
) -> tuple[int, ...] | None:
    """Which of the GPUs that a process sees are its own; None for all.

    Args:
      local: which process of its node this is; None if it has the node for itself.
      beside: how many of them there are, itself included, if the launcher says it.
      on_node: GPUs of the job on this node, if the launcher says it.
      gpus: those that the machine has, as far as is known.
    """
    if "JAX_LOCAL_DEVICE_IDS" in environment:  # jax reads it
        return None
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms and not _GPU_PLATFORMS & set(platforms.split(",")):
        return None
    seen = _seen_gpus(environment)
    if local is None or beside == 1 or seen == 0:
        return None
    if seen is not None:
        # Slurm's --gpus-per-task and --gpu-bind, or a script that gives each process one.
        bound = seen * beside <= on_node if beside and on_node else seen == 1
        if bound:
            return None
    seen = seen or on_node or gpus
    if not seen or not beside:
        return (local,)  # as jax: one each
    if seen % beside or (on_node and seen != on_node):
        raise ValueError(
            f"{beside} processes on this node see {seen} of its {on_node or seen} GPUs, which do"
            " not divide among them: start one process, or one for each GPU, or give each its own"
            " (Slurm's --gpus-per-task, or JAX_LOCAL_DEVICE_IDS)"
        )
    share = seen // beside
    return tuple(range(local * share, (local + 1) * share))


def _seen_gpus(environment: Mapping[str, str]) -> int | None:
    """How many GPUs a process is confined to; None if it is not."""
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        if name in environment:
            text = environment[name].strip()
            return 0 if text in ("", "-1", "NoDevFiles") else len(text.split(","))
    return None


def _tasks_per_node(text: str) -> list[int]:
    """'2(x3),1' is [2, 2, 2, 1]."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(count) for count, times in found for _ in range(int(times or 1))]


def _port(job: int) -> int:
    """The same in all processes of a job, and seldom that of another job on the same host."""
    return _FIRST_PORT + job % _PORTS


def _address(environment: Mapping[str, str], host: str, port: int) -> str:
    given = _given_number(environment, "JAX_COORDINATOR_PORT")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{host}:{port if given is None else given}"


def _several(environment: Mapping[str, str], count: str, own: str) -> tuple[int, int] | None:
    """How many processes there are and which one this is, if a launcher says of more than one."""
    processes, process = _number(environment, count), _number(environment, own)
    if processes is None or processes < 2 or process is None:
        return None
    return processes, process


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else None


def _given_number(environment: Mapping[str, str], name: str) -> int | None:
    """ValueError if it is set and no number: whoever set it meant this program."""
    if name in environment and not environment[name].isdecimal():
        raise ValueError(f"{name} is {environment[name]!r}: no number")
    return _number(environment, name)
