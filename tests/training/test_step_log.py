"""Records between the ends of epochs, and the profile of chosen steps."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import pytest

from configs import quickstart
from tests.conftest import SHALLOW, tiny
from tests.training.test_metrics import events_of, scalars_of
from zfnet_jax import parallel
from zfnet_jax.training import train
from zfnet_jax.training.metrics import read_metrics, read_step_metrics
from zfnet_jax.training.profile import steps_of
from zfnet_jax.training.step_log import StepLog

TIMES = ("step/images_per_second", "step/waiting")


@pytest.fixture(scope="module")
def logged(tmp_path_factory, prepared_pictures):
    """Folders of a run of 8 steps, 4 an epoch, with a record every 3: one unbroken, one stopped
    between two records, too."""
    config = tiny(quickstart.get_config(), prepared_pictures)
    config.update_from_flattened_dict(SHALLOW)
    config.log_every_steps = 3
    unbroken = tmp_path_factory.mktemp("unbroken")
    train.train_and_evaluate(config, unbroken, stop_after_steps=8)
    stopped = tmp_path_factory.mktemp("stopped")
    for steps in (5, 8):
        train.train_and_evaluate(config, stopped, stop_after_steps=steps)
    return unbroken, stopped


def _lasting(records: list[dict]) -> list[dict]:
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def test_losses_between_epochs_add_up_to_the_epochs(logged):
    records = read_step_metrics(logged[0])
    assert [record["step"] for record in records] == [3, 6]
    assert all(record["step/images_per_second"] > 0 for record in records)
    assert all(0 <= record["step/waiting"] <= 1 for record in records)
    epochs = read_metrics(logged[0])
    assert [record["epoch"] for record in epochs] == [1, 2]
    # Steps 1 to 3 of the four of epoch 1, and 5 and 6 of those of epoch 2.
    fourth = 4 * epochs[0]["train/loss"] - 3 * records[0]["step/loss"]
    rest = (4 * epochs[1]["train/loss"] - 2 * records[1]["step/loss"]) / 2
    assert 2 < fourth < 3  # of ten classes, at the start: ln 10 = 2.3
    assert 2 < rest < 3
    assert records[0]["step/learning_rate"] > 0


def test_a_run_stopped_between_records_ends_with_those_of_an_unbroken_one(logged):
    unbroken, stopped = logged
    assert _lasting(read_step_metrics(stopped)) == _lasting(read_step_metrics(unbroken))


def test_a_run_stopped_after_a_record_of_its_epoch_goes_on_from_it(shallow_config, tmp_path):
    shallow_config.log_every_steps = 1
    for name, stops in (("unbroken", (3,)), ("stopped", (2, 3))):
        for steps in stops:
            train.train_and_evaluate(shallow_config, tmp_path / name, stop_after_steps=steps)
    unbroken, stopped = (read_step_metrics(tmp_path / name) for name in ("unbroken", "stopped"))
    assert [record["step"] for record in stopped] == [1, 2, 3]
    assert _lasting(stopped) == _lasting(unbroken)


def test_tensorboard_has_them_too(logged):
    shown = [one for file in events_of(logged[0]) for one in scalars_of(file)]
    (record, _) = read_step_metrics(logged[0])
    for name in ("step/loss", "step/learning_rate", *TIMES):
        assert (3, name, pytest.approx(record[name])) in shown


def test_a_record_is_of_the_steps_since_the_one_before(monkeypatch):
    device = SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 7_000_000_000})
    monkeypatch.setattr(parallel, "local_devices", lambda: [device])
    fed = SimpleNamespace(seconds=0.0)
    log = StepLog(every=10, batch_size=8, fed=fed, step=20, sums={})
    assert [step for step in range(21, 50) if log.due(step)] == [30, 40]
    line, times = log.record(30, {"loss": 30.0, "steps": 10.0}, 0.1)
    assert line == {"step/loss": 3.0, "step/learning_rate": 0.1}
    assert times["step/device_memory"] == 7e9
    assert log.record(40, {"loss": 50.0, "steps": 20.0}, 0.1)[0]["step/loss"] == 2.0
    again = StepLog(every=10, batch_size=8, fed=fed, step=44, sums=log.sums)  # resumed at 44
    assert again.record(50, {"loss": 60.0, "steps": 30.0}, 0.1)[0]["step/loss"] == 1.0


def test_a_profile_of_chosen_steps(shallow_config, tmp_path, capsys):
    train.train_and_evaluate(shallow_config, tmp_path, 4, profile_steps=(2, 3))
    (path,) = (tmp_path / "profile").glob("plugins/profile/*/perfetto_trace.json.gz")
    with gzip.open(path) as file:
        events = json.load(file)["traceEvents"]
    steps = [event["args"]["step_num"] for event in events if event.get("name") == "train"]
    assert sorted(steps) == ["2", "3"]
    assert f"the profile lies in {path}" in capsys.readouterr().out


def test_steps_that_are_not_trained_cannot_be_profiled(tiny_config, tmp_path):
    with pytest.raises(ValueError, match=r"steps 3 to 5 cannot be profiled.* steps 1 to 4$"):
        train.train_and_evaluate(tiny_config, tmp_path, 4, profile_steps=(3, 5))


@pytest.mark.parametrize("text", ["", "3", "5:3", "0:3", "a:b", "1:2:3"])
def test_steps_to_profile_that_are_none(text):
    with pytest.raises(ValueError, match="are FIRST:LAST, such as 100:110"):
        steps_of(text)
    assert steps_of("3:3") == (3, 3)
