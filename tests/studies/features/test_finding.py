"""Which mining a reader takes where several stand side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_script
from tests.mined_folder import write_mined
from zfnet_jax.command import inputs
from zfnet_jax.studies.features import finding

OWN, OTHER = "the run's images", "other images"


@pytest.fixture
def mine(tmp_path):
    """Writes a result in the folder of a run; its name."""
    (tmp_path / "run.json").write_text(json.dumps({"data": {"validation": OWN, "train": OWN}}))
    made: list[Path] = []

    def write(split: str = "validation", step: int = 4, data: str = OWN, k: int = 9, **options):
        folder = tmp_path / "studies" / "features" / f"{split}-{step}-{len(made)}"
        images = {"conv1": np.arange(2 * k).reshape(2, k)}
        finished = f"2026-01-01T00:00:{len(made):02}"
        made.append(folder)
        write_mined(folder, images=images, step=step, data=data, finished=finished, **options)
        return folder.name

    return write


def names(results) -> list[str]:
    return [one.folder.name for one in results]


def test_the_papers_options_come_first_then_the_newest(mine, tmp_path):
    few, guided, paper, guided_later, others = (
        mine(k=2),
        mine(rectify="guided"),
        mine(),
        mine(rectify="guided", k=3),
        mine(data=OTHER),
    )
    found = finding.mined(tmp_path, None)
    assert names(found.of_step(None)) == [paper, few, guided_later, guided, others]
    there = finding.mined(tmp_path, "validation", data=OTHER)
    assert names(there.of_step(4)) == [others, paper, few, guided_later, guided]
    again = mine()  # of the same step of another training in this folder
    assert names(finding.mined(tmp_path, None).of_step(4))[:2] == [again, paper]


def test_splits_and_steps_are_found(mine, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing is mined in"):
        finding.mined(tmp_path, None)
    late, early = mine("train", 30), mine("train", 4)
    (tmp_path / "studies" / "features" / ".train-50.tmp").mkdir()  # is being made
    assert names(finding.mined(tmp_path, None).alike()) == [early, late]
    one = mine(step=8)
    # Of both, what a reproduction leaves:
    assert names(finding.mined(tmp_path, None).alike()) == [one]
    assert names(finding.mined(tmp_path, None, "train").alike()) == [early, late]
    assert names(finding.mined(tmp_path, "train").of_step(None)) == [late]
    with pytest.raises(FileNotFoundError, match="nothing is mined on test"):
        finding.mined(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match="step 5 is not mined, only 4, 30: run python -m"):
        finding.mined(tmp_path, "train").of_step(5)


def test_of_what_was_mined_the_script_takes_one_checkpoint(mine, tmp_path):
    first, last = mine(step=4), mine(step=8)
    assert names(inputs.mined_alike(tmp_path, None)) == [first, last]
    assert names(inputs.mined_alike(tmp_path, None, step=4, same_k=True)) == [first]
    with pytest.raises(FileNotFoundError, match="step 6 is not mined, only 4, 8: run python -m"):
        inputs.mined_alike(tmp_path, None, step=6)


def test_checkpoints_beside_each_other_are_mined_in_one_way(mine, tmp_path):
    guided = [mine(step=step, rectify="guided") for step in (4, 8, 12)]
    assert names(finding.mined(tmp_path, None).alike()) == guided
    paper, few = mine(step=4), mine(step=8, k=1)
    assert names(finding.mined(tmp_path, None).alike()) == [paper, few]  # 12 is guided alone


def test_the_atlas_and_fig_2_take_the_papers_and_say_so(mine, tmp_path, capsys):
    from zfnet_jax.command import inputs

    paper, guided = mine(), mine(rectify="guided")
    assert inputs.mined(tmp_path, None, None).folder.name == paper
    assert capsys.readouterr().err == f"mined: {paper} taken, not {guided}\n"
    run_script("atlas", f"--workdir={tmp_path}")
    assert '"rectify":"deconvnet"' in atlas_of(tmp_path)
    folder = tmp_path / "studies" / "features" / guided
    run_script("atlas", f"--workdir={tmp_path}", f"--arrays={folder}")
    assert '"rectify":"guided"' in atlas_of(tmp_path)


def test_an_atlas_has_one_number_of_winners(mine, tmp_path):
    paper, few, late = mine(step=4), mine(step=4, k=4), mine(step=8, k=4)
    found = finding.mined(tmp_path, None)
    assert names(found.alike()) == [paper, late]
    assert names(found.alike(same_k=True)) == [paper]
    (output,) = run_script("atlas", f"--workdir={tmp_path}")
    assert output.startswith("steps 4, ")
    folders = (f"--arrays={tmp_path / 'studies' / 'features' / name}" for name in (few, late))
    (output,) = run_script("atlas", f"--workdir={tmp_path}", *folders)
    assert output.startswith("steps 4, 8, ")


def test_what_was_mined_of_an_imported_net_is_found(mine, tmp_path):
    about = {"data": None, "class_names": ["a"], "imported": {}}  # as `importers.write` has it
    (tmp_path / "run.json").write_text(json.dumps(about))
    few, paper, later = mine(k=2), mine(), mine(data=OTHER)
    assert names(finding.mined(tmp_path, None).of_step(None)) == [later, paper, few]


def atlas_of(workdir: Path) -> str:
    return (workdir / "report" / "atlas" / "data" / "atlas.js").read_text()
