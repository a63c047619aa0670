"""Measures what a net's features are worth on PASCAL VOC 2012: Table 6.

    python -m scripts.voc --workdir=DIR [--data_dir=FOLDER]

TFDS provides the set (its voc/2012, which it downloads if it is not in --data_dir); it is prepared
once, in --prepared_dir. A softmax over the 20 classes is trained on features of the training part,
and the average precision of each class measured on the validation part, since the annotations of
the paper's test part are not public. The result goes to
WORKDIR/analysis/transfer/voc2012/average_precision.json, where scripts.tables --table=6 finds it.
"""

from __future__ import annotations

import os
from pathlib import Path

from absl import flags

from zfnet_jax.command import lists, shell
from zfnet_jax.studies.transfer.protocols import PARTS, VOC_GRID, VOC_TOLERANCE

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
_NAME = flags.DEFINE_string("name", "voc/2012", "The set in TFDS.")
_DATA_DIR = flags.DEFINE_string("data_dir", "", "Where TFDS keeps data sets; its own default.")
_PREPARED = flags.DEFINE_string("prepared_dir", None, "Prepared images; data/voc2012-SIZE.")
_WORKERS = flags.DEFINE_integer(
    "workers", os.cpu_count() or 1, "Decoding processes.", lower_bound=1
)
_LAYER = flags.DEFINE_string("layer", None, "An activation such as fc7; the last layer's output.")
_GRID = flags.DEFINE_list("grid", [f"{c:g}" for c in VOC_GRID], "C to choose from.")
_PARTS = flags.DEFINE_integer("parts", PARTS, "Of the cross-validation.", lower_bound=2)
_TOLERANCE = flags.DEFINE_float("tolerance", VOC_TOLERANCE, "Of the gradient; see heads.fit.", 0.0)
_SEED = flags.DEFINE_integer("seed", 0, "Of the cross-validation.", lower_bound=0)
_BATCH = flags.DEFINE_integer("batch_size", None, "Images per step; as the run evaluates.")


def main() -> None:
    from zfnet_jax.data import voc
    from zfnet_jax.files import write_json
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.transfer import features  # after the flags: --help needs no jax
    from zfnet_jax.studies.transfer import scores as transfer_scores
    from zfnet_jax.studies.transfer.table import VOC, VOC_FILE
    from zfnet_jax.studies.transfer.voc import voc_study

    run = open_run(_WORKDIR.value, _STEP.value)
    size = run.config.data.image_size
    prepared = Path(_PREPARED.value or f"data/voc2012-{size}")
    voc.prepare(
        prepared,
        name=_NAME.value,
        data_dir=_DATA_DIR.value,
        image_size=size,
        workers=_WORKERS.value,
        progress=True,
    )
    layers = features.layers_of(run)
    found = voc_study(
        run,
        *(voc.open_part(prepared, part) for part in voc.PARTS),
        layer=_LAYER.value or layers[max(layers)],
        grid=lists.grid("grid", _GRID.value),
        parts=_PARTS.value,
        tolerance=_TOLERANCE.value,
        seed=_SEED.value,
        batch_size=_BATCH.value or run.config.eval_batch_size,
        progress=True,
    )
    path = transfer_scores.folder_of(run.directory, VOC) / VOC_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    print(f"mean average precision on the validation images {found['mean']:.1%}: {path}")


if __name__ == "__main__":
    shell.run(main)
