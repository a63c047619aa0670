"""The scripts as a user meets them: quiet, and one clear line where something is wrong."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests import forked
from zfnet_jax.data.pictures import draw


def run_script(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"scripts.{arguments[0]}", *arguments[1:]]
    return forked.run(command)


def test_draw_picture_writes_the_picture(tmp_path):
    out = tmp_path / "new" / "cat.png"
    result = run_script("draw_picture", "--class_name=cat", "--seed=5", "--size=48", f"--out={out}")
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.asarray(Image.open(out)), draw("cat", 5, 48).image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--config=configs/imagenette.py", "--workdir={tmp}"],
            "no prepared pictures in data/imagenette-small/train: run python -m",
        ),
        (
            ["prepare_data", "--config=configs/imagenette.py"],
            "config.data.folder.train is empty",
        ),
        (
            ["visualize", "--workdir={tmp}", "--image=x.jpg", "--out={tmp}/x.png"],
            "{tmp}/checkpoints",
        ),
    ],
)
def test_an_error_that_the_user_can_mend_is_one_line(arguments, message, tmp_path):
    def fill(text: str) -> str:
        return text.format(tmp=tmp_path)

    result = run_script(*map(fill, arguments))
    assert result.returncode != 0
    assert result.stderr.startswith("error: ")
    assert fill(message) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_argument_that_is_no_flag_is_refused():
    result = run_script("draw_picture", "fish", "--class_name=cat", "--out=x.png")
    assert result.returncode != 0
    assert "what is 'fish'?" in result.stderr + result.stdout
