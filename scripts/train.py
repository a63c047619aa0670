"""Trains a net from a config file.

python -m scripts.train --config=configs/imagenette.py --workdir=DIR [--config.FIELD=VALUE ...]

The same command again goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from scripts import processes, shell

_CONFIG = config_flags.DEFINE_config_file("config", None, "The config file, 'FILE' or 'FILE:ARG'.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder; made if missing.")
_STOP = flags.DEFINE_integer("stop_after_steps", None, "Save and stop after this many updates.")


def main() -> None:
    from zfnet_jax import parallel, train  # after the flags, so that --help needs no jax

    processes.join()
    workdir = Path(_WORKDIR.value)
    result = train.train_and_evaluate(_CONFIG.value, workdir, _STOP.value)
    if parallel.is_writer():
        reached = f"validation top-1 {result['val/top1']:.1%}; " if result else ""
        print(f"{reached}the run lies in {workdir}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    shell.run(main)
