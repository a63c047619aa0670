"""Studies of a net without classes, and of one whose last maps are the class scores."""

from __future__ import annotations

import numpy as np
import pytest

import zfnet_jax
from configs import zfnet
from tests.conftest import copied
from zfnet_jax.data.prepared import PreparedSplit
from zfnet_jax.report import figures
from zfnet_jax.reproduce import execute, plan
from zfnet_jax.reproduce.report import write_report
from zfnet_jax.reproduce.reproduction import Effort, Reproduction, Sources
from zfnet_jax.runs import recipe
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies import images, photos
from zfnet_jax.studies.invariance import study as invariance
from zfnet_jax.studies.invariance.figure import figure5_summary
from zfnet_jax.studies.invariance.options import SplitOptions
from zfnet_jax.studies.invariance.statistics import statistics
from zfnet_jax.studies.invariance.table import answers
from zfnet_jax.studies.layers.strongest import strongest_maps
from zfnet_jax.studies.layers.strongest_figure import figure_strongest
from zfnet_jax.studies.occlusion.figure import figure7
from zfnet_jax.studies.occlusion.measure import occlude
from zfnet_jax.training import train

MADE = {"photos", "mine", "fig1", "fig2", "atlas", "fig3", "fig5", "fig6", "fig7"}
SHOWN = {"evaluate", "photos", "mine", "fig7"}  # what classes have to do with


class Quiet:
    def show(self, rows):
        pass


@pytest.fixture
def trunk(trunk_run, tmp_path) -> Run:
    return open_run(copied(trunk_run, tmp_path / "trunk"))


@pytest.mark.slow
def test_a_reproduction_makes_what_needs_no_classes(trunk):
    effort = Effort(summary=4)
    made = recipe.of_run(trunk.directory, zfnet.get_config())
    reproduction = Reproduction(trunk.directory, None, Sources(), effort, made)
    reproduction.run.config.eval_batch_size = 16
    rows = execute.make_rows(reproduction, plan.make_plan(reproduction))
    states = {row.step.name: row for row in rows}
    assert {name for name, row in states.items() if row.state == "waiting"} == MADE
    execute.execute(reproduction, [states[name] for name in states if name in SHOWN], Quiet())
    execute.keep_plan(reproduction, rows)
    assert not [row.reason for row in rows if row.state == "failed"]
    assert states["evaluate"].reason == "trunk has no classifier, which this needs"
    page = write_report(reproduction.report).read_text()
    assert "Not made: trunk has no classifier, which this needs." in page
    assert "No probabilities and classes: the net has no classifier." in page
    assert "none, it has no classifier" in page


@pytest.mark.parametrize("kind", ["trunk", "maps"])
def test_covered_in_windows_it_answers_as_covered_whole(kind, request, split):
    run = open_run(request.getfixturevalue(f"{kind}_run"))
    shared = {"square": 12, "stride": 12, "layer": "pool2", "fill": "grey", "seed": 0}
    fast, plain = (
        occlude(run, split.rows(np.arange(2)), None, **shared, batch_size=32, form=form,
                progress=False)
        for form in ("fast", "plain")
    )  # fmt: skip
    assert fast.keys() == plain.keys()
    assert ("probability" in fast) == (kind == "maps")
    for name, expected in plain.items():
        np.testing.assert_allclose(fast[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    assert fast["activity"].min() < fast["whole_activity"].min()
    if kind == "trunk":
        fast |= {"projection": fast["photo"].astype(np.float32), "names": np.array(["a", "b"])}
        fast |= {"window": np.array([[0, 0, 9, 9]] * 2), "layer": np.array("pool2")}
        with figures.use("screen"):
            texts = {text.get_text() for text in figure7(fast, None).axes[0].texts}
        assert {"(a) photo", "(b) activity"} <= texts
        assert not {"(d) probability", "(e) class"} & texts


def test_a_photo_in_a_notebook(trunk, split):
    photo = split.rows(np.array([0]))[0]
    assert zfnet_jax.project(trunk, photo, "pool2").shape == (*trunk.input_size, 3)
    arrays = strongest_maps(trunk, photo, 3)
    assert arrays["probabilities"].shape == (0,)
    texts = [text.get_text() for text in figure_strongest(arrays).axes[0].texts]
    assert "what the net saw" in texts
    assert "probability of class" not in texts


def test_invariance_has_distances_and_no_answers(trunk, split):
    options = SplitOptions(count=3, vertical="-4:4:4", scale="", rotation="")
    result = invariance.of_split(trunk, split, options, prepared_dir=None, progress=False)
    assert not [name for name in result.arrays if name.endswith(("probability", "class"))]
    assert result.arrays["vertical/relative/pool1"].shape == (3, 3)
    numbers = statistics(result.arrays)
    assert set(numbers[0]["points"][0]) == {"deviation", "distance"}
    columns = [column.title for column in answers(numbers).columns]
    assert columns == ["transformation", "by", "pool1 distance / norm", "pool2 distance / norm"]
    assert len(figure5_summary(result.arrays).axes) == 2  # a layer each, and no answers


def test_what_needs_classes_says_so(trunk, split: PreparedSplit, tiny_config, tmp_path):
    message = "trunk has no classifier, which this needs"
    with pytest.raises(ValueError, match=f"^{message}$"):
        images.in_classes_of(trunk, split)
    with pytest.raises(ValueError, match=f"^the class 'car': {message}$"):
        photos.class_number(trunk, "car")
    with pytest.raises(ValueError, match=message):
        zfnet_jax.occlude(trunk, split.rows(np.array([0]))[0], label="car")
    with tiny_config.unlocked():
        tiny_config.model.classifier = "none"
    with pytest.raises(ValueError, match=r"model\.classifier is 'none': a net without classes"):
        train.train_and_evaluate(tiny_config, tmp_path / "new", filters_picture=None)
    tiny_config.model.classifier, tiny_config.model.dense = "maps", ()
    with pytest.raises(ValueError, match=r"the last maps are the class scores, but they are .* 10"):
        train.train_and_evaluate(tiny_config, tmp_path / "new", filters_picture=None)
    assert not (tmp_path / "new").exists()
