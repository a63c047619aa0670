"""Measures what a net's features are worth on PASCAL VOC 2012: Table 6.

    python -m scripts.voc --workdir=DIR [--data_dir=FOLDER]

TFDS provides the set (its voc/2012, which it downloads if it is not in --data_dir); it is prepared
once, in --prepared_dir. A softmax over the 20 classes is trained on features of the training split,
and the average precision of each class measured on the validation split, since the annotations of
the paper's test split are not public. The result goes to a folder of its own in
WORKDIR/studies/voc/, where scripts.tables --table=6 finds it.
"""

from __future__ import annotations

import os
from pathlib import Path

from absl import flags

from zfnet_jax.command import shell, step_flag, study_flags
from zfnet_jax.studies.transfer.options import VocOptions

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_STEP = step_flag.define()
_NAME = flags.DEFINE_string("name", "voc/2012", "The set in TFDS.")
_DATA_DIR = flags.DEFINE_string("data_dir", "", "Where TFDS keeps data sets; its own default.")
_PREPARED = flags.DEFINE_string("prepared_dir", None, "Prepared images; data/voc2012-SIZE.")
_WORKERS = flags.DEFINE_integer(
    "workers", os.cpu_count() or 1, "Decoding processes.", lower_bound=1
)
_OPTIONS = study_flags.define(VocOptions)
_BATCH = flags.DEFINE_integer("batch_size", None, "Images per step; as the run evaluates.")


def main() -> None:
    from zfnet_jax import parallel
    from zfnet_jax.data import voc as voc_data
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.transfer import voc  # after the flags: --help needs no jax

    run = open_run(_WORKDIR.value, _STEP.value)
    size = run.config.data.image_size
    prepared = Path(_PREPARED.value or f"data/voc2012-{size}")
    parallel.by_writer(
        lambda: voc_data.prepare(
            prepared,
            name=_NAME.value,
            data_dir=_DATA_DIR.value,
            image_size=size,
            workers=_WORKERS.value,
            progress=True,
        )
    )
    train, validation = (voc_data.open_split(prepared, name) for name in voc_data.SPLITS)
    result = voc.measured(
        run,
        train,
        validation,
        _OPTIONS(),
        given=[f"--prepared_dir={prepared}", f"--name={_NAME.value}"],
        batch_size=_BATCH.value or run.config.eval_batch_size,
        progress=True,
    )
    if not parallel.is_writer():
        return
    mean = result.about["mean"]
    print(f"mean average precision on the validation images {mean:.1%}: {result.folder}")


if __name__ == "__main__":
    shell.run(main, several=True)
