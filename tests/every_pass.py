"""Everything that shows images to a net, on all devices of this process.

python -m tests.every_pass RUN PREPARED OUT writes the arrays to OUT, an .npz.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax.data.images import Photos
from zfnet_jax.data.prepared import PreparedSplit, open_prepared
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.features import mining, winner_projection
from zfnet_jax.studies.invariance.measure import measure
from zfnet_jax.studies.occlusion.measure import occlude
from zfnet_jax.studies.transfer import features
from zfnet_jax.training.evaluation import make_evaluator

COUNTS, BATCH = (30, 2), 16


def every_pass(run: Run, split: PreparedSplit, folder: Path) -> dict[str, np.ndarray]:
    """What mining, evaluation, validation, features, invariance and occlusion find, by name."""
    run = dataclasses.replace(run, directory=folder)
    return {
        f"{count} images: {name}": np.asarray(array)
        for count in COUNTS
        for name, array in _passes(run, _first(split, count)).items()
    }


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
    mined = mining.mine(run, split, k=9, **options)
    located = winner_projection.locate(run, split, mined, k=9, one_per_image=True, progress=False)
    predicted = {
        crops: predict(run, split, crops=crops, probabilities=True, **options) for crops in (1, 10)
    }
    config = ConfigDict(run.config.to_dict() | {"eval_batch_size": BATCH})
    paths = features.extract(run, split, ["pool1", "fc7"], **options)
    sweeps = {"vertical": np.array([-3.0, 5])}
    moved = measure(run, Photos(split.images, split.labels), sweeps, ["pool1", "fc7"], **options)
    # 25 squares of two photos, then as few as one.
    covered = {
        f"{square} pixels": occlude(
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
        **{f"mined, {name}": array for name, array in located.items()},
        **{f"{n} crops, {name}": array for n in (1, 10) for name, array in predicted[n].items()},
        **make_evaluator(run.net, config, split)(run.params, run.mean),
        **{f"features, {name}": np.load(path) for name, path in paths.items()},
        **{f"moved, {name}": array for name, array in moved.items()},
        **{f"{n}, {name}": array for n, found in covered.items() for name, array in found.items()},
    }


if __name__ == "__main__":
    workdir, prepared, out = map(Path, sys.argv[1:])
    found = every_pass(open_run(workdir), open_prepared(prepared, "validation"), out.parent)
    np.savez(out, **found)
