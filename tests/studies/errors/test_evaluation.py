"""Evaluation against slow loops: crops, ensembles, devices, calibration, refusals."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.conftest import copied, run_script, start_script
from zfnet_jax.data.images import Chosen, Crops, Photos
from zfnet_jax.data.prepared import PreparedSplit
from zfnet_jax.report import figures
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.errors import predictions, scores, study, summary
from zfnet_jax.studies.errors.confusion import confusion
from zfnet_jax.studies.errors.options import Options, ScoreOptions
from zfnet_jax.studies.errors.predict import predict
from zfnet_jax.studies.errors.predictions import Predictions, outcomes
from zfnet_jax.training.evaluation import make_evaluator
from zfnet_jax.training.step import topk_hits


@pytest.fixture(scope="module")
def other_run(tiny_run, tmp_path_factory) -> Path:
    """The folder of a run like `tiny_run` of other weights: it has trained for one epoch."""
    workdir = copied(tiny_run, tmp_path_factory.mktemp("other") / "run")
    for step in (8, 12):
        shutil.rmtree(workdir / "checkpoints" / str(step))
    metrics = workdir / "metrics.jsonl"
    metrics.write_text(metrics.read_text().splitlines(keepends=True)[0])
    return workdir


def answers(run: Run, images, crops: Crops = 1, batch_size: int = 16) -> dict[str, np.ndarray]:
    return predict(
        run, images, crops=crops, batch_size=batch_size, probabilities=True, progress=False
    )


def as_predictions(run: Run, split, crops: Crops = 1) -> Predictions:
    info = study.describe(run, split, Options(crops=crops))
    return Predictions(info=info, **answers(run, split, crops))


# Crops and ensembles.


def test_ten_crops_are_the_average_of_ten_passes_of_one_crop(run, split):
    size, crop = split.image_size, run.config.augment.crop
    far, middle = size - crop, (size - crop) // 2
    passes = []
    for top, left in ((0, 0), (0, far), (far, 0), (far, far), (middle, middle)):
        window = np.s_[..., top : top + crop, left : left + crop, :]
        for turned in (np.s_[:], np.s_[..., ::-1, :]):
            # Images of the crop's size have but one crop, the whole.
            view = dataclasses.replace(run, mean=run.mean[window][turned])
            photos = Photos(split.images[window][turned], split.labels)
            passes.append(answers(view, photos)["probabilities"])
    assert len({one.tobytes() for one in passes}) == 10
    found = answers(run, split, crops=10)
    np.testing.assert_allclose(found["probabilities"], np.mean(passes, axis=0), rtol=1e-5)
    np.testing.assert_array_equal(
        found["rank"], outcomes(np.mean(passes, axis=0), split.labels)["rank"]
    )


def test_one_crop_is_what_training_validates(run, split, tiny_config):
    found = as_predictions(run, split)
    expected = make_evaluator(run.net, tiny_config, split)(run.params, run.mean)
    assert np.mean(found.errors(1) == 0) == expected["top1"]
    assert np.mean(found.errors(5) == 0) == expected["top5"]
    assert found.loss.mean() == pytest.approx(expected["loss"], rel=1e-5)
    logits = run.forward(run.inputs(split.images))[0]
    np.testing.assert_allclose(found.probabilities, jax.nn.softmax(logits), rtol=1e-4)


def test_an_ensemble_of_one_is_the_single_net(run, split):
    single = as_predictions(run, split, crops=10)
    alone = predictions.ensemble([single], "one")
    for name in ("probabilities", "labels", "predicted", "rank", "confidence", "loss"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(single, name), err_msg=name)


def test_an_ensemble_averages_probabilities(run, other_run, split):
    members = [as_predictions(net, split) for net in (run, open_run(other_run))]
    together = predictions.ensemble(members, "two")
    average = np.empty((30, 10))
    for image, klass in np.ndindex(average.shape):
        first, second = (member.probabilities[image, klass] for member in members)
        average[image, klass] = (float(first) + float(second)) / 2
    np.testing.assert_allclose(together.probabilities, average, rtol=1e-6)
    losses = [-np.log(average[image, label]) for image, label in enumerate(split.labels)]
    np.testing.assert_allclose(together.loss, losses, rtol=1e-5)
    assert [member["step"] for member in together.info["members"]] == [12, 4]


# Every image once.


@dataclasses.dataclass(frozen=True)
class Noting:
    """A split that notes which rows are read."""

    split: PreparedSplit
    read: list[int] = dataclasses.field(default_factory=list)

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels

    def __len__(self) -> int:
        return len(self.split)

    def rows(self, index: np.ndarray) -> np.ndarray:
        self.read.extend(index.tolist())
        return self.split.rows(index)


@pytest.fixture(scope="module")
def answered(run, split):
    """By the number of crops."""
    return {crops: answers(run, split, crops) for crops in (1, 10)}


@pytest.mark.parametrize(
    ("batch_size", "crops"), [(1, 1), (7, 1), (30, 1), (64, 1), (7, 10), (64, 10)]
)
def test_the_batch_size_does_not_matter_and_loses_no_image(run, split, answered, batch_size, crops):
    expected, noting = answered[crops], Noting(split)
    found = answers(run, noting, crops, batch_size)
    assert noting.read == list(range(30))
    for name in ("labels", "predicted", "rank"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], rtol=1e-4)


@pytest.mark.slow
def test_two_processes_find_what_one_does(answered, tiny_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(tiny_run, workdir)
    outputs = run_script(
        "evaluate", f"--workdir={workdir}", "--batch_size=7", processes=2, devices=2
    )
    assert "| run | 30 | " in outputs[0]
    assert not any("| run |" in output for output in outputs[1:])
    expected = answered[10]
    found = predictions.find(workdir, "validation", 10)
    for name in ("labels", "predicted", "rank"):
        np.testing.assert_array_equal(getattr(found, name), expected[name], err_msg=name)
    np.testing.assert_allclose(found.probabilities, expected["probabilities"], rtol=1e-4)


def test_an_answer_that_is_no_number_stops_with_its_image(run, split):
    params = jax.tree.map(np.array, run.params)
    params["conv5"]["bias"][2] = np.nan
    with pytest.raises(FloatingPointError, match="image 0 gives probabilities"):
        answers(dataclasses.replace(run, params=params), split)


def test_no_image_is_an_error(run, split):
    with pytest.raises(ValueError, match="no image to evaluate"):
        answers(run, Chosen(split, np.arange(0)))


# Numbers.


def fake(probabilities: np.ndarray, labels: np.ndarray, **info) -> Predictions:
    names = [f"class {number}" for number in range(probabilities.shape[1])]
    return Predictions(
        info={"class_names": names} | info,
        probabilities=probabilities,
        **outcomes(probabilities, labels),
    )


def random_answers(images: int, classes: int, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.3), images).astype(np.float32)
    return fake(probabilities, rng.integers(0, classes, images).astype(np.int32))


def test_ties_count_against_the_net_as_in_training():
    table = np.array(
        [[2, 2, 1, 0, 0, 0], [0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]]
    )
    labels = np.array([0, 5, 2, 0], np.int32)
    probabilities = np.asarray(jax.nn.softmax(table.astype(np.float32)))
    found = fake(probabilities, labels)
    top1, top5 = topk_hits(table.astype(np.float32), labels)
    np.testing.assert_array_equal(found.errors(1) == 0, top1)
    np.testing.assert_array_equal(found.errors(5) == 0, top5)
    assert found.predicted[0] == 1
    np.testing.assert_array_equal(found.predicted == labels, top1)


def test_a_probability_of_zero_leaves_the_loss_finite():
    found = fake(np.array([[1, 0]], np.float32), np.array([1], np.int32))
    assert 80 < found.loss[0] < 90


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_error_against_a_loop_over_bins(bins):
    found = random_answers(500, 4)
    right = found.predicted == found.labels
    error = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [i for i in range(500) if low < found.confidence[i] <= high]
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            confidence = sum(float(found.confidence[i]) for i in inside) / len(inside)
            error += len(inside) / 500 * abs(accuracy - confidence)
    assert error > 0.01
    assert scores.calibration_error(found.confidence, right, bins) == pytest.approx(error)


def test_calibration_of_nets_that_know_what_they_do_not_know():
    confidence = np.full(1000, 0.75, np.float32)
    right = np.arange(1000) % 4 > 0
    assert scores.calibration_error(confidence, right, 15) == pytest.approx(0)
    assert scores.calibration_error(confidence, right & False, 15) == pytest.approx(0.75)
    assert scores.calibration_error(np.ones(4, np.float32), np.ones(4, bool), 15) == 0


def test_a_confidence_at_an_edge_belongs_to_the_bin_below():
    confidence, right = np.array([0.25, 0.5, 0.75], np.float32), np.array([False, True, False])
    assert scores.calibration_error(confidence, right, 2) == pytest.approx((0.25 + 0.75) / 3)


def test_confusion_and_accuracy_of_classes_against_loops():
    found = random_answers(300, 5)
    found.labels[found.labels == 3] = 1  # no image of class 3
    found = fake(found.probabilities, found.labels)
    matrix = scores.confusion_matrix(found)
    for true, answer in np.ndindex(5, 5):
        count = sum(
            label == true and row.argmax() == answer
            for label, row in zip(found.labels, found.probabilities)
        )
        assert matrix[true, answer] == count
    result = scores.scores(found, ScoreOptions())
    for number, (name, accuracy) in enumerate(result["per_class"].items()):
        here = found.labels == number
        if number == 3:
            assert accuracy is None
        else:
            assert accuracy == pytest.approx((found.predicted == number)[here].mean()), name
    assert result["top1"][0] == pytest.approx(1 - np.trace(matrix) / 300)
    json.dumps(result, allow_nan=False)


# Saved, read again, refused.


def test_probabilities_go_to_their_file_batch_by_batch(run, split):
    """Those of ImageNet's training images are 5 GB."""
    file, given = io.BytesIO(), {"crops": 1, "batch_size": 8, "progress": False}
    found = predict(run, split, probabilities=True, file=file, **given)
    assert "probabilities" not in found
    file.seek(0)
    whole = predict(run, split, probabilities=True, **given)
    assert np.load(file).tobytes() == whole["probabilities"].tobytes()


@pytest.fixture
def passes(monkeypatch) -> list[bool]:
    """Of every pass over the images, whether probabilities are kept."""
    made = []

    def counted(*arguments, **options):
        made.append(options["probabilities"])
        return predict(*arguments, **options)

    monkeypatch.setattr(study, "predict", counted)
    return made


@pytest.fixture
def here(run, tmp_path) -> Run:
    """The tiny run, with a folder of its own for results."""
    shutil.copytree(run.directory, tmp_path / "run", ignore=shutil.ignore_patterns("studies"))
    return dataclasses.replace(run, directory=tmp_path / "run")


def predicted(run: Run, split, *, probabilities: bool) -> Predictions:
    options = Options(crops=1, probabilities=probabilities)
    result = study.predicted(run, split, options, batch_size=16, progress=False)
    return predictions.of_result(result)


def test_saved_predictions_are_not_made_again_unless_something_changed(here, split, passes):
    first = predicted(here, split, probabilities=False)
    assert first.probabilities is None
    predicted(here, split, probabilities=False)
    assert passes == [False]
    # Those without probabilities do not do for who asks for them; the other way round they do.
    whole = predicted(here, split, probabilities=True)
    again = predicted(here, split, probabilities=True)
    assert predicted(here, split, probabilities=False).info == whole.info
    assert passes == [False, True]
    np.testing.assert_array_equal(again.probabilities, whole.probabilities)
    for name in ("labels", "predicted", "rank", "confidence", "loss"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(first, name), err_msg=name)
    assert again.info == whole.info
    assert again.identity == first.identity
    assert (first.info["epoch"], first.info["epochs"], first.info["images"]) == (3, 3, 30)
    folders = [path.name for path in (here.directory / "studies" / "errors").iterdir()]
    assert len(folders) == 2
    assert all(name.startswith("validation-1crop-") for name in folders)
    # What is asked for is in the command that makes the same.
    assert first.info["command"].endswith("--step=12 --crops=1 --noprobabilities")


def test_other_weights_images_and_preprocessing_are_other_results(here, split, passes):
    with_scale = open_run(here.directory)
    with with_scale.config.ignore_type():
        with_scale.config.augment.scale = 15.0
    params = jax.tree.map(lambda leaf: leaf * 2, here.params)
    for run, images in (
        (here, split),
        (dataclasses.replace(here, params=params), split),
        (with_scale, split),
        (here, dataclasses.replace(split, fingerprint="other")),
    ):
        made = len(passes)
        for _ in range(2):
            predicted(run, images, probabilities=True)
        assert len(passes) == made + 1


def test_of_saved_predictions_those_of_the_newest_step_are_found(here, split):
    assert predictions.find(here.directory, "validation", 1) is None
    for step in (4, 12):
        predicted(open_run(here.directory, step), split, probabilities=False)
    found = predictions.find(here.directory, "validation", 1)
    assert (found.info["step"], found.probabilities) == (12, None)
    assert predictions.find(here.directory, "validation", 1, step=4).info["step"] == 4
    assert predictions.find(here.directory, "validation", 1, step=8) is None
    whole = predicted(here, split, probabilities=True)
    found = predictions.find(here.directory, "validation", 1)
    np.testing.assert_array_equal(found.probabilities, whole.probabilities)
    assert predictions.find(here.directory, "validation", 10) is None
    assert predictions.find(here.directory, "train", 1) is None
    assert found.others == ()


def test_of_two_sets_of_images_the_runs_own_are_found_then_the_newest(here, split):
    def found(data: str | None = None) -> tuple[str, int]:
        one = predictions.find(here.directory, "validation", 1, data)
        return one.info["data"]["fingerprint"], len(one.others)

    other, third = (dataclasses.replace(split, fingerprint=name) for name in ("other", "third"))
    for images in (split, other, third):
        result = study.predicted(here, images, Options(crops=1), batch_size=16, progress=False)
        about = json.loads((result.folder / "about.json").read_text())
        about["finished"] = f"2026-01-0{1 + (images is third)}T00:00:00"
        (result.folder / "about.json").write_text(json.dumps(about))
    assert found() == (split.fingerprint, 2)
    assert found("other") == ("other", 0)
    assert predictions.find(here.directory, "validation", 1, "none of them") is None
    (here.directory / "run.json").write_text(json.dumps({"data": None}))
    assert found() == ("third", 2)


def test_the_command_says_where_the_images_lie(tiny_run, prepared_pictures, tmp_path):
    workdir, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(tiny_run, workdir, ignore=shutil.ignore_patterns("studies"))
    shutil.copytree(prepared_pictures, elsewhere)
    options = Options(crops=1, probabilities=False)
    (result,) = summary.predicted(
        [workdir], options, together=False, prepared_dir=str(elsewhere), batch_size=16
    )
    assert f" --prepared_dir={elsewhere} " in result.about["command"]


def test_without_their_probabilities_an_ensemble_says_what_to_remove(here, split):
    members = [predicted(here, split, probabilities=True), as_predictions(here, split)]
    (result,) = saved.find(here.directory, "errors")
    (result.folder / "probabilities.npy").unlink()
    members[0] = predicted(here, split, probabilities=True)
    members[1] = dataclasses.replace(members[1], info=members[1].info | {"weights": "others"})
    with pytest.raises(ValueError, match=rf"npy is gone: remove {result.folder}, and evaluate run"):
        predictions.ensemble(members, "two")


def test_an_imported_net_has_a_scale_per_channel_and_no_epochs(tiny_run, split, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(json.dumps({"data": None}))
    run = open_run(tmp_path / "run")
    with run.config.ignore_type():
        run.config.augment.scale = (58.0, 57.0, 57.5)
    info = study.describe(run, split, Options(crops=10))
    assert json.loads(json.dumps(info)) == info
    assert info["preprocessing"]["scale"] == [58.0, 57.0, 57.5]
    assert info["epoch"] is None
    assert not np.array_equal(
        answers(run, split, 10)["probabilities"],
        answers(open_run(tiny_run), split, 10)["probabilities"],
    )


@pytest.mark.parametrize("name", ["arrays.npz", "probabilities.npy"])
def test_damaged_predictions_are_told(here, split, name):
    predicted(here, split, probabilities=True)
    (result,) = saved.find(here.directory, "errors")
    path = result.folder / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged: remove"):
        predictions.find(here.directory, "validation", 1)


CHANGES = [
    (("preprocessing", "crop"), 48, "preprocessing.crop is 48, not 56"),
    (("preprocessing", "scale"), 1.0, "preprocessing.scale is 1.0, not 16.0"),
    (("preprocessing", "scale"), [58.0, 57.0], "preprocessing.scale is [58.0, 57.0], not 16.0"),
    (("preprocessing", "mean"), "x", "preprocessing.mean is 'x', not '"),
    (("preprocessing", "image_size"), 72, "preprocessing.image_size is 72, not 64"),
    (("data", "fingerprint"), "x", "data.fingerprint is 'x', not '"),
    (("crops",), 10, "crops is 10, not 1"),
    (("split",), "train", "split is 'train', not 'validation'"),
    (("class_names",), ["cat"], "class_names are 1, not 10"),
]


@pytest.mark.parametrize(("field", "value", "message"), CHANGES)
def test_runs_that_do_not_match_are_refused_by_name(run, split, field, value, message):
    info = study.describe(run, split, Options(crops=1))
    other = json.loads(json.dumps(info)) | {"run": "other", "weights": "y"}
    predictions.check_ensemble([info, other])
    place = other
    for name in field[:-1]:
        place = place[name]
    place[field[-1]] = value
    with pytest.raises(ValueError, match="other does not match") as error:
        predictions.check_ensemble([info, other])
    assert f"{info['run']}: {message}" in str(error.value)
    with pytest.raises(ValueError, match="does not match other"):
        predictions.check_ensemble([other, info])


def test_a_class_of_another_name_is_told(run, split):
    info = study.describe(run, split, Options(crops=1))
    other = info | {"run": "other", "class_names": [*info["class_names"][:-1], "zebra"]}
    with pytest.raises(ValueError, match=r"class_names\[9\] is 'zebra', not"):
        predictions.check_match([info, other])


def test_the_same_net_twice_is_no_ensemble(run, split):
    single = as_predictions(run, split)
    with pytest.raises(ValueError, match="are the same net"):
        predictions.ensemble([single, single], "two")


def test_an_ensemble_needs_probabilities(run, other_run, split):
    members = [as_predictions(net, split) for net in (run, open_run(other_run))]
    members[1] = dataclasses.replace(members[1], probabilities=None)
    with pytest.raises(ValueError, match="were not kept: evaluate it again with --probabilities"):
        predictions.ensemble(members, "two")


def test_images_of_other_classes_or_size_are_refused(run, split):
    other = dataclasses.replace(split, class_names=("cat", "dog"))
    with pytest.raises(ValueError, match=r"have other classes than .*: 2 \(cat, dog\), not 10"):
        study.describe(run, other, Options(crops=1))
    small = dataclasses.replace(split, images=split.images[:, :60, :60])
    with pytest.raises(ValueError, match=r"have 60 pixels, but data\.image_size of .* is 64"):
        study.describe(run, small, Options(crops=1))


# Figure and script.


def texts(figure: Figure) -> list[list[str]]:
    return [[text.get_text() for text in axis.texts] for axis in figure.axes]


def test_the_confusion_of_few_classes_has_their_numbers(tmp_path):
    names = ["cat", "dog", "$fish_1$", "none"]
    matrix = np.array([[8, 2, 0, 0], [1, 2, 1, 0], [0, 0, 3, 0], [0, 0, 0, 0]])
    for style in ("screen", "paper"):
        with figures.use(style):
            figure = confusion(matrix, names)
        figures.save(figure, tmp_path / f"{style}.png", style)
    cells, accuracies = texts(figure)
    assert cells == ["80", "20", "25", "50", "25", "100"]
    assert accuracies == ["50%  dog", "80%  cat", "100%  $fish_1$", "no image  none"]


def test_the_confusion_of_many_classes_lists_the_most_frequent(tmp_path):
    matrix = 10 * np.eye(100, dtype=int)
    matrix[3, 7], matrix[50, 2] = 5, 90
    figure = confusion(matrix, [f"c{number}" for number in range(100)])
    assert texts(figure) == [[], ["90%  c50 as c2", "33%  c3 as c7"]]
    figures.save(figure, tmp_path / "many.png")


def evaluate(*arguments: str) -> subprocess.CompletedProcess:
    process = start_script("evaluate", *arguments)
    output, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def test_the_script_evaluates_runs_and_their_ensemble(tiny_run, other_run, tmp_path):
    sweep, out = tmp_path / "sweep", tmp_path / "out"
    for name, source in (("first", tiny_run), ("second", other_run)):
        shutil.copytree(source, sweep / name)
    workdirs = [f"--workdir={sweep / name}" for name in ("first", "second")]
    result = evaluate(*workdirs, f"--out={out}", "--crops=1", "--style=paper")
    assert result.returncode == 0, result.stderr
    (folder,) = (sweep / "first" / "studies" / "errors").iterdir()
    kept = sorted(path.name for path in folder.iterdir())
    assert [name for name in kept if not name.startswith("scores-")] == [
        "about.json",
        "arrays.npz",
        "confusion.pdf",
        "confusion.png",
        "probabilities.npy",
    ]
    assert len(kept) == 6
    members = [predictions.find(sweep / name, "validation", 1) for name in ("first", "second")]
    (together,) = out.iterdir()
    assert together.name.startswith("ensemble_of_2_validation_1_crop-")
    both = predictions.of_result(saved.load(together))
    assert both.info["study"] == "ensemble"
    assert {"step", "finished"} <= both.info.keys()
    drawn = ("figures", "--figure=7", f"--arrays={together}", f"--out={tmp_path / 'figure'}")
    _, errors = start_script(*drawn).communicate(timeout=300)
    assert errors == f"error: {together} holds no arrays of figure 7\n"
    expected = predictions.ensemble(members, "two")
    np.testing.assert_array_equal(both.probabilities, expected.probabilities)
    (scored,) = together.glob("scores-*.json")
    top1 = json.loads(scored.read_text())["top1"]
    assert top1[0] == pytest.approx(expected.errors(1).mean())
    rows = [line for line in result.stdout.splitlines() if line.startswith("| ensemble of 2 |")]
    assert f"| {100 * top1[0]:.1f} [{100 * top1[1]:.1f}, {100 * top1[2]:.1f}] |" in rows[0]
    difference = 100 * (expected.errors(1) - members[0].errors(1)).mean()
    assert rows[1].startswith(f"| ensemble of 2 | {difference:+.1f} [" if difference else "")

    # A sweep's runs are found in its folder, those that are not finished left out.
    before = (folder / "arrays.npz").stat().st_mtime_ns
    result = evaluate(f"--sweep={sweep}", "--crops=1")
    assert result.returncode == 0, result.stderr
    assert f"left out: {sweep / 'second'} trained for 1 of 3 epochs" in result.stdout
    assert "| first | 30 |" in result.stdout
    assert (folder / "arrays.npz").stat().st_mtime_ns == before
    assert sorted(path.name for path in folder.iterdir()) == kept
    # An ensemble that is kept among a run's own predictions is none of them.
    shutil.copytree(together, folder.with_name(together.name))
    assert [one.folder for one in saved.find(sweep / "first", "errors")] == [folder]


def test_the_script_refuses_what_makes_no_sense(tiny_run, tmp_path):
    for arguments, message in (
        ([], "give either --workdir=DIR, once or more, or --sweep=DIR"),
        ([f"--workdir={tiny_run}", f"--out={tmp_path}"], "--out is for an ensemble"),
        ([f"--workdir={tiny_run}"] * 2, "are the same net"),
        ([f"--sweep={tmp_path}"], "holds no folder of a run"),
    ):
        result = evaluate(*arguments)
        assert result.returncode != 0
        assert result.stderr.startswith("error: "), result.stderr
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1
