"""A TFDS set gives the same prepared arrays as a folder of the same lossless photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import quickstart
from tests.conftest import SHALLOW, tiny
from tests.photo_folders import config, run, save_photos
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.sources import make_source
from zfnet_jax.data.splits import open_split
from zfnet_jax.training.train import train_and_evaluate

# TensorFlow and TFDS may warn of deprecations in their own dependencies.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NAME = "png_photos"


@pytest.fixture(scope="module")
def _builders() -> None:
    """Registers two data sets with TFDS: the photos of manual_dir, and one without labels."""
    import tensorflow_datasets as tfds

    class PngPhotos(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        MANUAL_DOWNLOAD_INSTRUCTIONS = "A folder for each split with a folder for each class."

        def _info(self):
            features = {
                "image": tfds.features.Image(encoding_format="png"),
                "label": tfds.features.ClassLabel(names=["a", "b"]),
            }
            # Unshuffled, so that the order is that of the folder.
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager):
            manual = Path(dl_manager.manual_dir)
            return {
                name: self._generate_examples(manual / name) for name in ("train", "validation")
            }

        def _generate_examples(self, folder):
            for number, path in enumerate(sorted(folder.glob("*/*.png"))):
                yield number, {"image": str(path), "label": path.parent.name}

    class OnlyImages(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict({"image": tfds.features.Image()})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):  # noqa: ARG002
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield 0, {"image": np.zeros((8, 8, 3), np.uint8)}


@pytest.fixture
def data(tmp_path, _builders) -> ConfigDict:
    save_photos(tmp_path / "train", {"a": 4, "b": 5}, seed=1)
    save_photos(tmp_path / "validation", {"a": 1, "b": 2}, seed=2)
    data = config(tmp_path, source="tfds", prepared_dir=str(tmp_path / "from_tfds"))
    data.tfds.update(
        name=NAME,
        validation="validation",
        data_dir=str(tmp_path / "tfds"),
        manual_dir=str(tmp_path),
    )
    return data


@pytest.mark.parametrize("streaming", [False, True], ids=["tfrecord", "array_record"])
def test_prepared_from_tfds_is_prepared_from_the_folder(data, tmp_path, streaming):
    data.streaming = streaming  # makes TFDS store the set for random access
    run(data)
    run(config(tmp_path, prepared_dir=str(tmp_path / "from_folder")))
    for name in ("train", "validation"):
        tfds, folder = (open_prepared(tmp_path / f"from_{n}", name) for n in ("tfds", "folder"))
        assert np.array_equal(tfds.images, folder.images)
        assert np.array_equal(tfds.labels, folder.labels)
        assert tfds.class_names == folder.class_names == ("a", "b")
        assert len(set(tfds.keys)) == len(tfds)
    assert np.array_equal(
        open_prepared(data.prepared_dir, "train").mean,
        open_prepared(tmp_path / "from_folder", "train").mean,
    )


def test_reading_can_start_anywhere(data):
    source = make_source(data, "train")
    whole = list(source.examples())
    assert len(whole) == len(source) == 9
    for start in (0, 1, 4, 8, 9):
        assert list(source.examples(start)) == whole[start:]


def test_streaming_equals_prepared(data):
    data.streaming = True
    run(data)
    run(data, store_images=False)
    prepared = open_prepared(data.prepared_dir, "train")
    streamed = open_split(data, "train")
    index = np.array([8, 0, 3])
    assert streamed.fingerprint == prepared.fingerprint
    assert np.array_equal(streamed.rows(index), prepared.rows(index))


def test_streaming_a_set_without_random_access_says_what_to_do(data):
    make_source(data, "train")  # TFDS stores the set in its default format
    data.streaming = True
    with pytest.raises(ValueError, match="cannot be read out of order: store it as array_record"):
        make_source(data, "train")


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"name": "no_such_set"}, "TFDS knows no data set 'no_such_set'"),
        ({"name": "only_images"}, "'only_images' has no ClassLabel feature 'label'"),
        ({"train": "practice"}, "has no split 'practice'"),
    ],
)
def test_wrong_sets_are_one_line_errors(data, overrides, error):
    data.tfds.update(overrides)
    with pytest.raises(ValueError, match=error) as caught:
        make_source(data, "train")
    assert len(str(caught.value)) < 300


def test_split_slices(data):
    data.tfds.train = "train[:5]"
    assert len(list(make_source(data, "train").examples())) == 5


def test_trains_on_a_tfds_source(data, tmp_path):
    training = quickstart.get_config()
    tiny(training, Path(data.prepared_dir))
    small = {"batch_size": 8, "epochs": 1, "data.image_size": 64}
    training.update_from_flattened_dict(SHALLOW | small)
    training.data.source, training.data.tfds = "tfds", data.tfds
    run(training.data)
    result = train_and_evaluate(training, tmp_path / "run")
    assert result["epoch"] == 1
    assert 0 < result["val/loss"] < 20
