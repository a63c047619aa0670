"""A prepared set of any size on next to no disk: its images are a file with holes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zfnet_jax.data import prepared, unfinished


def make_sparse(folder: Path, count: int, classes: int, size: int, noise: int = 5000) -> None:
    """A prepared split of `count` images whose pixels are holes, but for a block of noise in at
    most so many.

    Nothing if it is there.
    """
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    names = [f"n{10_000_000 + number}" for number in range(classes)]
    labels = (np.arange(count) * classes // count).astype(np.int32)
    random = np.random.default_rng(count)
    with (partial / "images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        begin, row = file.tell(), 3 * size * size
        for number in range(0, count if noise else 0, 1 + (count - 1) // max(noise, 1)):
            file.seek(begin + number * row + row // 2)  # where a centre crop has it
            file.write(random.bytes(min(row // 2, 4096)))
        file.truncate(begin + count * row)
    keys = [f"{names[label]}/{names[label]}_{row}.JPEG" for row, label in enumerate(labels)]
    (partial / "labels.npy").write_bytes(unfinished.to_npy(labels))
    (partial / "keys.json").write_bytes(unfinished.to_json(keys))
    (partial / "mean.npy").write_bytes(unfinished.to_npy(np.full((size, size, 3), 1, np.float32)))
    manifest = {
        "format": prepared.FORMAT,
        "source": {"source": "rehearsal"},
        "image_size": size,
        "class_names": names,
        "count": count,
        "rows_sha256": "of a rehearsal",
        "files": {path.name: prepared.file_record(path) for path in sorted(partial.iterdir())},
    }
    manifest["fingerprint"] = prepared.fingerprint(manifest)
    (partial / "manifest.json").write_bytes(unfinished.to_json(manifest))
    partial.rename(folder)
    stat = (folder / "images.npy").stat()
    print(f"{folder}: {stat.st_size / 1e9:.1f} GB, on the disk {stat.st_blocks * 512 / 1e9:.2f} GB")
