"""Figures whose words are names of any kind: nothing breaks, none is lost, each has its room."""

from __future__ import annotations

import io
import logging
import re

import numpy as np
import pytest
from absl import logging as absl_logging
from hypothesis import example, given
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.any_names import HARD, LISTS, some
from zfnet_jax import names
from zfnet_jax.report import figures, text
from zfnet_jax.studies.errors.confusion import confusion
from zfnet_jax.studies.errors.training_curves import curves
from zfnet_jax.studies.invariance.figure import figure5
from zfnet_jax.studies.layers.strongest_figure import figure_strongest
from zfnet_jax.studies.occlusion.figure import figure7
from zfnet_jax.studies.transfer.figure import figure9

RNG = np.random.default_rng(0)
PHOTOS = RNG.integers(0, 256, (9, 16, 16, 3)).astype(np.uint8)


def words(figure: Figure) -> list[str]:
    """All texts of a figure that show; draws it small."""
    text.use_fonts_that_have_its_letters(figure)
    with text.without_remarks():
        figure.savefig(io.BytesIO(), dpi=20)
    there = [one for one in figure.findobj(Text) if isinstance(one, Text) and one.get_text()]
    return [one.get_text().removeprefix("\u200e") for one in there]


def occluded(class_names: list[str]) -> dict[str, np.ndarray]:
    count = len(class_names)
    number = np.arange(count)
    return {
        "class_names": np.array(class_names),
        "label": number,
        "names": np.array([f"{name}/{name}" for name in class_names]),
        "layer": np.array("conv1"),
        "map": number,
        "photo": PHOTOS[:count],
        "fill": PHOTOS[:count],
        "square": np.array(8),
        "rows": np.array([0, 8]),
        "columns": np.array([0, 8]),
        "probability": RNG.random((count, 2, 2)),
        "activity": RNG.random((count, 2, 2)),
        "class": np.stack([number, number, number, number[::-1]], axis=1).reshape(count, 2, 2),
        "whole_activity": RNG.random(count),
        "whole_probability": RNG.random(count),
        "projection": RNG.normal(size=(count, 16, 16, 3)),
        "window": np.tile([2, 2, 10, 10], (count, 1)),
    }


def moved(class_names: list[str]) -> dict[str, np.ndarray]:
    count = len(class_names)
    return {
        "class_names": np.array(class_names),
        "labels": np.arange(count),
        "kinds": np.array(["scale"]),
        "layers": np.array(["conv1"]),
        "scale/amount": np.array([1.0, 2.0]),
        "scale/photo": PHOTOS[:count, None].repeat(2, axis=1),
        "scale/shown": np.array([1.0, 2.0]),
        "scale/relative/conv1": RNG.random((count, 2)),
        "scale/class": np.zeros((count, 2), int),
        "scale/probability": RNG.random((count, 2)),
    }


def seen(class_names: list[str]) -> dict[str, np.ndarray]:
    return {
        "class_names": np.array(class_names),
        "probabilities": np.full(len(class_names), 1 / len(class_names)),
        "photo": PHOTOS[0],
        "layers": np.array(["conv1"]),
        "conv1/map": np.array([0]),
        "conv1/activation": np.array([1.0]),
        "conv1/window": np.array([[2, 2, 10, 10]]),
        "conv1/projection": RNG.normal(size=(1, 16, 16, 3)),
    }


def matches(shown: str, name: str, number: int) -> bool:
    """Whether a text is a whole name, or what is left of one."""
    start, gap, end = shown.partition("\u2026")
    if not gap:
        return shown == name
    return name.startswith(start) and name.endswith(end.removesuffix(f" ({number})").lstrip())


@some(1)
@given(LISTS)
@example(list(HARD[:9]))
def test_any_names_stand_in_every_figure(given_names):
    whole = names.told_apart(given_names)
    count = len(whole)
    record = [{"epoch": 1.0, "val/loss": 1.0, "val/top1": 0.5, "learning_rate": 0.1}]
    runs = dict.fromkeys(names.unique(given_names), record)
    accuracies = {name: {"pretrained": {5: [50.0]}} for name in runs}
    with figures.use("screen"):
        found = {
            "confusion": words(confusion(np.ones((count, count), int), given_names)),
            "figure5": words(figure5(moved(given_names))),
            "figure7": words(figure7(occluded(given_names), None)),
            "strongest": words(figure_strongest(seen(given_names))),
            "training": words(curves(runs)),
            "figure9": words(figure9(accuracies)),
        }
    for figure, texts in found.items():
        short = [re.sub(r"^\d+%  |, pretrained$", "", one) for one in texts]
        runs_too = figure in ("training", "figure9")
        for number, name in enumerate(names.told_apart(runs) if runs_too else whole):
            if figure == "strongest" and number >= 5:
                continue
            there = [one for one in short if matches(one, name, number)]
            assert there, (figure, name, texts)


@pytest.mark.parametrize("style", ["screen", "paper"])
def test_names_are_no_mathematics_and_as_wide_as_their_room(style):
    with figures.use(style):
        for name in HARD:
            shown = text.within(names.fit(name), 0.8, "small")
            assert text.width(shown, "small") <= 0.8 or len(shown) == 1
        short = text.all_within({7: "a" * 90 + "b" + "c" * 90, 9: "a" * 91 + "c" * 90}, 0.8)
        assert short[7].endswith(" (7)")
        assert short[9].endswith(" (9)")
        figure = figure5(moved(["costs $5 to $6", "a_b^c$x$"]))
        (legend,) = figure.legends
        assert [one.get_text() for one in legend.get_texts()] == ["costs $5 to $6", "a_b^c$x$"]
        assert not any(one.get_parse_math() for one in legend.get_texts())


def test_letters_that_the_style_lacks_come_from_another_font_or_are_told_of_once(monkeypatch):
    said = []
    monkeypatch.setattr(absl_logging, "warning", lambda *words: said.append(words))
    monkeypatch.setattr(text, "_TOLD", set())
    text._families.cache_clear()
    with figures.use("paper"):
        figure = Figure()
        hebrew = figure.text(0, 0, "\u05e9\u05dc\u05d5\u05dd")  # not in the style's own font
        words(figure)
        assert hebrew.get_fontfamily() == ["STIXGeneral", "DejaVu Sans"]
        assert not said
        for letter in "\U00012000\U00012001":  # cuneiform: in fonts that few have
            figure.text(0, 0, letter)
        words(figure)
    told = [one[1:] for one in said]
    assert told in ([], [("CUNEIFORM", "\U00012000")])
    assert logging.getLogger("matplotlib").level <= logging.WARNING
