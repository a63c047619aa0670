"""What goes wrong while a net trains: nothing is lost and the user is told; see docs/faults.md."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import quickstart
from scripts.soak import TINY, train_arguments
from tests import forked
from tests.conftest import SHALLOW, simulated, start_script, tiny
from tests.training.test_train import final_state, largest_difference, metrics_without_times
from zfnet_jax import lock, model, parallel
from zfnet_jax.data.batches import Batch
from zfnet_jax.runs.checkpoint import open_checkpoints
from zfnet_jax.training import job, nonfinite, optimizer, preemption, soak, train
from zfnet_jax.training.metrics import read_metrics
from zfnet_jax.training.soak import Soak, differences
from zfnet_jax.training.step import TrainState, initial_state, make_train_step


def saved_steps(workdir: Path) -> list[int]:
    with open_checkpoints(workdir / "checkpoints") as checkpoints:
        return checkpoints.all_steps()


# Told to stop, and killed.


def test_a_signal_saves_after_the_step_and_the_run_goes_on_exactly(
    shallow_config, shallow_run, tmp_path, monkeypatch
):
    number = signal.SIGUSR1  # the short soak has SIGTERM
    told = preemption.Watch.told

    def tell(watch: preemption.Watch, step: int) -> bool:
        if step == 6:
            signal.raise_signal(number)
        return told(watch, step)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(preemption.Watch, "told", tell)
        with pytest.raises(preemption.PreemptedError, match=f"{number.name}: saved at step 6"):
            train.train_and_evaluate(shallow_config, tmp_path)
    assert signal.getsignal(number) == before
    assert saved_steps(tmp_path)[-1] == 6
    train.train_and_evaluate(shallow_config, tmp_path)
    assert largest_difference(final_state(shallow_run)[1], final_state(tmp_path)[1]) == 0
    assert metrics_without_times(tmp_path) == metrics_without_times(shallow_run)


def test_processes_that_were_not_joined_are_told_before_they_train(monkeypatch):
    """A TPU's compute together by themselves; a signal to one would reach no other."""
    monkeypatch.setattr(preemption.jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="2 processes compute together, but were not joined"):
        preemption.Watch()


@pytest.fixture
def small_soak(shallow_config, monkeypatch) -> Callable[..., Soak]:
    """Makes a soak of `epochs` of the net with two layers; the config gets these, too."""
    monkeypatch.setattr(soak, "subprocess", forked)

    def make(prepared_dir: Path, epochs: int, **options: object) -> Soak:
        shallow_config.update_from_flattened_dict(TINY | SHALLOW | {"epochs": epochs})
        (layers,) = (f"--config.{field}={value}" for field, value in SHALLOW.items())
        return Soak([*train_arguments(prepared_dir, epochs), layers], **options)

    return make


@pytest.mark.slow
def test_a_short_soak_ends_bit_identical(
    prepared_pictures, shallow_config, small_soak, tmp_path, monkeypatch
):
    """`python -m scripts.soak` is the long form."""
    for name, value in simulated(1).items():  # as here, not a device for each core
        monkeypatch.setenv(name, value)
    soaked = small_soak(prepared_pictures, epochs=8)  # it goes on for seconds after a kill
    train.train_and_evaluate(shallow_config, tmp_path / "unbroken")
    chance = random.Random(4)  # 0.15 and 0.14 s after the first save
    killed = soaked.kill(tmp_path / "broken", signal.SIGKILL, chance)
    assert "exit codes [-9]" in killed
    told = soaked.kill(tmp_path / "broken", signal.SIGTERM, chance)
    assert f"exit codes [{preemption.EXIT_CODE}]" in told
    train.train_and_evaluate(shallow_config, tmp_path / "broken")
    assert differences(tmp_path / "unbroken", tmp_path / "broken") == []


@pytest.mark.slow
def test_a_killed_process_takes_the_others_down_and_the_run_goes_on(
    prepared_pictures, shallow_config, small_soak, tmp_path
):
    soaked = small_soak(prepared_pictures, epochs=40, processes=2, seconds_to_end=60)
    workdir = tmp_path / "pair"
    told = soaked.kill(workdir, signal.SIGKILL, random.Random(37))  # process 0
    said = workdir.with_suffix(".log").read_text()
    if "to process 0" in told and f"{-signal.SIGABRT}]" in told:
        pass  # JAX's own abort was first, see docs/cluster.md
    else:
        named = "error: process . of 2 has ended without a word; process . of 2 ends"
        assert re.search(named, said), told
    step = saved_steps(workdir)[-1]
    train.train_and_evaluate(shallow_config, workdir, stop_after_steps=step + 1)
    assert saved_steps(workdir)[-1] == step + 1


# Numbers that are not finite.


def test_the_first_tensor_that_is_not_finite_is_named():
    params = {
        "conv10": {"kernel": jnp.ones(3)},  # the third: names are in the order of letters
        "conv1": {"bias": jnp.zeros(2), "kernel": jnp.ones((2, 2))},
        "conv2": {"kernel": jnp.ones(3)},
    }
    layers = ["conv1", "conv2", "conv10"]

    def culprit(
        loss: float, broken_momentum: list[str], broken_params: list[str], clipped: bool = False
    ) -> str | None:
        def tree(broken: list[str]):
            return jax.tree_util.tree_map_with_path(
                lambda path, x: (
                    x.at[(0,) * x.ndim].set(jnp.inf)
                    if jax.tree_util.keystr(path, simple=True, separator="/") in broken
                    else x
                ),
                params,
            )

        momentum = optax.TraceState(tree(broken_momentum))
        broken = TrainState(1, tree(broken_params), momentum, 1.0, {})
        step = nonfinite.watched(lambda _, loss, _healthy: (broken, loss))
        whole = TrainState(0, params, optax.TraceState(params), 1.0, {})
        state, healthy, loss = step(whole, jnp.bool_(True), jnp.float32(loss))
        return None if healthy else nonfinite.culprit_of(state, loss, layers, clipped=clipped)

    every = ["conv1/bias", "conv1/kernel", "conv2/kernel", "conv10/kernel"]
    assert culprit(1, [], []) is None
    assert culprit(np.nan, every, every) == "the loss"
    assert culprit(1, every, every) == "the gradient of conv10/kernel"
    assert culprit(1, every[:2], every[:2]) == "the gradient of conv1/kernel"
    assert culprit(1, [], every[2:]) == "the parameter conv2/kernel"
    assert culprit(1, every, every, clipped=True) == "the gradient, whose norm is limited,"


@pytest.fixture(scope="module")
def watched_step(prepared_pictures) -> tuple[jax.stages.Traced, jax.stages.Compiled, tuple]:
    """The step of a small net as a run maps it, for this CPU, and what it is called with."""
    config = tiny(quickstart.get_config(), prepared_pictures)
    config.model.layers = ("conv1", "conv4", "conv5")  # with and without pooling, and norm
    net = model.from_config(config.model, classes=10)
    transform = optimizer.momentum(config.optimizer)
    step = nonfinite.watched(make_train_step(net, config, transform, lambda _: 0.1, 4))
    mapped = parallel.map_over_devices(step, in_axes=(None, None, None, 0), donate=(0,))
    size, crop = config.data.image_size, config.augment.crop
    state = initial_state(model.initial_params(net, 0, crop, 3), transform)
    batch = Batch(
        images=np.zeros((1, 16, size, size, 3), np.uint8),
        labels=np.zeros((1, 16), np.int32),
        index=np.zeros((1, 16), np.int32),
        mask=np.ones((1, 16), np.float32),
    )
    arguments = (state, jnp.bool_(True), np.zeros((size, size, 3), np.float32), batch)
    traced = jax.jit(mapped, donate_argnums=(0,)).trace(*arguments)
    return traced, traced.lower().compile(), arguments


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, np.finfo(np.float32).max])
def test_one_number_among_many_decides_whether_a_step_was_finite(number):
    params = {"w": jnp.full((300, 200), 3e38).at[123, 45].set(number), "b": jnp.ones(2)}
    state = TrainState(jnp.int32(0), params, {}, 1.0, {})
    step = jax.jit(nonfinite.watched(lambda state, loss, _healthy: (state, loss)))
    _, healthy, _ = step(state, jnp.bool_(True), jnp.float32(1))
    assert bool(healthy) == np.isfinite(number)


def test_steps_after_one_that_is_not_finite_leave_its_state(watched_step):
    """The host learns of it some steps later, and finds the state that the bad step left."""
    _, step, (state, healthy, mean, batch) = watched_step
    left = []
    for mean_colour in (0, np.nan, 0, 0):
        state, healthy, loss = step(state, healthy, mean + np.float32(mean_colour), batch)
        left.append(jax.tree.map(np.array, state))
        assert np.isfinite(loss) == (mean_colour == 0 and bool(healthy))
        assert bool(healthy) == (len(left) == 1)
    assert int(left[0].step) == 1
    assert int(state.step) == 2
    for later in left[2:]:
        jax.tree.map(np.testing.assert_array_equal, later, left[1])


def test_a_train_step_writes_over_the_parameters_and_copies_none(watched_step):
    """Of the whole net it copied parameters and momentum in every step, half a gigabyte."""
    _, step, (state, *_) = watched_step
    program = step.as_text().split("ENTRY ")[1]
    given = dict(re.findall(r"(%\S+) = (\S+?)\{\S* parameter\(", program))
    kernels = [leaf.shape for leaf in jax.tree.leaves(state.params) if leaf.ndim > 1]
    shapes = {f"f32[{','.join(map(str, shape))}]" for shape in kernels}
    assert sum(shape in shapes for shape in given.values()) == 2 * len(kernels)
    copied = [given.get(name) for name in re.findall(r" copy\((%\S+)\)", program)]
    assert not shapes & set(copied)


def test_a_train_step_has_no_branch_and_asks_nothing_of_the_host(watched_step):
    """A GPU copies what a branch depends on to the host and waits for it, in every step."""
    traced, step, _ = watched_step
    text = step.as_text()
    assert "fusion" in text
    assert " conditional(" not in text
    assert "callback" not in text

    for_gpus = traced.lower(lowering_platforms=("cuda",)).as_text()
    # Of three layers; of all but the first the gradient of the input too.
    assert for_gpus.count("stablehlo.convolution") == 3 + 3 + 2
    for asking in ("stablehlo.if", "stablehlo.while", "infeed", "outfeed", "callback"):
        assert asking not in for_gpus
    # Which form a platform takes is a constant, or a case that depends on one: no branch remains.
    lines = for_gpus.splitlines()
    for number, line in enumerate(lines):
        if asked := re.search(r'"stablehlo.case"\((%\w+)\)', line):
            source = next(before for before in lines[number::-1] if f"{asked[1]} = " in before)
            assert "stablehlo.constant" in source or '"stablehlo.case"' in source


def test_a_step_is_named_though_the_host_looks_at_every_eighth_only(
    shallow_config, tmp_path, monkeypatch
):
    def make(*_, **__):
        def step(state, _mean, _batch, _healthy):
            loss = jnp.where(state.step == 10, jnp.nan, jnp.float32(1))
            return state.replace(step=state.step + 1), loss

        return step

    heard = []
    monkeypatch.setattr(job, "make_train_step", make)
    monkeypatch.setattr(preemption.Watch, "told", lambda _, step: heard.append(step))
    shallow_config.batch_size = 2
    with pytest.raises(nonfinite.NonFiniteError, match="the loss is not finite at step 11"):
        train.train_and_evaluate(shallow_config, tmp_path)
    assert heard[-1] == 15  # the sixteenth was started and looked back


def test_an_overflow_before_a_save_is_never_saved_and_a_rollback_halves_the_rate(
    shallow_config, tmp_path, monkeypatch
):
    """The loss of step 6 is finite, its parameters are not while the rate is above a third."""
    make = job.make_train_step

    def make_poisoned(*arguments, **options):
        step = make(*arguments, **options)

        def poisoned(state, mean, batch, healthy):
            new, loss = step(state, mean, batch, healthy)
            bad = jnp.where((state.step == 5) & (state.rate_scale > 0.3), jnp.inf, 0)
            return new.replace(params=jax.tree.map(lambda p: p + bad, new.params)), loss

        return poisoned

    monkeypatch.setattr(job, "make_train_step", make_poisoned)
    shallow_config.checkpoint.every_steps = 3
    shallow_config.on_nonfinite, shallow_config.rollback.max_times = "rollback", 1
    with pytest.raises(nonfinite.NonFiniteError, match="is not finite at step 6") as error:
        train.train_and_evaluate(shallow_config, tmp_path)
    assert "the parameter conv1/bias" in str(error.value)
    noted = json.loads((tmp_path / "nonfinite-6.json").read_text())
    assert noted["tensor"] == "the parameter conv1/bias"
    assert len(noted["images"]) == 16
    assert json.dumps(noted["images"][0]) in str(error.value)
    assert saved_steps(tmp_path)[-1] == 4

    shallow_config.rollback.max_times = 2
    train.train_and_evaluate(shallow_config, tmp_path)
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == [4, 8, 12]
    assert records[-1]["learning_rate"] < 0.25 * records[0]["learning_rate"]
    with open_checkpoints(tmp_path / "checkpoints") as checkpoints:
        arrays, record = checkpoints.restore(12)
    assert (record["plateau"]["scale"], record["plateau"]["rollbacks"]) == (0.25, 2)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(arrays))


def test_wrong_ways_back_are_refused(shallow_config, tmp_path):
    shallow_config.on_nonfinite = "ignore"
    with pytest.raises(ValueError, match="must be 'stop' or 'rollback', got 'ignore'"):
        train.train_and_evaluate(shallow_config, tmp_path)
    shallow_config.on_nonfinite, shallow_config.rollback.rate_factor = "rollback", 2.0
    with pytest.raises(ValueError, match=r"rate_factor must lie between 0 and 1, got 2\.0"):
        train.train_and_evaluate(shallow_config, tmp_path)


# The folder.


def test_two_trainings_in_one_folder(shallow_config, shallow_run):
    with (
        lock.locked(shallow_run / "run.lock", "a training"),
        pytest.raises(ValueError, match=rf"\(process {os.getpid()} on \S+\) is at work in"),
    ):
        train.train_and_evaluate(shallow_config, shallow_run)
    assert (shallow_run / "run.lock").read_text() == ""


def test_a_stale_lock_is_taken_over_with_a_warning(tmp_path, caplog):
    (tmp_path / "run.lock").write_text("process 999999 on elsewhere\n")
    with lock.locked(tmp_path / "run.lock", "a training"):
        assert f"process {os.getpid()} on" in (tmp_path / "run.lock").read_text()
    assert "process 999999 on elsewhere) ended without a word" in caplog.text


def test_without_locks_in_the_file_system_the_named_process_counts(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError("Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    path = tmp_path / "run.lock"
    with (
        lock.locked(path, "a training"),
        pytest.raises(ValueError, match="is at work in"),
    ):
        lock.locked(path, "a training").__enter__()
    child = subprocess.Popen(["true"])
    child.wait()
    path.write_text(f"process {child.pid} on {lock.socket.gethostname()}\n")
    with lock.locked(path, "a training"):
        pass


# Tensorstore's other writes end after orbax has closed its event loop on the first error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_stops_with_its_reason_and_the_run_goes_on_from_the_last_checkpoint(
    shallow_config, shallow_run, tmp_path
):
    train.train_and_evaluate(shallow_config, tmp_path, stop_after_steps=4)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"could not write a checkpoint in .*File too large"):
            train.train_and_evaluate(shallow_config, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved_steps(tmp_path) == [4]
    train.train_and_evaluate(shallow_config, tmp_path)
    assert largest_difference(final_state(shallow_run)[1], final_state(tmp_path)[1]) == 0
    assert metrics_without_times(tmp_path) == metrics_without_times(shallow_run)


# Commands.

CONFIG = "--config=configs/quickstart.py"
BAD_COMMANDS = {
    "Unknown command line flag 'wrokdir'": ["train", CONFIG, "--wrokdir=x"],
    "Flag --workdir must have a value": ["train", CONFIG],
    "what is 'fish'": ["train", CONFIG, "--workdir={tmp}", "fish"],
    "batch_size": ["train", CONFIG, "--workdir={tmp}", "--config.batch_size=many"],
    "batchsize": ["train", CONFIG, "--workdir={tmp}", "--config.batchsize=8"],
    "configs/none.py": ["train", "--config=configs/none.py", "--workdir={tmp}"],
    "no such net": ["train", "--config=configs/zfnet.py:lenet", "--workdir={tmp}"],
    "no prepared pictures in {tmp}/none/train": [
        *("train", CONFIG, "--workdir={tmp}", "--config.data.prepared_dir={tmp}/none")
    ],
    "choose a multiple of 3": ["train", "{tiny}", "--config.optimizer.accumulation=3"],
    "model.conv3.maps is 12 there and 13 here": ["train", "{tiny}", "--config.model.conv3.maps=13"],
    "Not a directory": ["train", "{tiny}", "--workdir={tmp}/file/run"],
    "cannot read the photo {tmp}/bad\\nname<b>.jpg": [
        *("visualize", "--workdir={run}", "--image={tmp}/bad\nname<b>.jpg", "--out={tmp}/x.png")
    ],
    "augment.crop 65: must be between 1 and config.data.image_size, 64": [
        *("train", "{tiny}", "--workdir={tmp}/new", "--config.augment.crop=65")
    ],
    "augment.crops 'five': must be ten or random": [
        *("train", "{tiny}", "--workdir={tmp}/new", "--config.augment.crops=five")
    ],
    "--processes and --process need --coordinator": [
        *("train", "{tiny}", "--workdir={tmp}/new", "--processes=2", "--process=0")
    ],
    "should be one of <train|validation>": ["evaluate", "--workdir={run}", "--split=test"],
}


def test_bad_commands_are_one_line_and_code_2(prepared_pictures, shallow_run, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "bad\nname<b>.jpg").write_bytes(b"no photo")
    tiny = [a for a in train_arguments(prepared_pictures, 3) if "every_steps" not in a]
    tiny += [f"--config.{field}={value}" for field, value in SHALLOW.items()]

    def fill(text: str) -> str:
        return text.format(tmp=tmp_path, run=shallow_run, tiny="")

    commands = [
        [
            fill(a)
            for argument in command
            for a in ([*tiny, f"--workdir={shallow_run}"] if argument == "{tiny}" else [argument])
        ]
        for command in BAD_COMMANDS.values()
    ]
    before = metrics_without_times(shallow_run)
    started = [start_script(*command, stderr=subprocess.STDOUT) for command in commands]
    for message, process in zip(BAD_COMMANDS, started):
        (said,) = process.communicate(timeout=300)[0].splitlines()
        assert said.startswith("error: "), said
        assert fill(message).replace("\\n", " ") in said
        assert process.returncode == 2
    assert metrics_without_times(shallow_run) == before
    assert not (tmp_path / "new").exists()
