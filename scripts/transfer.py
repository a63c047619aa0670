"""Measures what a net's features are worth on other data: Tables 4, 5 and 7, Fig. 9.

    python -m scripts.transfer --workdir=DIR --data=caltech101 --folder=PHOTOS --table=4
    python -m scripts.transfer --workdir=DIR --data=caltech101 --folder=PHOTOS --table=7
    python -m scripts.transfer --workdir=DIR --data=caltech101 --folder=PHOTOS --figure=9
    python -m scripts.transfer --workdir=DIR --data=mine --prepared_dir=DIR --layer=pool5 \\
        --head=svm --per_class=10,20

Softmax and linear SVM on frozen features, on random folds of each class. PHOTOS holds one folder
per class; it is decoded once, at the size that the net was trained on, to --prepared_dir (default
data/DATA-SIZE). Without --folder, --prepared_dir is any prepared set, or photos themselves. Each
score goes to a folder of its own in WORKDIR/studies/transfer/, where the same command again finds
it; --layer, --head and --per_class replace what a table has. Of Table 7 the SVM sees each layer and
softmax layers 5 and 7, as in the paper; --head=softmax is softmax on each.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from zfnet_jax.command import shell, step_flag, study_flags
from zfnet_jax.studies.transfer.options import Options
from zfnet_jax.studies.transfer.protocols import PROTOCOLS

if TYPE_CHECKING:
    from zfnet_jax.data.prepared import PreparedSplit
    from zfnet_jax.runs.origins import Origins
    from zfnet_jax.runs.run import Run
    from zfnet_jax.studies.saved import Result

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_STEP = step_flag.define()
_FOLDER = flags.DEFINE_string("folder", None, "Photos, one folder per class, to prepare.")
_PREPARED = flags.DEFINE_string(
    "prepared_dir", None, "Images, prepared or photos in class folders; data/DATA-SIZE."
)
_SPLIT = flags.DEFINE_string("split", "train", "The prepared split that holds all images.")
_TABLE = flags.DEFINE_enum("table", None, ["4", "5", "7"], "What a table needs.")
_FIGURE = flags.DEFINE_enum("figure", None, ["9"], "What the figure needs.")
_OPTIONS = study_flags.define(Options)
_BATCH = flags.DEFINE_integer("batch_size", None, "Images per step; as the run evaluates.")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Measure nothing, but say what it will take of time, memory and disk, by a sample; --folder is"
    " prepared all the same.",
)


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.transfer import dry_run, folds, study

    run, options = open_run(_WORKDIR.value, _STEP.value), _OPTIONS()
    asked = _asked(run, options)
    prepared = Path(_PREPARED.value or f"data/{options.data}-{run.config.data.image_size}")
    split = _open_split(run, prepared)
    classes = folds.classes_of(
        PROTOCOLS.get(options.data), split.labels, split.class_names, options.leave_out
    )
    batch_size = _BATCH.value or run.config.eval_batch_size
    if _DRY_RUN.value:
        for line in dry_run.dry_run(run, split, classes, asked, batch_size=batch_size):
            if parallel.is_writer():
                print(line, flush=True)
        return
    given = [f"--prepared_dir={prepared}"]
    given += [f"--split={_SPLIT.value}"] if _SPLIT.value != "train" else []
    results = study.measured(
        run,
        split,
        classes,
        asked,
        given=given,
        batch_size=batch_size,
        progress=True,
    )
    if not parallel.is_writer():
        return
    print(f"{options.data}, {len(classes.names)} classes, mean accuracy of the classes in %")
    print(f"{run.checkpoint}\n")
    _print(results, asked, run.origins)
    print(f"\n{results[0].folder.parent}")


def _asked(run: Run, options: Options) -> tuple[Options, ...]:
    """The options with what is not given as the table or figure wants it."""
    from zfnet_jax.studies.transfer import features, trial  # after the flags

    protocol = PROTOCOLS.get(options.data)
    named = (run.layer(name, run.architecture.activations) for name in options.layers)
    layers, heads = tuple(dict.fromkeys(named)), tuple(dict.fromkeys(options.heads))
    counts: tuple[int, ...] = ()
    if _TABLE.value and _FIGURE.value:
        raise ValueError("give --table or --figure, not both")
    if _TABLE.value or _FIGURE.value:
        if protocol is None:
            raise ValueError(
                f"tables and figures are of {' and '.join(PROTOCOLS)}, not of {options.data!r}: "
                "give --layer, --head and --per_class"
            )
        of_table = {"4": "caltech101", "5": "caltech256"}.get(_TABLE.value or "", options.data)
        if of_table != options.data:
            raise ValueError(f"Table {_TABLE.value} is of {of_table}")
        by_depth = (protocol.layers,) if _TABLE.value == "7" else protocol.table
        counts = protocol.curve if _FIGURE.value else by_depth
    options = dataclasses.replace(options, per_class=options.per_class or counts)
    if not options.per_class:
        raise ValueError("give --table, --figure or --per_class")
    if _TABLE.value == "7" and not layers:
        layers, left_out = features.of_table7(run)
        if left_out:
            print(left_out, file=sys.stderr)
    if _TABLE.value == "7" and not heads:
        return trial.heads_of_table7(run, layers, options)
    there = run.architecture.outputs
    layers, heads = layers or (there[max(there)],), heads or ("softmax",)
    return (dataclasses.replace(options, layers=layers, heads=heads),)


def _open_split(run: Run, prepared: Path) -> PreparedSplit:
    """The images, prepared first where --folder names photos."""
    from zfnet_jax import parallel
    from zfnet_jax.data.sources import FolderSource
    from zfnet_jax.studies import images

    if _FOLDER.value:
        source = FolderSource(_FOLDER.value, "--folder")
        out = prepared / _SPLIT.value
        parallel.by_writer(lambda: images.decode_for(run, source, out, workers=1, progress=True))
    elif not (_PREPARED.value or prepared.exists()):
        raise FileNotFoundError(
            f"there are no images in {prepared}: name a folder of photos, --folder=PHOTOS"
        )
    return images.open_set(run, _SPLIT.value, prepared)


def _print(results: Sequence[Result], asked: Sequence[Options], known: Origins) -> None:
    """Mean and deviation over the folds of each layer, head and number of training images."""
    import numpy as np

    from zfnet_jax.runs import origins

    found: dict[tuple[str, str, int], list[float]] = {}
    for one in results:
        of = one.about["options"]
        key = (of["layer"], of["head"], of["per_class"])
        found.setdefault(key, []).append(100 * one.about["accuracy"])
    for (layer, head, per_class), values in found.items():
        spread = f" +- {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
        print(
            f"{layer + origins.in_brackets(layer, known):6} {head:8}{per_class:3} per class:"
            f" {np.mean(values):.1f}{spread} ({len(values)} folds)"
        )
    for head in dict.fromkeys(head for options in asked for head in options.heads):
        grid = asked[0].grid(head)
        chosen = [
            one.about["regularisation"] for one in results if one.about["options"]["head"] == head
        ]
        edge = sum(c in (grid[0], grid[-1]) for c in chosen)
        if 2 * edge > len(chosen):
            print(f"note: C of {head} is at an edge of its grid in {edge} of {len(chosen)} fits")


if __name__ == "__main__":
    shell.run(main, several=True)
