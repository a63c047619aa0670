"""docs/tour.ipynb runs from top to bottom, here with few pictures and one epoch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT

SMALL = {"PER_CLASS": 7, "EPOCHS": 1}  # for what its cell of parameters says


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    found = None
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        *lines, last = "".join(cell["source"]).rstrip().splitlines()
        exec("\n".join([*lines, f"found = {last}" if shows(last) else last]), names)
        found = names.pop("found", None)
        if "parameters" in cell["metadata"].get("tags", ()):
            assert SMALL.keys() <= names.keys()
            names |= SMALL
    assert found is True  # an imported net projects as the one that was exported
    assert (tmp_path / "tour" / "run" / "config.json").exists()


def shows(line: str) -> bool:
    """Whether a notebook shows what the last line of a cell comes to."""
    try:
        compile(line, "tour", "eval")
    except SyntaxError:
        return False
    return True
