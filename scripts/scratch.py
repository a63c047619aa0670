"""Trains a run's net anew on each fold of another data set: 'Non-pretrained convnet', Tables 4, 5.

    python -m scripts.scratch --workdir=DIR --data=caltech101 --prepared_dir=FOLDER

The same folds as scripts.transfer has by the same options, the run's own architecture and recipe,
the fold's training images alone. Each accuracy goes to a folder of its own in
WORKDIR/studies/transfer/, the nets to its `scratch`. The same command again goes on where it
stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from configs import zfnet
from zfnet_jax.command import shell, study_flags
from zfnet_jax.runs import recipe
from zfnet_jax.studies.transfer.options import ScratchOptions
from zfnet_jax.studies.transfer.protocols import PROTOCOLS

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_PREPARED = flags.DEFINE_string(
    "prepared_dir", None, "Images, prepared or photos in class folders.", required=True
)
_SPLIT = flags.DEFINE_string("split", "train", "The prepared split that holds all images.")
_OPTIONS = study_flags.define(ScratchOptions)


def main() -> None:
    from zfnet_jax import parallel
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies import images
    from zfnet_jax.studies.transfer import folds, scratch
    from zfnet_jax.training import preemption  # after the flags, so that --help needs no jax

    directory, options = Path(_WORKDIR.value), _OPTIONS()
    run = open_run(directory)
    split = images.open_set(run, _SPLIT.value, _PREPARED.value)
    classes = folds.classes_of(
        PROTOCOLS.get(options.data), split.labels, split.class_names, options.leave_out
    )
    given = [f"--prepared_dir={_PREPARED.value}"]
    given += [f"--split={_SPLIT.value}"] if _SPLIT.value != "train" else []
    try:
        results = scratch.measured(
            run,
            recipe.of_run(directory, zfnet.get_config()),
            split,
            classes,
            options,
            given=given,
            progress=True,
        )
    except preemption.PreemptedError as told:
        print(f"stopped by {told}", file=sys.stderr)
        raise SystemExit(preemption.EXIT_CODE) from told
    if parallel.is_writer():
        print(results[0].folder.parent)


if __name__ == "__main__":
    shell.run(main, several=True, saves=True)
