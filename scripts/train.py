"""Trains a net from a config file.

python -m scripts.train --config=configs/imagenette.py --workdir=DIR [--config.FIELD=VALUE ...]
python -m scripts.train --config=configs/imagenette.py --check
python -m scripts.train --config=configs/imagenette.py --dry_run

The same command again goes on where it stopped. A run that is told to stop (SIGTERM, SIGINT and
others) finishes its step, saves and exits with code 75.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from zfnet_jax.command import shell

_CONFIG = config_flags.DEFINE_config_file("config", None, "The config file, 'FILE' or 'FILE:ARG'.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder; made if missing.")
_STOP = flags.DEFINE_integer(
    "stop_after_steps", None, "Save and stop after this many updates.", lower_bound=1
)
_CHECK = flags.DEFINE_bool(
    "check",
    False,
    "Train nothing: look at one batch, and say what would keep the net from learning.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Train nothing: time some steps, and say what the training will take of time, memory, disk.",
)
_PROFILE = flags.DEFINE_string(
    "profile_steps", None, "First and last step of those to profile, '100:110'."
)


def main() -> None:
    # After the flags, so that --help needs no jax.
    from zfnet_jax import parallel
    from zfnet_jax.report.mosaic import filter_mosaic
    from zfnet_jax.training import preemption, profile, train

    if _CHECK.value:
        from zfnet_jax.training import check

        for line in check.check(_CONFIG.value):
            print(line)
        return
    if _DRY_RUN.value:
        from zfnet_jax.training.dry_run import dry_run

        for line in dry_run(_CONFIG.value, Path(_WORKDIR.value) if _WORKDIR.value else None):
            if parallel.is_writer():
                print(line, flush=True)
        return
    assert _WORKDIR.value is not None  # see the validator
    workdir = Path(_WORKDIR.value)
    profiled = None if _PROFILE.value is None else profile.steps_of(_PROFILE.value)
    try:
        result = train.train_and_evaluate(
            _CONFIG.value, workdir, _STOP.value, filter_mosaic, profiled
        )
    except preemption.PreemptedError as told:
        if parallel.is_writer():
            print(f"stopped by {told}", file=sys.stderr)
        raise SystemExit(preemption.EXIT_CODE) from told
    if parallel.is_writer():
        reached = f"validation top-1 {result['val/top1']:.1%}; " if result else ""
        print(f"{reached}the run lies in {workdir}")


def _share_out_cores() -> None:
    from zfnet_jax.training import cores

    cores.share_out(_CONFIG.value)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    flags.register_multi_flags_validator(
        ("workdir", "check", "dry_run"),
        lambda given: any(given.values()),
        message="Flag --workdir must have a value, or --check or --dry_run be given",
    )
    shell.run(main, several=True, saves=True, alone=_share_out_cores)
