"""Some pictures of a split written as a prepared split of their own (see `prepared`)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zfnet_jax.data.images import Split
from zfnet_jax.data.prepared import FORMAT, file_record, fingerprint, read_index
from zfnet_jax.data.unfinished import PixelStatistics, publish, to_json, to_npy
from zfnet_jax.files import write_bytes

_ROWS_AT_A_TIME = 256


def write_subset(
    split: Split,
    rows: np.ndarray,
    folder: Path,
    *,
    labels: np.ndarray,
    class_names: Sequence[str],
    with_mean: bool,
) -> None:
    """Writes some rows of a split; nothing if the folder holds them already.

    Args:
      split: where the pictures come from.
      rows: [n], in the order that they are to have.
      folder: becomes a prepared split, in one go when it is complete.
      labels: [n], indices into `class_names`, which may be other classes than the split's.
      with_mean: whether their per-pixel mean goes with them, as a training split needs.

    Raises:
      ValueError: the folder holds other pictures.
    """
    keys = tuple(split.keys[row] for row in rows)
    if folder.exists():
        there = read_index(folder)
        of = there.manifest["source"].get("of")
        if (of, there.keys) != (split.fingerprint, keys) or (there.labels != labels).any():
            raise ValueError(f"{folder} holds other pictures: remove it")
        return
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    statistics = PixelStatistics(split.image_size)
    shape = (len(rows), split.image_size, split.image_size, 3)
    with (partial / "images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            images = split.rows(rows[start : start + _ROWS_AT_A_TIME])
            statistics.update(images)
            file.write(np.ascontiguousarray(images).data)
    write_bytes(partial / "labels.npy", to_npy(np.asarray(labels, np.int32)))
    write_bytes(partial / "keys.json", to_json(list(keys)))
    if with_mean:
        write_bytes(partial / "mean.npy", to_npy(statistics.mean()))
    manifest = {
        "format": FORMAT,
        "source": {"source": "subset", "of": split.fingerprint},
        "image_size": split.image_size,
        "count": len(rows),
        "class_names": list(class_names),
        "rows_sha256": statistics.sha256(),
        "files": {path.name: file_record(path) for path in sorted(partial.iterdir())},
    }
    manifest["fingerprint"] = fingerprint(manifest)
    write_bytes(partial / "manifest.json", to_json(manifest))
    publish(partial, folder)
