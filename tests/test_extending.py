"""docs/extending.md, followed to the letter in a copy of the tree."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.quickstart import TINY
from tests.conftest import ROOT
from zfnet_jax.data.pictures import draw

# The net is the document's; the pictures are few and small.
SMALL = [
    *(f"--config.{field}={value}" for field, value in TINY.items() if field[:5] != "model"),
    "--config.epochs=1",
]

# A projection through the new stage: with the signs that its maps had.
ABSOLUTE = """
import jax, numpy as np
from configs import absolute
from zfnet_jax import deconvnet, model
net = model.from_config(absolute.get_config().model, 10)
images = np.random.default_rng(0).normal(size=(1, 56, 56, 3)).astype(np.float32)
params = model.initial_params(net, 0, 56, 3)
_, activations = jax.jit(net.apply)({"params": params}, images)
signs = np.asarray(activations["signs1"])
assert set(np.unique(signs)) >= {-1, 1} and activations["conv1"].min() >= 0
seed = np.ones_like(activations["conv1"])
given = net.architecture, params, activations, "conv1", seed, (56, 56)
through = deconvnet.project(*given)
filters = net.architecture.stages[0]
frame = deconvnet.Frame(
    (56, 56), (filters.pads(56),) * 2, deconvnet.Place((0, 0), (56, 56))
)
expected = filters.down(signs.astype(np.float32), {}, params["conv1"], frame, deconvnet.Down())
np.testing.assert_allclose(through, expected, atol=1e-5)
assert np.abs(through).max() > 0
"""


@pytest.mark.slow
def test_every_addition_works_as_written(tmp_path):
    for name in ("zfnet_jax", "configs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    _photos(tmp_path / "photos")
    blocks = _blocks((ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))
    kinds = [kind for kind, _ in blocks]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"python": 11, "diff": 4, "bash": 4}
    for kind, text in blocks:
        {"python": _write, "diff": _apply, "bash": _run}[kind](tmp_path, text)

    _python(tmp_path, ABSOLUTE)
    (result,) = (tmp_path / "runs/wide/studies/activity").iterdir()  # of the script, not made again
    shares = dict(np.load(result / "arrays.npz"))
    assert {layer: len(share) for layer, share in shares.items()} == {
        "conv1": 48,
        "conv2": 96,
        "conv3": 96,
    }
    assert all(((share >= 0) & (share <= 1)).all() and share.any() for share in shares.values())
    page = (tmp_path / "runs/wide/report/index.html").read_text(encoding="utf-8")
    assert "How often maps are active" in page
    assert (tmp_path / "runs/wide/report/figures/activity.png").stat().st_size > 5000
    assert len(np.load(tmp_path / "data/listed/train/labels.npy")) == 6


def _photos(folder: Path) -> None:
    """Two lists of photos of two classes."""
    folder.mkdir()
    for split in ("train", "val"):
        lines = []
        for number in range(6):
            name = ("cat", "fish")[number % 2]
            Image.fromarray(draw(name, number, 140).image).save(folder / f"{split}{number}.png")
            lines.append(f"{split}{number}.png,{name}")
        (folder / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")


def _blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def _write(tree: Path, text: str) -> None:
    """A block whose first line names its file, or the file that it goes to the end of."""
    first, rest = text.split("\n", 1)
    at_end = first.startswith("# at the end of ")
    path = tree / first.removeprefix("# at the end of ").removeprefix("# ")
    assert path.exists() == at_end, first
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(rest)


def _apply(tree: Path, text: str) -> None:
    command = ["git", "apply", "--unsafe-paths", f"--directory={tree}", "-"]
    subprocess.run(command, input=text, text=True, check=True, cwd=tree)


# Runs scripts, one after the other, each in a fork of one process that has imported the tree.
FORK = """
import json, os, runpy, sys
import zfnet_jax.command.shell, zfnet_jax.runs.run, zfnet_jax.training.train

for command in json.load(sys.stdin):
    child = os.fork()
    if not child:
        sys.argv = command
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        sys.exit()
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"{command} ended with {code}")
"""


def _run(tree: Path, text: str) -> None:
    commands = []
    for line in text.replace("\\\n", " ").strip().splitlines():
        python, module, *command = shlex.split(line, comments=True)
        assert (python, module) == ("python", "-m"), line
        pictures = "--config=configs/wide.py" in command and "scripts.figures" not in command
        commands.append([*command, *(SMALL if pictures else [])])
    _python(tree, FORK, json.dumps(commands))


def _python(tree: Path, code: str, given: str = "") -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, input=given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
