"""Trains a run's net anew on each fold of another data set: 'Non-pretrained convnet', Tables 4, 5.

    python -m scripts.transfer --workdir=DIR --data=caltech101 ...
    python -m scripts.scratch --workdir=DIR --data=caltech101 --prepared_dir=FOLDER

The same folds as scripts.transfer had, the run's own architecture and recipe, the fold's training
images alone. The accuracies go to the same scores.json in WORKDIR/analysis/transfer/DATA/. The
same command again goes on where it stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from configs import zfnet
from zfnet_jax.command import lists, shell
from zfnet_jax.runs import recipe

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_DATA = flags.DEFINE_string(
    "data", None, "Name of the data set, as in scripts.transfer.", required=True
)
_PREPARED = flags.DEFINE_string("prepared_dir", None, "Its prepared images.", required=True)
_SPLIT = flags.DEFINE_string("split", "train", "Which prepared split they are.")
_PER_CLASS = flags.DEFINE_list("per_class", ["15", "30"], "Training images of each class.")
_FOLDS = flags.DEFINE_integer("folds", 5, "Number of folds.", lower_bound=1)
_REPLACE = flags.DEFINE_bool("replace", False, "Drop what was trained by another recipe.")
_EPOCHS = flags.DEFINE_integer("epochs", None, "As the run's recipe if not given.", lower_bound=1)


def main() -> None:
    from zfnet_jax.data.prepared import open_prepared
    from zfnet_jax.studies.transfer import scores as transfer_scores
    from zfnet_jax.studies.transfer import scratch
    from zfnet_jax.training import preemption  # after the flags, so that --help needs no jax

    directory = Path(_WORKDIR.value)
    folder = transfer_scores.folder_of(directory, _DATA.value)
    config = recipe.of_run(directory, zfnet.get_config())
    config.epochs = _EPOCHS.value or config.epochs
    try:
        scratch.train_folds(
            config,
            open_prepared(_PREPARED.value, _SPLIT.value),
            folder,
            run=directory.resolve().name,
            per_class=lists.counts("per_class", _PER_CLASS.value),
            folds=_FOLDS.value,
            replace=_REPLACE.value,
            progress=True,
        )
    except preemption.PreemptedError as told:
        print(f"stopped by {told}", file=sys.stderr)
        raise SystemExit(preemption.EXIT_CODE) from told
    print(folder / "scores.json")


if __name__ == "__main__":
    shell.run(main)
