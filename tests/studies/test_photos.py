"""The class of a photo that somebody named: by its name, by its title, one of two of one title."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zfnet_jax.data import titles
from zfnet_jax.studies.photos import class_label, class_number, class_numbers

NAMES = ("n01440764", "n02012849", "n03126707", "n02113186", "n02963159", "cafe\u0301", "\udce9")


def run_of(*class_names: str) -> Any:
    return SimpleNamespace(class_names=class_names, class_titles=titles.of_classes(class_names, {}))


@pytest.mark.parametrize(
    ("given", "number"),
    [
        *(("n01440764", 0), ("tench", 0), ("crane (n03126707)", 2), ("n02012849", 1)),
        *(("Cardigan", 3), ("cardigan", 4), ("caf\u00e9", 5), ("\udce9", 6), ("\\xe9", 6)),
    ],
)
def test_a_class_is_found_by_name_and_by_title(given, number):
    assert class_number(run_of(*NAMES), given) == number


def test_one_of_two_classes_of_one_name_is_said_by_its_number():
    run = run_of("crane", "tench", "crane")
    assert [class_label(run, number) for number in range(3)] == ["crane (0)", "tench", "crane (2)"]
    assert class_numbers(run, ["a", "b"], ["crane (2)", "crane (0)"]).tolist() == [2, 0]
    for known in (run, run_of(*NAMES)):
        with pytest.raises(ValueError, match=r"'crane' is no single class: say crane \(.*\) or "):
            class_number(known, "crane")
    with pytest.raises(ValueError, match="there is no class 'cat', only crane"):
        class_number(run, "cat")
    assert class_numbers(run, ["tench/1.jpg"], []).dtype == np.int32
