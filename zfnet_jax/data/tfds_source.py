"""Pictures of a TensorFlow Datasets set, decoded by Pillow from the encoded bytes.

TensorFlow is imported only when such a source is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zfnet_jax import extras
from zfnet_jax.data.examples import Example


class TfdsSource:
    """One split of a TFDS set with the features 'image' and 'label', in the order of its files.

    A set that is not on the disk yet is downloaded and prepared by TFDS, in the array_record
    format if `random_access` is asked for and in TFDS's default otherwise. `source[position]`
    (streaming) needs array_record; reading in order works with both formats.
    """

    ignored = ()

    def __init__(
        self, name: str, split: str, *, data_dir: str, manual_dir: str, random_access: bool
    ):
        try:
            import tensorflow_datasets as tfds
        except ImportError:
            raise extras.missing("tensorflow-datasets", "tfds") from None

        self._name, self._split = name, split
        try:
            builder = tfds.builder(name, data_dir=data_dir or None)
            if not builder.is_prepared() and random_access:
                builder = tfds.builder(name, data_dir=data_dir or None, file_format="array_record")
        except tfds.core.DatasetNotFoundError as error:
            where = f" in {data_dir}" if data_dir else ""
            raise ValueError(
                f"config.data.tfds.name: TFDS knows no data set {name!r}{where}"
            ) from error
        if not builder.is_prepared():
            try:
                builder.download_and_prepare(
                    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir or None)
                )
            # TFDS asserts that the archives are there, and has no common class of errors.
            except Exception as error:
                raise ValueError(
                    f"config.data.tfds: {name!r} cannot be prepared: {error or type(error)}"
                ) from error
        self.class_names = self._class_names(dict(builder.info.features.items()))
        self._builder: Any = builder  # its methods are wrapped, so that their types are lost
        self._random_access = builder.info.file_format.value == "array_record"
        try:
            self._count = builder.info.splits[split].num_examples
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"config.data.tfds: {name!r} has no split {split!r}"
                f" (it has {', '.join(sorted(builder.info.splits))})"
            ) from error
        if random_access and not self._random_access:
            raise ValueError(
                f"config.data.streaming: {name!r} in {builder.data_path} is stored as"
                f" {builder.info.file_format.value}, which cannot be read out of order: store it as"
                " array_record (another config.data.tfds.data_dir), or set config.data.streaming"
                " to False and run scripts.prepare_data"
            )
        self._data_source: Any = self._open_data_source() if self._random_access else None
        files = builder.info.splits[split].file_instructions
        parts = [(Path(one.filename).name, one.skip, one.take) for one in files]
        self.state = hashlib.sha256(repr(parts).encode()).hexdigest()  # decides on the order

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> Example:
        key, row = self._row(position)
        return Example(key, self._label(row), row["image"])

    def examples(self, start: int = 0) -> Iterator[Example]:
        for key, row in self._rows(start):
            yield Example(key, self._label(row), row["image"])

    def notes(self) -> list[str]:
        return []

    def describe(self) -> dict[str, Any]:
        return {
            "source": "tfds",
            "name": self._name,
            "split": self._split,
            "version": str(self._builder.info.version),
            "file_format": self._builder.info.file_format.value,
            "examples": len(self),
        }

    def _class_names(self, features: dict[str, Any]) -> tuple[str, ...]:
        """The names of the classes. ValueError if a feature that is read is missing."""
        import tensorflow_datasets as tfds

        for feature, kind in (("image", tfds.features.Image), ("label", tfds.features.ClassLabel)):
            if not isinstance(features.get(feature), kind):
                raise ValueError(
                    f"config.data.tfds.name: {self._name!r} has no {kind.__name__} feature"
                    f" {feature!r} (it has {', '.join(sorted(features))})"
                )
        return tuple(features["label"].names)

    @staticmethod
    def _label(row: dict[str, Any]) -> int:
        return int(row["label"])

    def _row(self, position: int) -> tuple[str, dict[str, Any]]:
        return f"{self._name}-{self._split}__{position}", self._data_source[position]

    def _rows(self, start: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Key and features of every example from `start` on, the image still encoded."""
        if self._random_access:
            yield from (self._row(position) for position in range(start, len(self)))
            return
        for row in self._open_dataset().skip(start).as_numpy_iterator():
            yield row["tfds_id"].decode(), row

    def _open_data_source(self) -> Any:
        return self._builder.as_data_source(self._split, decoders=self._encoded())

    def _open_dataset(self) -> Any:
        import tensorflow_datasets as tfds

        # One file after the other, unshuffled: the order of the examples never changes.
        read_config = tfds.ReadConfig(
            interleave_cycle_length=1, add_tfds_id=True, try_autocache=False
        )
        return self._builder.as_dataset(
            split=self._split,
            shuffle_files=False,
            decoders=self._encoded(),
            read_config=read_config,
        )

    @staticmethod
    def _encoded() -> dict[str, Any]:
        import tensorflow_datasets as tfds

        return {"image": tfds.decode.SkipDecoding()}
