"""Measures what a net's features are worth on other data: Tables 4, 5 and 7, Fig. 9.

    python -m scripts.transfer --workdir=DIR --data=caltech101 --folder=PHOTOS --table=4
    python -m scripts.transfer --workdir=DIR --data=caltech101 --folder=PHOTOS --table=7
    python -m scripts.transfer --workdir=DIR --data=caltech101 --folder=PHOTOS --figure=9
    python -m scripts.transfer --workdir=DIR --data=mine --prepared_dir=DIR --layer=pool5 \\
        --head=svm --per_class=10,20

Softmax and linear SVM on frozen features, on random folds of each class. PHOTOS holds one folder
per class; it is decoded once, at the size that the net was trained on, to --prepared_dir (default
data/DATA-SIZE). The scores go to WORKDIR/analysis/transfer/DATA/, where the same command again
finds them; --layer, --head and --per_class replace what a table has. Table 7 adds softmax on the
layers that the paper has none for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from absl import flags

from zfnet_jax.command import lists, shell
from zfnet_jax.studies.transfer.protocols import (
    GRIDS,
    PARTS,
    PROTOCOLS,
    TABLE7_LAYERS,
    TEST_PER_CLASS,
    TOLERANCE,
    Protocol,
)

if TYPE_CHECKING:
    from zfnet_jax.data.prepared import PreparedSplit
    from zfnet_jax.runs.run import Run
    from zfnet_jax.studies.transfer.heads import Head
    from zfnet_jax.studies.transfer.scores import TransferScores

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
_DATA = flags.DEFINE_string(
    "data",
    None,
    f"Name of the data set; of {', '.join(PROTOCOLS)} the protocol is known.",
    required=True,
)
_FOLDER = flags.DEFINE_string("folder", None, "Photos, one folder per class, to prepare.")
_PREPARED = flags.DEFINE_string("prepared_dir", None, "Prepared images; data/DATA-SIZE.")
_SPLIT = flags.DEFINE_string("split", "train", "The prepared split that holds all images.")
_TABLE = flags.DEFINE_enum("table", None, ["4", "5", "7"], "What a table needs.")
_FIGURE = flags.DEFINE_enum("figure", None, ["9"], "What the figure needs.")
_LAYERS = flags.DEFINE_multi_string(
    "layer", [], "An activation such as norm1, conv3 or fc7; may be repeated."
)
_HEADS = flags.DEFINE_multi_enum("head", [], ["softmax", "svm"], "A head; may be repeated.")
_PER_CLASS = flags.DEFINE_list("per_class", [], "Training images of each class, such as 15,30.")
_LEAVE_OUT = flags.DEFINE_multi_string(
    "leave_out",
    [],
    "A class that does not count; the clutter class of a known data set never does.",
)
_FOLDS = flags.DEFINE_integer("folds", 5, "Random folds.", lower_bound=1)
_TEST = flags.DEFINE_integer(
    "test_per_class", TEST_PER_CLASS, "Test images of a class at most.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the folds.", lower_bound=0)
_SOFTMAX = flags.DEFINE_list(
    "softmax_grid", [f"{c:g}" for c in GRIDS["softmax"]], "C of softmax to choose from."
)
_SVM = flags.DEFINE_list(
    "svm_grid", [f"{c:g}" for c in GRIDS["svm"]], "C of the SVM to choose from."
)
_PARTS = flags.DEFINE_integer("parts", PARTS, "Of the cross-validation.", lower_bound=2)
_TOLERANCE = flags.DEFINE_float("tolerance", TOLERANCE, "Of a head's gradient; see heads.fit.", 0.0)
_REPLACE = flags.DEFINE_bool(
    "replace", False, "Drop scores of another checkpoint or other options."
)
_BATCH = flags.DEFINE_integer("batch_size", None, "Images per step; as the run evaluates.")


def main() -> None:
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.transfer import folds  # after the flags, so that --help needs no jax
    from zfnet_jax.studies.transfer import measure as transfer

    protocol = PROTOCOLS.get(_DATA.value)
    run = open_run(_WORKDIR.value, _STEP.value)
    layers, heads, per_class = _asked(run, protocol)
    split = _open_split(run)
    classes = folds.classes_of(protocol, split.labels, split.class_names, _LEAVE_OUT.value)
    study = transfer.make_study(
        split, classes, data=_DATA.value, seed=_SEED.value, test_per_class=_TEST.value
    )
    scores = transfer.run_study(
        run,
        split,
        classes,
        study,
        layers=layers,
        head_names=heads,
        per_class=per_class,
        fold_count=_FOLDS.value,
        options=transfer.Options(
            grids={
                "softmax": lists.grid("softmax_grid", _SOFTMAX.value),
                "svm": lists.grid("svm_grid", _SVM.value),
            },
            parts=_PARTS.value,
            tolerance=_TOLERANCE.value,
        ),
        batch_size=_BATCH.value or run.config.eval_batch_size,
        replace=_REPLACE.value,
        progress=True,
    )
    _print(scores, layers, heads, per_class)


def _asked(run: Run, protocol: Protocol | None) -> tuple[list[str], list[Head], list[int]]:
    """Layers, heads and numbers of training images, of the table or figure or as given."""
    from zfnet_jax.studies.transfer import features

    there = features.layers_of(run)
    last = there[max(there)]
    layers, per_class = [last], []
    heads: list[Head] = ["softmax"]
    if _TABLE.value and _FIGURE.value:
        raise ValueError("give --table or --figure, not both")
    if _TABLE.value or _FIGURE.value:
        if protocol is None:
            raise ValueError(
                f"tables and figures are of {' and '.join(PROTOCOLS)}, not of {_DATA.value!r}: "
                "give --layer, --head and --per_class"
            )
        tables = {"4": "caltech101", "5": "caltech256"}
        data = tables.get(_TABLE.value or "", _DATA.value)
        if data != _DATA.value:
            raise ValueError(f"Table {_TABLE.value} is of {data}")
        per_class = list(protocol.curve if _FIGURE.value else protocol.table)
        if _TABLE.value == "7":
            per_class = [protocol.layers]
            heads = ["svm", "softmax"]
            layers = [there[number] for number in TABLE7_LAYERS if number in there]
    per_class = lists.counts("per_class", _PER_CLASS.value) or per_class
    if not per_class:
        raise ValueError("give --table, --figure or --per_class")
    return (
        list(dict.fromkeys(_LAYERS.value)) or layers,
        cast("list[Head]", list(dict.fromkeys(_HEADS.value))) or heads,
        per_class,
    )


def _open_split(run: Run) -> PreparedSplit:
    """The images, prepared first where --folder names photos."""
    from zfnet_jax.data.prepare import prepare_split
    from zfnet_jax.data.prepared import open_prepared
    from zfnet_jax.data.sources import FolderSource

    size = run.config.data.image_size
    prepared = Path(_PREPARED.value or f"data/{_DATA.value}-{size}")
    if _FOLDER.value:
        prepare_split(
            FolderSource(_FOLDER.value, "--folder"),
            prepared / _SPLIT.value,
            image_size=size,
            max_unreadable=run.config.data.max_unreadable,
            with_mean=False,
            workers=1,
        )
    return open_prepared(prepared, _SPLIT.value)


def _print(
    scores: TransferScores, layers: Sequence[str], heads: Sequence[str], per_class: Sequence[int]
) -> None:
    import numpy as np

    from zfnet_jax.studies.transfer import scores as transfer_scores

    study = scores.study
    print(f"{study.data}, {len(study.class_names)} classes, mean accuracy of the classes in %\n")
    for layer in layers:
        for head in heads:
            for n in per_class:
                found = [
                    score.accuracy
                    for score in scores.scores
                    if score.key[:4] == ("pretrained", layer, head, n)
                ]
                spread = f" +- {100 * np.std(found, ddof=1):.1f}" if len(found) > 1 else ""
                print(
                    f"{layer:6} {head:8}{n:3} per class: {100 * np.mean(found):.1f}{spread} "
                    f"({len(found)} folds)"
                )
    for head, grid in scores.provenance["pretrained"]["options"]["grids"].items():
        chosen = [score.regularisation for score in scores.scores if score.head == head]
        edge = sum(c in (grid[0], grid[-1]) for c in chosen)
        if 2 * edge > len(chosen):
            print(f"note: C of {head} is at an edge of its grid in {edge} of {len(chosen)} fits")
    print(f"\n{transfer_scores.folder_of(_WORKDIR.value, study.data) / 'scores.json'}")


if __name__ == "__main__":
    shell.run(main)
