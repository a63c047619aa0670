"""The folder that mining leaves: winners of every map, their projections and patches, provenance.

    winners.npz      per layer L of M maps, K winners each: 'L/value' [M, K], 'L/image' [M, K],
                     'L/label' [M, K], 'L/position' [M, K, 2], 'L/window' [M, K, 4]
    projections.npz  'L/projection' [M, K, h, w, C] float16, times 'L/scale' [M, K]
    patches.npz      'L/patch' [M, K, h, w, C] uint8; of the winners' photos 'photos' [P, H, W, C],
                     'photo_rows' [P] in the data set and 'photo_keys' [P], what it calls them
    about.json       what it was made from, and with which options (see `studies.saved`)

A projection and its patch show the winner's window moved inside its photo, or all of the photo
where the window is larger: h = min(s, H) for a receptive field of s rows.

Reading it takes no model and no accelerator.
"""

from __future__ import annotations

import dataclasses
import shutil
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.files import damage_told
from zfnet_jax.geometry import ReceptiveField
from zfnet_jax.runs import origins, titles
from zfnet_jax.studies import saved
from zfnet_jax.windows import Pair

Arrays = dict[str, np.ndarray]

NAME = "features"  # of the study
NO_PATCH = 128  # what a patch shows where there is no winner


@dataclasses.dataclass(frozen=True)
class Winners:
    """The winners of one checkpoint over one split; arrays as named at the top of the module.

    Attributes:
      about: what it was made from: 'options', 'data', 'images' (of the split), 'layers',
        'class_names', 'receptive_fields' {layer: [size, jump, start]}, one each of rows and columns
        where they differ, 'step', 'epoch', 'run', ...
      winners: small, in memory; image and label are -1 and value 0 where a map has no winner.
      projections, patches: mapped from the disk, read-only.
    """

    folder: Path
    about: dict[str, Any]
    winners: Arrays
    projections: Mapping[str, np.ndarray]
    patches: Mapping[str, np.ndarray]

    @property
    def layers(self) -> list[str]:
        """Names of the conv layers."""
        return self.about["layers"]

    def fields(self, layer: str) -> tuple[ReceptiveField, ReceptiveField]:
        """The receptive field of a layer's units along rows and along columns."""
        said = self.about["receptive_fields"][layer]
        rows, columns = said if isinstance(said[0], list) else (said, said)
        return ReceptiveField(*rows), ReceptiveField(*columns)

    def field_sides(self, layer: str) -> Pair:
        """Rows and columns of pixels that a unit of a layer sees."""
        rows, columns = self.fields(layer)
        return rows.size, columns.size

    @property
    def options(self) -> dict[str, Any]:
        """What it was mined with, see `features.options`."""
        return self.about["options"]

    @property
    def class_titles(self) -> tuple[str, ...]:
        """What to show of the classes of the labels; see `data.titles`."""
        return titles.of_classes(saved.run_of(self.folder), self.about["class_names"])

    @property
    def origins(self) -> dict[str, str]:
        """What layers are called where the net comes from; see `runs.origins`."""
        return origins.given(saved.run_of(self.folder))

    @property
    def keys(self) -> dict[int, str]:
        """What the data set calls the winners' photos, by row."""
        rows, keys = self.patches["photo_rows"], self.patches["photo_keys"]
        return dict(zip(rows.tolist(), keys.tolist(), strict=True))

    def projection(self, layer: str, number: int) -> np.ndarray:
        """What the winners of a map project to, [K, h, w, C] float32, in units of pixels."""
        scale = self.projections[f"{layer}/scale"][number]
        return self.projections[f"{layer}/projection"][number] * scale[:, None, None, None]


def load(folder: str | Path) -> Winners:
    """Opens what mining left in a folder, `WORKDIR/studies/features/SPLIT-STEP-DIGEST`.

    Raises:
      FileNotFoundError: nothing was mined there.
      ValueError: it is the result of another study; or a file of it is missing or damaged.
    """
    folder = Path(folder)
    if not (folder / "about.json").exists():
        raise FileNotFoundError(f"no winners in {folder}: run python -m scripts.mine first")
    about = saved.load(folder).about
    if about["study"] != NAME:
        raise ValueError(f"{folder} holds no winners but a result of {about['study']}")
    with damage_told(folder, "remove it and mine again"):
        with np.load(folder / "winners.npz") as arrays:
            winners = dict(arrays)
        return Winners(
            folder=folder,
            about=about,
            winners=winners,
            projections=MappedArrays(folder / "projections.npz"),
            patches=MappedArrays(folder / "patches.npz"),
        )


def files(folder: Path) -> list[Path]:
    """All that mining leaves in its folder."""
    names = ("winners.npz", "projections.npz", "patches.npz", "about.json")
    return [folder / name for name in names]


class MappedArrays(Mapping[str, np.ndarray]):
    """The arrays of an uncompressed .npz file, each mapped from the disk when it is asked for."""

    def __init__(self, path: Path):
        self._path = path
        with zipfile.ZipFile(path) as archive:
            self._members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}

    def __getitem__(self, name: str) -> np.ndarray:
        member = self._members[name]
        with self._path.open("rb") as file:
            file.seek(member.header_offset + 26)  # the local header ends with name and extra field
            file.seek(sum(struct.unpack("<HH", file.read(4))), 1)
            version = np.lib.format.read_magic(file)
            read = getattr(np.lib.format, f"read_array_header_{version[0]}_{version[1]}")
            shape, _, dtype = read(file)
            return np.memmap(self._path, dtype, "r", file.tell(), shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


class WinnersWriter:
    """Takes the pictures of winners in any order, on the disk, and packs them in a folder.

    Use as a context manager.

    Attributes:
      arrays: by file ('projections', 'patches') and name, mapped from the disk; they hold 'no
        winner' until they are written to.
    """

    def __init__(self, folder: Path):
        """`folder` is filled: one that gets its name when it is complete."""
        self._folder = folder
        self.arrays: dict[str, dict[str, np.memmap]] = {"projections": {}, "patches": {}}

    def __enter__(self) -> WinnersWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.arrays.clear()

    def add(self, file: str, name: str, shape: tuple[int, ...], dtype: Any, fill: float) -> None:
        """Makes an array of a file, full of one value."""
        path = self._folder / file / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
        if fill:  # the file is made of zeros
            array[...] = fill
        self.arrays[file][name] = array

    def finish(self, winners: Arrays, keys: Sequence[str]) -> None:
        """Packs the files; `keys` is what the data set calls each of its images."""
        rows = self.arrays["patches"]["photo_rows"]
        names = np.array([keys[row] for row in rows], np.str_)
        self.add("patches", "photo_keys", names.shape, names.dtype, 0)
        self.arrays["patches"]["photo_keys"][...] = names
        np.savez(self._folder / "winners.npz", allow_pickle=False, **winners)
        for file, arrays in self.arrays.items():
            with zipfile.ZipFile(self._folder / f"{file}.npz", "w", zipfile.ZIP_STORED) as archive:
                for name, array in arrays.items():
                    array.flush()
                    path = self._folder / file / f"{name}.npy"
                    archive.write(path, f"{name}.npy")
                    path.unlink()
            shutil.rmtree(self._folder / file)
