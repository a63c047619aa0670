"""Everything that shows images to a net, on all devices of all processes.

python -m tests.every_pass RUN PREPARED OUT [ADDRESS PROCESSES PROCESS] writes the arrays to OUT, an
.npz.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import distributed, parallel
from zfnet_jax.data import landmarks
from zfnet_jax.data.images import Photos
from zfnet_jax.data.prepared import PreparedSplit, open_prepared
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies.correspondence.measure import measure as mask
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.features import study as mining
from zfnet_jax.studies.features import winner_projection, winners
from zfnet_jax.studies.features.options import Options as MiningOptions
from zfnet_jax.studies.invariance.measure import measure
from zfnet_jax.studies.occlusion.measure import occlude
from zfnet_jax.studies.overlap import measure as overlap
from zfnet_jax.studies.overlap import study as overlaps
from zfnet_jax.studies.overlap.options import Options as OverlapOptions
from zfnet_jax.studies.transfer import features, scratch
from zfnet_jax.studies.transfer import study as transfer
from zfnet_jax.studies.transfer.folds import choose_classes
from zfnet_jax.studies.transfer.options import Options as TransferOptions
from zfnet_jax.studies.transfer.options import ScratchOptions
from zfnet_jax.training.evaluation import make_evaluator

COUNTS, BATCH = (30, 2), 14


def every_pass(run: Run, split: PreparedSplit, folder: Path) -> dict[str, np.ndarray]:
    """What all studies find that take longer than seconds, by name."""
    run = dataclasses.replace(run, directory=folder)
    found = {
        f"{count} images: {name}": array
        for count in COUNTS
        for name, array in _passes(run, _first(split, count)).items()
    }
    found |= _covered(run, split) | _heads(run, split) | _nets(run, split) | _faces(run)
    return {name: np.asarray(array) for name, array in (found | _pairs(run)).items()}


def _first(split: PreparedSplit, count: int) -> PreparedSplit:
    return dataclasses.replace(
        split,
        images=split.images[:count],
        labels=split.labels[:count],
        keys=split.keys[:count],
        fingerprint=f"the first {count}",
    )


def _passes(run: Run, split: PreparedSplit) -> dict[str, np.ndarray | float]:
    options = {"batch_size": BATCH, "progress": False}
    # As many blocks of images as keep several devices busy.
    with mock.patch.object(winner_projection, "_ON_CPU", winner_projection._Portions(4, 16)):
        mined = winners.load(mining.measured(run, split, MiningOptions(), **options).folder)
    pictures: list[Mapping[str, np.ndarray]] = [mined.winners, mined.projections, mined.patches]
    predicted = {
        crops: predict(run, split, crops=crops, probabilities=True, **options) for crops in (1, 10)
    }
    config = ConfigDict(run.config.to_dict() | {"eval_batch_size": BATCH})
    paths = features.extract(run, split, ["pool1", "fc7"], **options)
    sweeps = {"vertical": np.array([-3.0, 5])}
    moved = measure(run, Photos(split.images, split.labels), sweeps, ["pool1", "fc7"], **options)
    return {
        **{f"mined, {name}": array for some in pictures for name, array in some.items()},
        **{f"{n} crops, {name}": array for n in (1, 10) for name, array in predicted[n].items()},
        **make_evaluator(run.net, config, split)(run.params, run.mean),
        **{f"features, {name}": np.load(path) for name, path in paths.items()},
        **{f"moved, {name}": array for name, array in moved.items()},
    }


def _covered(run: Run, split: PreparedSplit) -> dict[str, np.ndarray]:
    """25 squares of two photos, then as few as one."""
    options = {"batch_size": BATCH, "progress": False}
    covered = {
        square: occlude(
            run,
            split.images[:photos],
            None,
            square=square,
            stride=13,
            layer="conv5",
            fill="grey",
            seed=0,
            **options,
        )
        for photos, square in ((2, 14), (1, run.input_size[0]))
    }
    return {
        f"{square} pixels, {name}": array
        for square, found in covered.items()
        for name, array in found.items()
    }


def _heads(run: Run, split: PreparedSplit) -> dict[str, np.ndarray | float]:
    """On two folds."""
    options = TransferOptions("pictures", layers=("fc7",), heads=("svm",), per_class=(2,), folds=2)
    how = {"given": [], "batch_size": BATCH, "progress": False}
    classes = choose_classes(split.labels, split.class_names, ())
    found: dict[str, np.ndarray | float] = {}
    for one in transfer.measured(run, split, classes, [options], **how):
        name = f"head on fold {one.about['options']['fold']}"
        found |= {f"{name}, {field}": array for field, array in one.arrays.items()}
        found[f"{name}, C"] = one.about["regularisation"]
    return found


def _nets(run: Run, split: PreparedSplit) -> dict[str, np.ndarray]:
    """Trained anew on three folds."""
    options = ScratchOptions(data="pictures", per_class=(2,), folds=3, epochs=1)
    classes = choose_classes(split.labels, split.class_names, ())
    results = scratch.measured(run, run.config, split, classes, options, given=[], progress=False)
    nets = [open_run(run.directory / "studies/transfer/scratch" / r.folder.name) for r in results]
    return {f"fold {n}": one.arrays["predicted"] for n, one in enumerate(results)} | {
        f"fold {n}, bias": one.params["conv1"]["bias"] for n, one in enumerate(nets)
    }


def _faces(run: Run) -> dict[str, np.ndarray]:
    faces = landmarks.draw_pictures("face", ["left_eye", "nose"], 5, run.input_size[0])
    options = {"mask": 0.2, "draws": 3, "permutations": 19, "seed": 0, "batch_size": 4}
    found = mask(run, faces, ("conv5",), **options, progress=False)
    return {f"masked, {name}": array for name, array in found.items()}


def _pairs(run: Run) -> dict[str, np.ndarray]:
    """Photos that the validation and the training pictures share."""
    folders = [Path(run.config.data.prepared_dir) / name for name in ("train", "validation")]
    with mock.patch.object(overlap, "BLOCK", 16), mock.patch.object(overlaps, "BATCH", 8):
        shared = overlaps.search(*folders, OverlapOptions(threshold=0.5), workers=1, progress=False)
    pairs = {"rows": shared.pairs.rows, "score": shared.pairs.score, "best": shared.pairs.best[0]}
    small = {f"small {n}": array for n, array in enumerate(shared.small)}
    return {f"overlap, {name}": array for name, array in (pairs | small).items()}


if __name__ == "__main__":
    workdir, prepared, out = map(Path, sys.argv[1:4])
    address, *numbers = sys.argv[4:] or [None]
    with distributed.joined(address, *map(int, numbers), saves=True):
        found = every_pass(open_run(workdir), open_prepared(prepared, "validation"), out.parent)
        if parallel.is_writer():
            np.savez(out, **found)
