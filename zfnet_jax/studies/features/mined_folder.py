"""All of mining for one checkpoint: find the winners, locate and project them, leave a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zfnet_jax import geometry, parallel
from zfnet_jax.data.images import Split
from zfnet_jax.deconvnet import Rectify
from zfnet_jax.pooling import Overlap
from zfnet_jax.runs import provenance
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.features import mining, winner_projection, winners
from zfnet_jax.studies.features.winners import Arrays, Winners, WinnersWriter

# As the paper mines; `make` takes others.
PAPER: dict[str, Any] = {
    "one_per_image": True,
    "unit_value": None,
    "rectify": "deconvnet",
    "overlap": "sum",
}


def folder_of(run: Run, split_name: str) -> Path:
    """Where the winners of a run's checkpoint over a split lie."""
    return run.directory / "analysis" / "mining" / f"{split_name}-{run.step}"


def mined_winners(context: Context) -> Winners:
    """What was mined of the validation images."""
    return winners.load(folder_of(context.run, "validation"))


def make_once(run: Run, split: Split, split_name: str, k: int, *, progress: bool) -> Path:
    """Mines a split as the paper does, unless its folder says that this was done.

    A folder of more winners will do. One of other weights or images is replaced.

    Returns:
      the folder, see `folder_of`.

    Raises:
      ValueError: the same was mined with fewer winners or other options: whoever asked for those
        may want to keep them.
    """
    folder = folder_of(run, split_name)
    if (folder / "info.json").exists():
        info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
        of_it = {"weights": run.weights_digest, "data": split.fingerprint}
        if all(info.get(field) == value for field, value in of_it.items()):
            differing = [
                f"{field} {info[field]}, not {value}"
                for field, value in PAPER.items()
                if info[field] != value
            ]
            if info["k"] < k:
                differing.insert(0, f"k {info['k']}, not {k}")
            if not differing:
                return folder
            raise ValueError(
                f"{folder} was mined with {'; '.join(differing)}: move or remove it, and the same "
                "command mines as the paper does"
            )
    make(
        run,
        split,
        folder,
        split_name=split_name,
        k=k,
        **PAPER,
        batch_size=run.config.eval_batch_size,
        progress=progress,
    )
    return folder


def make(
    run: Run,
    split: Split,
    folder: Path,
    *,
    split_name: str,
    k: int,
    one_per_image: bool,
    unit_value: float | None,
    rectify: Rectify,
    overlap: Overlap,
    batch_size: int,
    progress: bool,
) -> Arrays:
    """Mines a split and writes the folder that `winners` describes, replacing an older one.

    The pass over the images is shared by all devices and processes; process 0 alone projects. A
    pass that was stopped goes on from FOLDER.pass.npz.

    Args:
      see `mining.mine`, `winner_projection.locate` and `winner_projection.project_winners`.

    Returns:
      what `winner_projection.locate` found; in other processes than 0 what `mining.mine` found.
    """
    partial = folder.with_name(folder.name + ".pass.npz")
    progress = progress and parallel.is_writer()
    mined = mining.mine(
        run, split, k=k, batch_size=batch_size, partial_path=partial, progress=progress
    )
    if not parallel.is_writer():
        return mined
    found = winner_projection.locate(
        run, split, mined, k=k, one_per_image=one_per_image, progress=progress
    )
    options = {
        "one_per_image": one_per_image,
        "unit_value": unit_value,
        "rectify": rectify,
        "overlap": overlap,
    }
    with WinnersWriter(folder) as writer:
        winner_projection.project_winners(
            run,
            split,
            found,
            writer,
            unit_value=unit_value,
            rectify=rectify,
            overlap=overlap,
            progress=progress,
        )
        rows = writer.arrays["patches"]["photo_rows"].tolist()
        keys = {row: split.keys[row] for row in rows}
        writer.finish(_info(run, split, split_name, k) | options | {"keys": keys}, found)
    partial.unlink()
    return found


def _info(run: Run, split: Split, split_name: str, k: int) -> dict[str, Any]:
    layers = [conv.name for conv in run.architecture.convs]
    fields = {layer: geometry.receptive_field(run.architecture, layer) for layer in layers}
    return provenance.of_run(run) | {
        "split": split_name,
        "images": len(split),
        "data": split.fingerprint,
        "weights": run.weights_digest,
        "class_names": list(split.class_names),  # of the labels; the net may know other classes
        "k": k,
        "layers": layers,
        "receptive_fields": {n: [f.size, f.jump, f.start] for n, f in fields.items()},
    }
