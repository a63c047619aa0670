"""PASCAL VOC from TFDS: a tiny set of its shape, prepared, and judged by average precision."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import run_script
from zfnet_jax.data import voc
from zfnet_jax.data.decode import centre_square
from zfnet_jax.studies import saved
from zfnet_jax.studies.transfer import voc as voc_study
from zfnet_jax.studies.transfer.average_precision import average_precision
from zfnet_jax.studies.transfer.heads import fit
from zfnet_jax.studies.transfer.options import VocOptions
from zfnet_jax.studies.transfer.table import transfer_table

# TensorFlow and TFDS may warn of deprecations in their own dependencies.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = ("aeroplane", "bicycle", "bird")
IMAGES = 12  # in each split


def objects(number: int) -> list[tuple[str, bool]]:
    """The objects of an image, each with whether it is marked difficult."""
    first, second = NAMES[number % 3], NAMES[(number + 1) % 3]
    if number == 5:
        return [(first, True)]  # nothing but a difficult object
    if number % 4 == 1:
        return [(first, False), (second, True), (first, True)]
    return [(first, False), (first, False), *([(second, False)] if number % 2 else [])]


def presence(number: int) -> list[int]:
    """By the devkit's rule: 1 if any object is not difficult, 0 if all are, -1 if there is none."""
    codes = []
    for name in NAMES:
        found = [difficult for other, difficult in objects(number) if other == name]
        codes.append(-1 if not found else 0 if all(found) else 1)
    return codes


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory) -> Path:
    """A data set in the form of TFDS's voc/2012, stored as TFDS stores it by default."""
    import tensorflow_datasets as tfds

    class TinyVoc(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            label = tfds.features.ClassLabel(names=NAMES)
            one = {
                "label": label,
                "bbox": tfds.features.BBoxFeature(),
                "pose": tfds.features.ClassLabel(names=["frontal", "unspecified"]),
                "is_truncated": np.bool_,
                "is_difficult": np.bool_,
            }
            features = {
                "image": tfds.features.Image(encoding_format="png"),
                "image/filename": tfds.features.Text(),
                "objects": tfds.features.Sequence(one),
                "labels": tfds.features.Sequence(label),
                "labels_no_difficult": tfds.features.Sequence(label),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):  # noqa: ARG002
            return {name: self._generate_examples(seed) for seed, name in enumerate(voc.SPLITS)}

        def _generate_examples(self, seed):
            for number in range(IMAGES):
                found = [
                    {
                        "label": name,
                        "bbox": tfds.features.BBox(0.0, 0.0, 1.0, 1.0),
                        "pose": "unspecified",
                        "is_truncated": False,
                        "is_difficult": difficult,
                    }
                    for name, difficult in objects(number)
                ]
                yield (
                    number,
                    {
                        "image": photo(seed, number),
                        "image/filename": f"{seed}_{number}.png",
                        "objects": found,
                        "labels": sorted({one["label"] for one in found}),
                        "labels_no_difficult": sorted(
                            {one["label"] for one in found if not one["is_difficult"]}
                        ),
                    },
                )

    folder = tmp_path_factory.mktemp("tfds")
    TinyVoc(data_dir=str(folder)).download_and_prepare()
    return folder


def photo(seed: int, number: int) -> np.ndarray:
    """A picture whose mean colour tells its classes, and whose corner tells its number."""
    rng = np.random.default_rng((seed, number))
    colour = [200 if code >= 0 else 30 for code in presence(number)]
    image = np.clip(rng.normal(colour, 20, (70, 80, 3)), 0, 255).astype(np.uint8)
    image[20:50, 20:50] = number * 10
    return image


@pytest.fixture(scope="module")
def prepared(tfds_dir, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    how = {"data_dir": str(tfds_dir), "image_size": 64, "workers": 1, "progress": False}
    voc.prepare(folder, name="tiny_voc", **how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voc, "VocSource", None)  # all is there: TFDS is not asked
        voc.prepare(folder, name="tiny_voc", **how)
    for other in ({"name": "other"}, {"name": "tiny_voc", "image_size": 32}):
        with pytest.raises(ValueError, match=r"was prepared from tiny_voc at 64 pixels, not from"):
            voc.prepare(folder, **how | other)
    return folder


def test_presence_goes_with_the_right_image(prepared):
    for seed, name in enumerate(voc.SPLITS):
        split, codes = voc.open_split(prepared, name)
        assert split.class_names == NAMES
        assert codes.shape == (len(split), 3) == (IMAGES, 3)
        numbers = [int(image[32, 32, 0]) // 10 for image in split.images]
        assert sorted(numbers) == list(range(IMAGES))
        for number, image, code, label in zip(numbers, split.images, codes, split.labels):
            assert code.tolist() == presence(number)
            assert code[label] == max(code)
            assert (
                abs(
                    image.astype(int) - centre_square(Image.fromarray(photo(seed, number)), 64)
                ).max()
                <= 1
            )
    assert voc.open_split(prepared, "train")[0].mean is not None


def test_the_softmax_learns_every_class_that_is_present(prepared, run, tmp_path, monkeypatch):
    run = dataclasses.replace(run, directory=tmp_path)
    fits = []

    def recorded(*arguments, **options):
        weights = fit(*arguments, **options)
        fits.append((*arguments, weights))
        return weights

    answers = []
    log_probabilities = voc_study._log_probabilities

    def judged(*arguments):
        answers.append(log_probabilities(*arguments))
        return answers[-1]

    monkeypatch.setattr(voc_study.heads, "fit", recorded)
    monkeypatch.setattr(voc_study, "_log_probabilities", judged)
    train, validation = (voc.open_split(prepared, name) for name in voc.SPLITS)
    options = VocOptions(layer="fc7", grid=(10.0, 0.1), cv_folds=2)
    how = {"given": ["--prepared_dir=here"], "batch_size": 12, "progress": False}
    result = voc_study.measured(run, train, validation, options, **how)
    found = result.about

    # All of the training split but the image that shows only a difficult object, and every class of
    # an image once.
    codes = train[1][[max(code) == 1 for code in train[1].tolist()]]
    assert len(codes) == 11
    head, kernel, targets, (c,), (weights,) = fits[-1]
    assert (head, c) == ("softmax", found["regularisation"])
    np.testing.assert_array_equal(targets, codes == 1)
    assert targets.sum() > 11
    assert len(fits) == 2 + 1
    assert str(c) == max(found["cross_validation"], key=found["cross_validation"].get)

    # The same softmax, on the features themselves.
    seen = [
        np.asarray(run.forward(run.inputs(split.images))[1]["fc7"])
        for split, _ in (train, validation)
    ]
    own = seen[0][(train[1] == 1).any(axis=1)]
    others = seen[1] - own.mean(axis=0)
    own = own - own.mean(axis=0)
    scale = np.sqrt((own**2).sum(axis=1).mean())
    assert kernel.rows is None  # there are fewer images than features
    logits = others / scale @ (own / scale).T @ np.asarray(weights.coefficients) + weights.bias
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(answers[-1], expected, atol=2e-3)
    precisions = [average_precision(*pair) for pair in zip(answers[-1].T, validation[1].T)]
    np.testing.assert_allclose(found["average_precision"], precisions)
    assert found["mean"] == pytest.approx(np.mean(precisions))
    assert found["split"] == "validation"
    np.testing.assert_array_equal(result.arrays["log_probabilities"], answers[-1])
    np.testing.assert_array_equal(result.arrays["presence"], validation[1])
    assert voc_study.measured(run, train, validation, options, **how).about == found
    assert len(fits) == 2 + 1  # nothing is fitted again
    # Of the same images other annotations make another result.
    for number in range(2):
        changed = [train, validation]
        presence = changed[number][1].copy()
        presence[0] = np.roll(presence[0], 1)
        changed[number] = (changed[number][0], presence)
        other = voc_study.measured(run, *changed, options, **how)
        assert len(fits) == (2 + number) * (2 + 1)
        assert other.folder != result.folder
        assert voc_study.load(run, *changed, options).folder == other.folder
    assert voc_study.load(run, train, validation, options).about == found


def test_the_script_leaves_what_table_6_needs(prepared, tiny_run, tmp_path):
    for name in ("checkpoints", "config.json", "run.json"):
        (tmp_path / name).symlink_to(tiny_run / name)
    how = (f"--prepared_dir={prepared}", "--name=tiny_voc", "--grid=0.1,10", "--cv_folds=2")
    (output,) = run_script("voc", f"--workdir={tmp_path}", *how)
    assert "mean average precision on the validation images" in output
    (result,) = saved.find(tmp_path, "voc")
    assert str(result.folder) in output
    assert len(result.about["average_precision"]) == len(NAMES)
    with pytest.raises(ValueError, match=r"has the 20 classes of VOC 2012, but .* 3: it is of an"):
        transfer_table(6, tmp_path)
