"""What `train --dry_run` says, against what a run leaves."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

from configs import quickstart, zfnet
from tests.conftest import SHALLOW, tiny
from zfnet_jax.data import made
from zfnet_jax.runs.run import open_run
from zfnet_jax.training import dry_run, estimate
from zfnet_jax.training.dry_run import Speed
from zfnet_jax.training.estimate import bytes_in_words, seconds_in_words


@pytest.fixture(autouse=True)
def no_longer_timed_than_needed(monkeypatch):
    monkeypatch.setattr(dry_run, "_SECONDS", 0.0)


@pytest.fixture
def said(shallow_config, tmp_path):
    """The lines of a run of 12 steps, by what they are of."""
    folder = tmp_path / "run"
    lines = list(dry_run.dry_run(shallow_config, folder))
    assert not folder.exists()
    return dict(line.split(": ", 1) for line in lines)


def test_sizes_are_those_of_a_run(said, shallow_config, shallow_run):
    assert list(said) == [
        "data",
        "step",
        "memory of a device",
        "disk",
        "speed",
        "time",
        "memory of the host",
    ]
    where = shallow_config.data.prepared_dir
    wanted = f"70 images to train on, 30 to validate on, 10 classes, prepared in {where}"
    assert said["data"] == wanted
    run = open_run(shallow_run)
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(run.params))
    assert f" {bytes_in_words(weights)} parameters, " in said["memory of a device"]
    assert f" {bytes_in_words(weights)} momentum, " in said["memory of a device"]
    # Epochs 1, 2 and 3 are kept, and the newest and best are among them.
    checkpoints = [one for one in (shallow_run / "checkpoints").iterdir() if one.name.isdecimal()]
    assert len(checkpoints) == 3
    each = 2 * weights + run.mean.nbytes
    assert re.match(r".* 3 checkpoints of (\S+ \S+) at most; .* free", said["disk"])
    assert abs(float(said["disk"].split(" of ")[1].split()[0]) * 1e3 - each) < 0.01 * each
    assert re.fullmatch(r"a step of \S+ s, .* images/s, .*; reading alone .*", said["speed"])
    assert re.match(r"\d.* in all: .* to begin and compile, 3 epochs of ", said["time"])


def test_what_is_not_prepared_is_made_and_its_reading_not_told(shallow_config, tmp_path):
    shallow_config.data.prepared_dir = str(tmp_path / "nowhere")
    lines = list(dry_run.dry_run(shallow_config))
    assert any(line.startswith("speed: ") for line in lines)
    assert "reading alone" not in "\n".join(lines)
    first = lines[0]
    assert first.startswith("data: 70 images to train on, 30 to validate on, 10 classes, not prep")
    train, validation = made.make(zfnet.get_config().data)
    assert (len(train), len(validation), len(train.class_names)) == (1_281_167, 50_000, 1000)
    assert train.rows(np.array([5, 1_281_166])).shape == (2, 256, 256, 3)
    shallow_config.data.source = "prepared"
    with pytest.raises(FileNotFoundError, match="nowhere/train: prepare the images first"):
        next(dry_run.dry_run(shallow_config))


def test_time_is_steps_validation_and_what_is_left(prepared_pictures, tmp_path):
    config = tiny(quickstart.get_config(), prepared_pictures)
    config.update_from_flattened_dict(SHALLOW)
    job = dry_run.set_up(config, tmp_path)
    speed = Speed(step=10.0, waiting=0.25, reading=0.5, validating=7.0)
    first, second = dry_run._of_time(job, speed, start=60.0)
    assert first == (
        "speed: a step of 10 s, 1.6 images/s, 25.0% of it waiting for images; reading alone"
        " 32 images/s"
    )
    # Four steps of 16, two batches of 16 to validate on, three epochs.
    assert second == (
        "time: 3.7 min in all: 60 s to begin and compile, 3 epochs of 54 s, of which validation"
        " 14 s"
    )
    (tmp_path / "checkpoints" / "6").mkdir(parents=True)
    second = list(dry_run._of_time(dry_run.set_up(config, tmp_path), speed, start=60.0))[1]
    assert "2.4 min in all: 60 s to begin and compile, 1.5 epochs of 54 s" in second
    assert second.endswith("; 1.5 of 3 are done")


def test_what_does_not_fit_is_told(monkeypatch):
    monkeypatch.setattr(estimate, "device_memory", lambda: 10**6)
    state = jax.ShapeDtypeStruct((10,), np.float32)
    carried = type("State", (), {"params": state, "momentum": state}), None, None
    program = estimate.Program(taken=400_000, made=0, set_aside=700_000, counts={})
    line = dry_run._of_device(program, carried, jax.ShapeDtypeStruct((1,), np.uint8))
    assert line.startswith("memory of a device: 1.1 MB of 1 MB: 40 bytes parameters, ")
    assert "; that does not fit: set config.optimizer.accumulation=2 or more" in line


def test_numbers_in_words():
    sizes = [bytes_in_words(one) for one in (0, 999, 5_222_276, 25.3e9, 2e15)]
    assert sizes == ["0 bytes", "999 bytes", "5.22 MB", "25.3 GB", "2e+03 TB"]
    times = [seconds_in_words(one) for one in (0.137, 9.96, 75, 5000, 200_000, 1e6)]
    assert times == ["0.14 s", "10 s", "75 s", "83 min", "56 h", "12 days"]
