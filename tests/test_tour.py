"""docs/tour.ipynb runs from top to bottom, here with a tiny net and few pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs import quickstart
from tests.conftest import ROOT, SHALLOW

SMALL = quickstart.TINY | SHALLOW | {"epochs": 1}  # of the config, once a cell has made it


@pytest.mark.slow
def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    found, small = None, False
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        *lines, last = "".join(cell["source"]).rstrip().splitlines()
        exec("\n".join([*lines, f"found = {last}" if shows(last) else last]), names)
        found = names.pop("found", None)
        if "config" in names and not small:
            names["config"].update_from_flattened_dict(SMALL)
            small = True
    assert small
    assert found is True  # an imported net projects as the one that was exported
    assert (tmp_path / "tour" / "run" / "config.json").exists()


def shows(line: str) -> bool:
    """Whether a notebook shows what the last line of a cell comes to."""
    try:
        compile(line, "tour", "eval")
    except SyntaxError:
        return False
    return True
