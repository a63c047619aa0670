"""Sweeps: the plan, what each run's folder says, and local runs; test_slurm.py has Slurm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import ablations, architectures, ensemble
from tests import forked
from tests.conftest import ROOT, start_script
from zfnet_jax.studies.errors.paper_rows import trainings
from zfnet_jax.sweep import local, lock
from zfnet_jax.sweep.execute import Row, execute, make_rows
from zfnet_jax.sweep.local import LocalLauncher, Slot
from zfnet_jax.sweep.plan import Run, check_data, make_plan, write_plan
from zfnet_jax.sweep.status import read_status, unfinished
from zfnet_jax.sweep.table import LiveTable, print_plan
from zfnet_jax.training.metrics import read_metrics

TINY_SWEEP = """
from pathlib import Path
from configs import quickstart
from tests.conftest import SHALLOW, tiny

def get_config():
    config = tiny(quickstart.get_config(), Path({prepared!r}))
    config.update_from_flattened_dict(SHALLOW)
    return config

def sweep(add):
{body}
"""

# What a training leaves in its folder, without the training: 3 epochs of 4 steps.
TRAIN = """
mkdir -p {folder}/checkpoints/12
for epoch in 1 2 3; do
  echo "{{\\"step\\": $((4 * epoch)), \\"epoch\\": $epoch, \\"val/top1\\": 0.$epoch, \
\\"epoch_seconds\\": 2.0}}" >> {folder}/metrics.jsonl
done
"""


@pytest.fixture
def plan(tmp_path: Path, shallow_config: ConfigDict) -> Callable[..., list[Run]]:
    """The runs of a sweep whose body is given, on the shallow config with command-line fields."""

    def make(*body: str, **given: object) -> list[Run]:
        file = tmp_path / "sweep_config.py"
        lines = "\n".join(f"    {line}" for line in body)
        file.write_text(TINY_SWEEP.format(prepared=shallow_config.data.prepared_dir, body=lines))
        config = shallow_config.copy_and_resolve_references()
        config.update_from_flattened_dict(given)
        return make_plan(str(file), config.lock(), tmp_path / "sweep")

    return make


SEEDS = "for seed in range(3): add(f'seed_{seed}', {'seed': seed})"


def states(rows: list[Row]) -> list[str]:
    return [row.state for row in rows]


def ignore(_rows: list[Row]) -> None:
    pass


def fake(scripts: dict[str, str]) -> Callable[[Run], list[str]]:
    """A command in place of the training: per run a shell script, TRAIN if it has none."""

    def command(run: Run) -> list[str]:
        script = scripts.get(run.name, TRAIN)
        return ["bash", "-c", script.format(folder=run.folder)]

    return command


def launcher(scripts: dict[str, str], slots: int = 1) -> LocalLauncher:
    result = LocalLauncher([Slot({})] * slots, command=fake(scripts))
    result.seconds_between_polls = 0.02
    return result


# The plan.


def test_a_plan_has_readable_names_folders_and_changes(plan, tmp_path):
    runs = plan(
        "add('base', {})",
        "add('wide', {'model.conv3.maps': 24, 'model': {'dense': ()}}, label='Wide, no dense')",
        **{"optimizer.learning_rate": 0.25},
    )
    base, wide = runs
    assert (base.name, base.label, wide.label) == ("base", "base", "Wide, no dense")
    assert wide.folder == tmp_path / "sweep" / "wide"
    assert not wide.folder.parent.exists()
    assert base.changes == {"optimizer.learning_rate": 0.25}
    assert wide.changes == {
        "model.conv3.maps": 24,
        "model.dense": (),
        "optimizer.learning_rate": 0.25,
    }
    assert (base.config.model.conv3.maps, wide.config.model.conv3.maps) == (12, 24)


CONFIGS = {"ablations": ablations, "ensemble": ensemble}


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
@pytest.mark.parametrize("arg", ["imagenet", "small", "tiny"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_flags_of_each_run_give_its_config(name, arg, tmp_path):
    """Through the parser that scripts.train has: what it trains is what the plan says."""
    base = CONFIGS[name].get_config(arg).lock()
    for run in make_plan(f"{ROOT}/configs/{name}.py:{arg}", base, tmp_path):
        values = flags.FlagValues()
        command = ["train", *run.arguments]
        holder = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=command)
        flags.DEFINE_string("workdir", None, "", flag_values=values)
        values(command)
        assert holder.value.to_dict() == run.config.to_dict(), run.name
        assert values.workdir == str(tmp_path / run.name)


def test_the_twelve_rows_of_table_3(tmp_path):
    runs = make_plan(f"{ROOT}/configs/ablations.py", ablations.get_config().lock(), tmp_path)
    assert {run.name: run.config.model.to_dict() for run in runs} == {
        name: model.to_dict() for name, model in architectures.table3().items()
    }
    assert [run.name for run in runs] == list(architectures.table3())
    small = make_plan(
        f"{ROOT}/configs/ablations.py:small", ablations.get_config("small").lock(), tmp_path
    )
    nets = {run.name: run.config.model for run in small}
    assert list(nets) == [run.name for run in runs]
    expected = ablations.get_config("small").model
    assert nets["zfnet"].to_dict() == expected.to_dict()
    assert nets["zfnet_dense_8192"].dense == (683, 683)
    assert nets["alexnet_without_3_4_6_7"].layers == ("conv1", "conv2", "conv5")
    assert nets["alexnet"].conv1.to_dict() == {
        "maps": 32,
        "kernel": 11,
        "stride": 4,
        "padding": 2,
        "groups": 1,
        "contrast_norm": False,
        "pool": {"window": 3, "stride": 2, "padding": 0, "rounding": "floor"},
    }


def test_three_seeds_of_each_row_on_tiny_imagenet(tmp_path):
    base = ablations.get_config("tiny")
    runs = make_plan(f"{ROOT}/configs/ablations.py:tiny", base.lock(), tmp_path)
    by_row = {name: trainings(name, [run.name for run in runs]) for name in ablations.ROWS}
    assert all(len(seeds) == 3 for seeds in by_row.values())
    assert len(runs) == 36
    found = {run.name: run.config for run in runs}
    assert [found[f"zfnet_seed_{seed}"].seed for seed in range(3)] == [0, 1, 2]
    assert found["zfnet_seed_1"].model.to_dict() == base.model.to_dict()
    first, other = (found[f"{name}_seed_0"].model.to_dict() for name in ("alexnet", "zfnet"))
    assert first.pop("norm_before_pool") is not other.pop("norm_before_pool")
    assert (first["conv1"]["kernel"], first["conv1"]["stride"]) == (11, 4)
    first["conv1"] = other["conv1"]
    assert first == other


def test_the_six_nets_of_table_2(tmp_path):
    runs = make_plan(f"{ROOT}/configs/ensemble.py", ensemble.get_config().lock(), tmp_path)
    assert [run.config.seed for run in runs] == [0, 1, 2, 3, 4, 0]
    models = [run.config.model.to_dict() for run in runs]
    assert models[:5] == [architectures.zfnet().to_dict()] * 5
    assert models[5] == architectures.table3()["zfnet_512_1024_512"].to_dict()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (["add('a', {'model.conv3.map': 9})"], "run a: .* no field config.model.conv3.map; .*maps"),
        (["add('a', {'model.conv3.maps': 'x'})"], r"maps is int \(12\), not 'x'"),
        (["add('a', {'optimizer': 3})"], "no field config.optimizer;"),
        (["add('a', {})", "add('A', {'seed': 1})"], "two runs have the name 'A'"),
        (["add('a/b', {})"], "'a/b' cannot name a folder"),
        (["add('a', {})", "add('b', {'seed': 0})"], "runs a and b are the same"),
        (["add('a', {'model.conv1.kernel': 99})"], "run a: conv1"),
        (["add('a', {'seed': 1})"], "seed is 7 on the command line and 1 in the sweep"),
        (["pass"], "adds no run"),
    ],
)
def test_what_is_wrong_in_a_sweep_is_said_before_anything_starts(plan, tmp_path, body, message):
    given = {"seed": 7} if "seed is 7" in message else {}
    with pytest.raises(ValueError, match=message):
        plan(*body, **given)
    assert not (tmp_path / "sweep").exists()


def test_a_config_without_sweep_is_refused(tmp_path):
    config = ablations.get_config().lock()
    with pytest.raises(ValueError, match=r"configs/zfnet.py has no sweep\(add\)"):
        make_plan(f"{ROOT}/configs/zfnet.py", config, tmp_path)


def test_a_folder_with_a_run_of_another_config_is_refused(plan, shallow_run, tmp_path):
    shutil.copytree(shallow_run, tmp_path / "sweep" / "a")
    assert states(make_rows(plan("add('a', {})"))) == ["finished"]
    plan("add('a', {})", eval_batch_size=8)  # changes no step
    with pytest.raises(ValueError, match=r"model\.conv3\.maps is 12 there and 13 here"):
        plan("add('a', {'model.conv3.maps': 13})")
    with pytest.raises(ValueError, match="epochs is 3 there and 4 here"):
        plan("add('a', {})", epochs=4)  # the cosine schedule depends on them


# What a folder says.


def test_a_finished_run_of_other_data_is_refused(plan, shallow_run):
    """Its folder says finished, whatever its pictures are called and where they lie."""
    (run,) = plan("add('run', {})", **{"seed": 0})
    check_data([run])
    shutil.copytree(shallow_run, run.folder)
    check_data([run])
    about = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(about | {"data": {"train": "x"}}))
    with pytest.raises(ValueError, match=rf"{run.folder} holds a run of other data: .*Choose"):
        check_data([run])


def test_status_of_a_run_before_within_and_after(plan, shallow_run):
    (run,) = plan("add('a', {})")
    assert read_status(run).epoch == 0
    assert unfinished(run.folder) == "not trained"
    shutil.copytree(shallow_run, run.folder)
    status = read_status(run)
    last = read_metrics(shallow_run)[-1]
    assert (status.epoch, status.finished, status.error) == (3, True, 1 - last["val/top1"])
    assert unfinished(run.folder) is None

    (run.folder / "checkpoints" / "12").rename(run.folder / "gone")
    assert not read_status(run).finished  # killed after the record and before its checkpoint
    assert unfinished(run.folder) == "has not saved its last checkpoint"

    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    (run.folder / "metrics.jsonl").write_text(lines[0] + "\n" + lines[1][:20])
    status = read_status(run)
    assert (status.epoch, status.finished) == (1, False)
    assert unfinished(run.folder) == "trained for 1 of 3 epochs"
    seconds = json.loads(lines[0])["epoch_seconds"]
    assert status.seconds_left == pytest.approx(2 * seconds, abs=2)


# Local runs, with a shell script in place of the training.


def test_finished_runs_are_skipped_and_the_rest_trains(plan, capsys):
    runs = plan(SEEDS)
    rows = make_rows(runs)
    execute(rows, launcher({"seed_1": "exit 3"}), ignore)
    assert states(rows) == ["finished", "failed", "finished"]
    untouched = [(run.folder / "metrics.jsonl").stat().st_mtime_ns for run in runs[::2]]

    rows = make_rows(runs)
    assert states(rows) == ["finished", "waiting", "finished"]
    print_plan(rows)
    listed = capsys.readouterr().out
    assert "seed_0: finished, 3 of 3 epochs done" in listed
    assert "seed_1: waiting, 0 of 3 epochs done\n    seed = 1" in listed
    execute(rows, launcher({}), ignore)
    assert states(rows) == ["finished"] * 3
    assert [rows[1].status.epoch, rows[1].status.error] == [3, pytest.approx(0.7)]
    assert [(run.folder / "metrics.jsonl").stat().st_mtime_ns for run in runs[::2]] == untouched


def test_a_failed_run_is_tried_once_more_and_does_not_stop_the_rest(plan):
    runs = plan(SEEDS)
    once = "test -e {folder}/tried || { touch {folder}/tried; echo error: bad luck; exit 1; }"
    once = once.replace("{ touch", "{{ touch").replace("; }", "; }}") + TRAIN
    rows = make_rows(runs)
    shown: list[str] = []
    execute(
        rows,
        launcher({"seed_0": "echo starting; echo error: no luck; exit 1", "seed_1": once}),
        lambda rows: shown.extend(row.note for row in rows),
    )
    assert states(rows) == ["failed", "finished", "finished"]
    assert [row.attempts for row in rows] == [2, 2, 1]
    assert rows[0].note == "exit status 1: error: no luck"
    assert rows[1].note == ""
    assert "tried again after exit status 1: error: bad luck" in shown
    assert runs[0].log.read_text().count("error: no luck") == 2 + 2  # printed, and in the command


def test_an_interrupted_run_goes_on_without_counting_as_tried(plan):
    count = "n=$(cat {folder}/n || echo 0); echo $((n + 1)) > {folder}/n; test $n -ge 3 || exit 75"
    rows = make_rows(plan(SEEDS))
    execute(rows, launcher({"seed_0": count + TRAIN}), ignore)
    assert states(rows) == ["finished"] * 3
    assert [row.attempts for row in rows] == [1, 1, 1]
    assert (rows[0].run.folder / "n").read_text() == "4\n"


def test_a_run_that_ends_well_before_its_last_epoch_has_failed(plan):
    rows = make_rows(plan(SEEDS))
    execute(rows, launcher({"seed_0": "true"}), ignore)
    assert states(rows) == ["failed", "finished", "finished"]


def test_a_full_disk_is_said_and_the_run_can_go_on(plan):
    message = "error: [Errno 28] No space left on device: x"
    rows = make_rows(plan(SEEDS))
    execute(rows, launcher({"seed_0": f"echo '{message}'; exit 1"}), ignore)
    assert states(rows) == ["failed", "finished", "finished"]
    assert rows[0].note.startswith(f"the disk of {rows[0].run.folder} is full: make room")


def test_a_run_whose_log_cannot_be_written_fails_alone(plan):
    runs = plan(SEEDS)
    runs[0].log.mkdir(parents=True)
    rows = make_rows(runs)
    execute(rows, launcher({}), ignore)
    assert states(rows) == ["failed", "finished", "finished"]
    assert "Is a directory" in rows[0].note


def test_two_slots_train_two_runs_at_once_each_on_its_own(plan, tmp_path):
    together = (
        "echo $DEVICE >> {folder}/../devices; touch {folder}/here;"
        "for i in $(seq 100); do"
        " test $(ls {folder}/../*/here | wc -l) -ge 2 && break; sleep 0.1; done;"
        "test $i -lt 100 || exit 1" + TRAIN
    )
    runs = plan(SEEDS)
    slots = [Slot({"DEVICE": "one"}), Slot({"DEVICE": "two"})]
    two = LocalLauncher(slots, command=fake({run.name: together for run in runs[:2]}))
    two.seconds_between_polls = 0.02
    at_once: list[int] = []
    rows = make_rows(runs)
    execute(rows, two, lambda rows: at_once.append(states(rows).count("running")))
    assert states(rows) == ["finished"] * 3
    assert max(at_once) == 2
    assert sorted((tmp_path / "sweep" / "devices").read_text().split()) == ["one", "two"]


def test_stopping_ends_what_runs_and_its_children(plan):
    runs = plan(SEEDS)
    stuck = "sleep 300 & echo $! > {folder}/child; wait"
    rows = make_rows(runs)

    def stop_when_running(_rows: list[Row]) -> None:
        if (runs[0].folder / "child").exists() and (runs[0].folder / "child").read_text():
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        execute(rows, launcher({"seed_0": stuck}), stop_when_running)
    assert states(rows) == ["running", "waiting", "waiting"]
    child = Path("/proc", (runs[0].folder / "child").read_text().strip())
    for _ in range(100):
        if not child.exists() or "(zombie)" in (child / "status").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child still runs")


@pytest.mark.parametrize(
    ("devices", "per_run", "expected"),
    [
        (("gpu", 4), 1, [{"CUDA_VISIBLE_DEVICES": str(i)} for i in range(4)]),
        (("gpu", 5), 2, [{"CUDA_VISIBLE_DEVICES": pair} for pair in ("0,1", "2,3")]),
        (("tpu", 4), 4, [{}]),
        (("cpu", 1), 1, [{}]),
        (("cpu", 4), 2, [{"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}] * 2),
    ],
)
def test_slots_share_out_the_devices(monkeypatch, devices, per_run, expected):
    monkeypatch.setattr(local, "_ask_jax", lambda: devices)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    slots = local.find_slots(per_run)
    assert [slot.environment for slot in slots] == expected
    if len(slots) > 1 and devices[0] == "cpu" and len(os.sched_getaffinity(0)) >= len(slots):
        cores = [slot.cores for slot in slots]
        assert frozenset.union(*cores) == os.sched_getaffinity(0)
        assert sum(map(len, cores)) == len(os.sched_getaffinity(0))


def test_slots_are_named_as_the_environment_names_the_gpus(monkeypatch):
    monkeypatch.setattr(local, "_ask_jax", lambda: ("gpu", 2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    names = [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in local.find_slots(1)]
    assert names == ["3", "GPU-ab"]
    with pytest.raises(ValueError, match=r"devices_per_run=3, but this machine has 2 devices"):
        local.find_slots(3)


def test_several_runs_share_a_gpu_and_its_memory(monkeypatch):
    monkeypatch.setattr(local, "_ask_jax", lambda: ("gpu", 2))
    for name in [name for name in os.environ if name.startswith("XLA_PYTHON_CLIENT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    slots = [slot.environment for slot in local.find_slots(1, 3)]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "1"] * 3
    assert {slot["XLA_PYTHON_CLIENT_MEM_FRACTION"] for slot in slots} == {"0.250"}
    assert local.find_slots(1)[0].environment == {"CUDA_VISIBLE_DEVICES": "0"}
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    assert local.find_slots(2, 2)[1].environment == {"CUDA_VISIBLE_DEVICES": "0,1"}
    monkeypatch.setattr(local, "_ask_jax", lambda: ("cpu", 4))
    with pytest.raises(ValueError, match=r"runs_per_gpu=2, but this machine has no GPU"):
        local.find_slots(1, 2)


def test_one_sweep_at_a_time_also_against_a_training_left_behind(tmp_path):
    with lock.locked(tmp_path) as held:
        left = subprocess.Popen(["sleep", "300"], pass_fds=(held,))
        with pytest.raises(ValueError, match=rf"left behind \(process {os.getpid()} on .* at work"):
            lock.locked(tmp_path).__enter__()
    with pytest.raises(ValueError, match="at work in"):
        lock.locked(tmp_path).__enter__()
    left.kill()
    left.wait()
    with lock.locked(tmp_path):
        pass


def test_runs_that_slurm_has_are_not_started_here_too(tmp_path):
    (tmp_path / lock.SLURM_JOBS).write_text(json.dumps({"seed_0": "12_0"}))
    with pytest.raises(ValueError, match=r"seed_0 \(job 12_0\)"):
        lock.check_not_with_slurm(tmp_path)


def test_the_table_without_a_terminal_is_reprinted_on_a_change_of_state(plan, capsys):
    rows = make_rows(plan(SEEDS))
    execute(rows[:1], launcher({}), ignore)
    with LiveTable() as live:
        live.show(rows)
        live.show(rows)
        rows[1].state = "running"
        live.show(rows)
    printed = capsys.readouterr().out
    assert printed.count("top-1 error") == 2
    assert ["seed_0", "finished", "3/3", "70.0%"] in [x.split() for x in printed.splitlines()]
    assert "\x1b" not in printed


def test_the_plan_is_saved_for_tables(plan, tmp_path):
    write_plan(plan("add('a', {}, label='Row A')", "add('b', {'model.dense': ()})"), tmp_path)
    saved = json.loads((tmp_path / "sweep.json").read_text())
    assert saved["runs"] == [
        {"name": "a", "label": "Row A", "changes": {}},
        {"name": "b", "label": "b", "changes": {"model.dense": []}},
    ]


# The script, with real trainings.


def start(*arguments: str) -> forked.Popen:
    return start_script("sweep", *arguments, devices=2)


def test_an_unknown_launcher_is_refused(tmp_path):
    process = start(
        "--config=configs/ablations.py", f"--workdir={tmp_path / 'new'}", "--launcher=ssh"
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "--launcher=ssh" in errors
    assert "<local|slurm>" in errors
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_two_at_once_killed_and_run_again_finish_the_rest(plan, shallow_run, tmp_path):
    """Each run on one of two devices; what was done is not trained again, the rest ends as ever."""
    body = ["add('done', {})", "add('seed_1', {'seed': 1})"]
    body += ["add('twin', {'checkpoint.keep_latest': 3})"]  # which changes no step of shallow_run's
    done, other, twin = plan(*body)
    shutil.copytree(shallow_run, done.folder)
    before = (done.folder / "metrics.jsonl").stat().st_mtime_ns
    command = [f"--config={tmp_path / 'sweep_config.py'}", f"--workdir={tmp_path / 'sweep'}"]

    process = start(*command)
    while process.poll() is None and max(read_status(run).epoch for run in (other, twin)) < 1:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert errors == "error: stopped: the same command goes on\n", output
    assert process.returncode == 130
    assert not all(read_status(run).finished for run in (other, twin))
    rows = dict(line.split()[:2] for line in output.splitlines() if len(line.split()) > 2)
    assert {"done": "finished", "seed_1": "running", "twin": "running"}.items() <= rows.items()
    with lock.locked(tmp_path / "sweep"):  # no training was left behind
        pass

    output, errors = start(*command).communicate(timeout=120)
    assert errors == ""
    assert f"3 of 3 runs are finished; they lie in {tmp_path / 'sweep'}" in output
    assert (done.folder / "metrics.jsonl").stat().st_mtime_ns == before
    assert not done.log.exists()
    for run in (other, twin):
        assert json.loads((run.folder / "run.json").read_text())["devices"]["count"] == 1
    losses = [[record["train/loss"] for record in read_metrics(run.folder)] for run in (done, twin)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    saved = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [run["name"] for run in saved["runs"]] == ["done", "seed_1", "twin"]
