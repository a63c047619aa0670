"""Trains every run of a sweep, such as the twelve nets of Table 3.

python -m scripts.sweep --config=configs/ablations.py --workdir=DIR [--launcher=slurm] [--dry_run]

The same command again goes on: finished runs are skipped, interrupted ones resume, failed ones are
tried again. Each run has its folder in DIR, its output in `train.log` there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import config_flags

from zfnet_jax.command import shell

if TYPE_CHECKING:
    from zfnet_jax.sweep.execute import Launcher

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config file with sweep(add), 'FILE' or 'FILE:ARG'. Overrides hold for all."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The sweep's folder; made if missing.", required=True
)
_LAUNCHER = flags.DEFINE_enum("launcher", "local", ["local", "slurm"], "Where the runs train.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the runs and start nothing.")
_DEVICES = flags.DEFINE_integer(
    "devices_per_run",
    1,
    "GPUs of each run, or simulated devices on a CPU; with Slurm per node, 0 for none.",
    lower_bound=0,
)
_RUNS = flags.DEFINE_integer(
    "runs_per_gpu", 1, "Runs at a time on each GPU of this machine, for small nets.", lower_bound=1
)
_NODES = flags.DEFINE_integer("nodes_per_run", 1, "Nodes of each run, with Slurm.", lower_bound=1)
_HOURS = flags.DEFINE_float(
    "hours_per_job", 24.0, "Time limit of a job, with Slurm; it is requeued and goes on after it."
)
_SBATCH = flags.DEFINE_multi_string(
    "sbatch", [], "Further options of sbatch, such as partition=gpu; may be given several times."
)


def main() -> None:
    from zfnet_jax.sweep import lock, plan, table  # after the flags, so that --help needs no jax
    from zfnet_jax.sweep.execute import execute, make_rows

    directory = Path(_WORKDIR.value)
    config_file = config_flags.get_config_filename(flags.FLAGS["config"])
    runs = plan.make_plan(config_file, _CONFIG.value, directory)
    rows = make_rows(runs)
    if _DRY_RUN.value:
        table.print_plan(rows)
        return
    if _LAUNCHER.value == "local":
        plan.check_data(runs)
    directory.mkdir(parents=True, exist_ok=True)
    with lock.locked(directory) as held:
        launcher = _launcher(directory, held)
        plan.write_plan(runs, directory)
        try:
            with table.LiveTable() as live:
                execute(rows, launcher, live.show)
        except KeyboardInterrupt:
            left = "; jobs go on in Slurm until scancel ends them" * (_LAUNCHER.value == "slurm")
            raise shell.fail(f"stopped: the same command goes on{left}", code=130) from None
    failed = [row for row in rows if row.state == "failed"]
    print(f"{len(rows) - len(failed)} of {len(rows)} runs are finished; they lie in {directory}")
    for row in failed:
        print(f"failed: {row.run.name}: {row.note} ({row.run.log})")
    if failed:
        raise SystemExit(1)


def _launcher(directory: Path, held: int) -> Launcher:
    if _LAUNCHER.value == "local":
        from zfnet_jax.sweep import local, lock

        lock.check_not_with_slurm(directory)
        return local.LocalLauncher(local.find_slots(_DEVICES.value, _RUNS.value), inherit=held)
    from zfnet_jax.sweep import slurm

    if _RUNS.value > 1:
        raise ValueError("--runs_per_gpu is for the GPUs of this machine, not for Slurm")

    return slurm.SlurmLauncher(
        directory,
        gpus_per_node=_DEVICES.value,
        nodes=_NODES.value,
        hours=_HOURS.value,
        sbatch={
            name: value or True  # an option without a value is a switch
            for name, _, value in (option.partition("=") for option in _SBATCH.value)
        },
    )


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    shell.run(main)
