from __future__ import annotations

import contextlib
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests import forked
from zfnet_jax import parallel
from zfnet_jax.runs import checkpoint
from zfnet_jax.runs.checkpoint import (
    Checkpoints,
    DamagedCheckpointError,
    UnreadableCheckpointError,
    open_checkpoints,
)
from zfnet_jax.runs.damage import first_line

Momentum = namedtuple("Momentum", ["trace", "count"])
KEEP = {"keep_latest": 2, "keep_best": 1, "keep_steps": (20,)}


def _state(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(7, 7, 3, 8)).astype(np.float32)
    kernel[0, 0, 0, :3] = np.nan, np.inf, -0.0
    return {
        "params": {"conv1": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(8)}},
        "opt": (Momentum(jnp.asarray(rng.normal(size=(4, 5)), jnp.bfloat16), np.int32(seed)), None),
        "mean": rng.normal(size=(16, 16, 3)),
        "key": np.array([seed, 2**32 - 1], np.uint32),
        "learning_rate": 0.01,
        "flag": np.bool_(True),
    }


def _assert_same_bits(actual, expected) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
        e = np.asarray(e)
        assert isinstance(a, np.ndarray)
        assert (a.dtype, a.shape, a.tobytes()) == (e.dtype, e.shape, e.tobytes())


def _write(directory: Path, *steps: int) -> None:
    with Checkpoints(directory, **KEEP) as checkpoints:
        for step in steps:
            assert checkpoints.save(step, _state(step), {"epoch": step}, 1 / step)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_round_trip_is_bit_exact(tmp_path):
    record = {"best_error": float("inf"), "classes": ["n01", "n02"], "nested": {"lr": 0.1}}
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        assert checkpoints.restore_latest(_state(0)) is None
        checkpoints.save(3, _state(3), record, 0.5)
        arrays, restored = checkpoints.restore(3, _state(0))
    _assert_same_bits(arrays, _state(3))
    assert restored == record
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), arrays)
        step, arrays, restored = checkpoints.restore_latest(shapes)
        plain, _ = checkpoints.restore(3)
    assert step == 3
    assert restored == record
    _assert_same_bits(arrays, _state(3))
    assert plain["opt"]["0"].keys() == {"trace", "count"}
    _assert_same_bits(plain["params"], _state(3)["params"])


def test_a_donated_buffer_may_be_overwritten_after_save(tmp_path):
    step = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    x = jnp.arange(100_000, dtype=jnp.float32)
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        checkpoints.save(1, {"x": x}, {}, None)
        step(x).block_until_ready()
        arrays, _ = checkpoints.restore(1)
    np.testing.assert_array_equal(arrays["x"], np.arange(100_000, dtype=np.float32))


def test_latest_best_and_chosen_steps_are_kept(tmp_path):
    errors = {10: 0.5, 20: 0.6, 30: 0.3, 35: None, 40: 0.4, 50: float("nan"), 60: 0.3, 70: 0.9}
    saved, reopened = [], Checkpoints(tmp_path, **KEEP)
    for step, error in errors.items():
        saved.append(step)
        reopened.save(step, {"x": np.ones(2)}, {}, error)
        scored = [s for s in saved if errors[s] is not None and not np.isnan(errors[s])]
        best = [s for s in scored if errors[s] == min(errors[t] for t in scored)][-1]
        expected = sorted({*saved[-2:], best} | ({20} & set(saved)))
        assert reopened.all_steps() == expected
        assert reopened.best_step() == best
        if step in (30, 50):  # the same after a restart
            reopened.close()
            reopened = Checkpoints(tmp_path, **KEEP)
            assert reopened.all_steps() == expected
            assert reopened.best_step() == best
    reopened.close()
    assert {int(path.name) for path in tmp_path.iterdir()} == {20, 60, 70}


def test_without_any_error_there_is_no_best(tmp_path):
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        for step in (1, 2, 3, 4):
            checkpoints.save(step, {"x": np.ones(2)}, {}, None)
        assert checkpoints.best_step() is None
        assert checkpoints.all_steps() == [3, 4]


def _flip(data: bytes, position: float) -> bytes:
    changed = bytearray(data)
    changed[int(position * (len(data) - 1))] ^= 0x10
    return bytes(changed)


# Tensorstore's other reads end after orbax has closed its event loop on the first error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", ["first", "middle", "last", "truncated", "missing"])
def test_no_damaged_file_is_restored_unnoticed(tmp_path, damage):
    """Each file in turn: an error that names the step, or (a file not needed) the exact arrays."""
    _write(tmp_path, 1, 2)
    noticed = []
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        for path in _files(tmp_path / "2"):
            whole = path.read_bytes()
            if damage == "missing":
                path.unlink()
            elif damage == "truncated":
                path.write_bytes(whole[: len(whole) // 2])
            else:
                path.write_bytes(_flip(whole, {"first": 0, "middle": 0.5, "last": 1}[damage]))
            try:
                arrays, record = checkpoints.restore(2, _state(0))
            except DamagedCheckpointError as error:
                assert "step 2" in str(error)  # noqa: PT017 - either outcome is right
                noticed.append(path)
            else:
                _assert_same_bits(arrays, _state(2))
                assert record == {"epoch": 2}
            path.write_bytes(whole)
        _assert_same_bits(checkpoints.restore(2, _state(0))[0], _state(2))
    largest = max(_files(tmp_path / "2" / "arrays"), key=lambda path: path.stat().st_size)
    if damage != "last":  # the end of the data file is not needed
        assert largest in noticed
    assert tmp_path / "2" / "record" / "metadata" in noticed


# Tensorstore's other reads end after orbax has closed its event loop on the first error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_after_any_damage_a_run_goes_on_from_the_exact_newest_good_step(tmp_path, caplog):
    """Random flips, gaps and cuts anywhere in the newest step, as a resumed run meets them."""
    _write(tmp_path / "whole", 1, 2)
    rng = np.random.default_rng(0)
    files = [path.relative_to(tmp_path) for path in _files(tmp_path / "whole" / "2")]
    fallbacks = 0
    for number in range(2 * len(files)):
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", directory)
        path = directory / files[number % len(files)].relative_to("whole")
        content = bytearray(path.read_bytes())
        place, kind = int(rng.integers(max(1, len(content)))), rng.integers(3)
        if kind == 0:
            content[place : place + 1] = bytes(
                b ^ 1 << int(rng.integers(8)) for b in content[place : place + 1]
            )
        elif kind == 1:
            content[place : place + 64] = b"\0" * len(content[place : place + 64])
        else:
            del content[place:]
        path.write_bytes(content)
        caplog.clear()
        with Checkpoints(directory, **KEEP) as checkpoints:
            step, arrays, record = checkpoints.restore_latest(_state(0))
        assert record == {"epoch": step}
        _assert_same_bits(arrays, _state(step))
        if step == 1:
            fallbacks += 1
            assert "Falling back to step 1" in caplog.text
            assert (directory / "damaged-2").is_dir()
    assert fallbacks > len(files) // 2


def test_arrays_of_another_step_are_told_by_the_digest(tmp_path):
    """Files that orbax reads happily."""
    _write(tmp_path, 1, 2, 3)
    shutil.rmtree(tmp_path / "2" / "arrays")
    shutil.copytree(tmp_path / "3" / "arrays", tmp_path / "2" / "arrays")
    shutil.copytree(tmp_path / "3", tmp_path / "9")
    with open_checkpoints(tmp_path) as checkpoints:
        with pytest.raises(DamagedCheckpointError, match=r"step 2 .* differs from its digest"):
            checkpoints.restore(2)
        with pytest.raises(DamagedCheckpointError, match=r"step 9 .* holds step 3"):
            checkpoints.restore(9)


def test_falls_back_to_the_newest_good_step_and_goes_on(tmp_path, caplog):
    _write(tmp_path, 20, 30, 40)
    (tmp_path / "40" / "record" / "metadata").write_text("{")
    shutil.rmtree(tmp_path / "30" / "arrays")
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        caplog.clear()
        step, arrays, record = checkpoints.restore_latest(_state(0))
        assert (step, record) == (20, {"epoch": 20})
        _assert_same_bits(arrays, _state(20))
        messages = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert [m.split(" in ")[0] for m in messages] == [
            "checkpoint of step 40",
            "checkpoint of step 30",
        ]
        assert all("Falling back to step 20" in message for message in messages)
        assert checkpoints.all_steps() == [20]
        assert checkpoints.save(30, _state(31), {"epoch": 31}, 0.5)
        assert checkpoints.save(40, _state(41), {"epoch": 41}, 0.6)
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        assert checkpoints.all_steps() == [20, 30, 40]
        step, arrays, _ = checkpoints.restore_latest(_state(0))
    assert step == 40
    _assert_same_bits(arrays, _state(41))
    assert (tmp_path / "damaged-40").is_dir()


def test_no_good_checkpoint_is_an_error_and_nothing_is_renamed(tmp_path):
    _write(tmp_path, 1, 2)
    for step in ("1", "2"):
        (tmp_path / step / "record" / "metadata").write_text("null")
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        with pytest.raises(DamagedCheckpointError, match=r"no good .* step 2 .* step 1 "):
            checkpoints.restore_latest()
        assert checkpoints.best_step() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_half_written_step_is_ignored_and_removed(tmp_path):
    _write(tmp_path, 1, 2)
    half = tmp_path / "3.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "2", half)
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 2
    assert half.exists()
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        assert checkpoints.restore_latest(_state(0))[0] == 2
        checkpoints.save(3, _state(3), {}, None)
        assert checkpoints.restore_latest(_state(0))[0] == 3
    assert not half.exists()


def test_a_failed_write_is_an_error_and_keeps_the_step_before(tmp_path):
    big = {"x": np.random.default_rng(0).normal(size=(500, 1000))}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path, keep_latest=1, keep_best=0, keep_steps=()) as checkpoints:
        checkpoints.save(1, big, {}, None)
        checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
        try:
            checkpoints.save(2, big, {}, None)
            with pytest.raises(OSError, match="could not write a checkpoint"):
                checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert checkpoints.all_steps() == [1]
        np.testing.assert_array_equal(checkpoints.restore_latest()[1]["x"], big["x"])


def test_nets_that_are_trained_at_once_in_threads_save_each_its_own(tmp_path, monkeypatch):
    """Orbax numbers saves for the whole process, and asks for the number again later."""
    number = ocp.AsyncCheckpointer.synchronize_next_awaitable_signal_operation_id
    both = threading.Barrier(2)

    def numbered(self):
        number(self)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # until the other has a number as well, where it can

    monkeypatch.setattr(
        ocp.AsyncCheckpointer, "synchronize_next_awaitable_signal_operation_id", numbered
    )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_write, [tmp_path / "one", tmp_path / "other"], [1, 1]))
    for name in ("one", "other"):
        with Checkpoints(tmp_path / name, **KEEP) as checkpoints:
            arrays, _ = checkpoints.restore(1, _state(0))
        _assert_same_bits(arrays, _state(1))


def test_the_first_save_of_a_step_stands_and_older_steps_are_refused(tmp_path):
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        assert checkpoints.save(5, {"x": np.ones(2)}, {"epoch": 1}, 0.2)
        assert not checkpoints.save(5, {"x": np.zeros(2)}, {"epoch": 2}, 0.1)
        with pytest.raises(ValueError, match=r"cannot save step 4 .*step 5 is there already"):
            checkpoints.save(4, {"x": np.ones(2)}, {}, None)
        arrays, record = checkpoints.restore(5)
    assert record == {"epoch": 1}
    assert arrays["x"].tolist() == [1, 1]


def test_read_only_changes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoints: there is no directory .*missing"):
        open_checkpoints(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    _write(tmp_path, 1, 2)
    (tmp_path / "2" / "record" / "metadata").write_text("{")
    before = {path: path.read_bytes() for path in _files(tmp_path)}
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest(_state(0))[0] == 1
        with pytest.raises(ValueError, match="opened read-only"):
            checkpoints.save(3, _state(3), {}, None)
    assert {path: path.read_bytes() for path in _files(tmp_path)} == before


def test_another_model_is_not_taken_for_damage(tmp_path):
    _write(tmp_path, 1, 2)
    other_shape = _state(0) | {"mean": np.zeros((8, 8, 3))}
    other_dtype = _state(0) | {"mean": np.zeros((16, 16, 3), np.float32)}
    other_names = _state(0) | {"ema": np.zeros(3)}
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        for like, message in (
            (other_shape, r"mean is float64\[16, 16, 3\], expected float64\[8, 8, 3\]"),
            (other_dtype, r"mean is float64\[16, 16, 3\], expected float32\[16, 16, 3\]"),
            (other_names, r"lacks \['ema'\]"),
        ):
            with pytest.raises(ValueError, match=message) as error:
                checkpoints.restore_latest(like)
            assert not isinstance(error.value, DamagedCheckpointError)
        with pytest.raises(ValueError, match=r"has no step 7, only \[1, 2\]"):
            checkpoints.restore(7)
        assert checkpoints.all_steps() == [1, 2]


def _too_many_open_files(*_: object) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _circle_of_links(_: object, directory: Path) -> None:
    """A file that cannot be opened, as tensorstore finds it: the system's error in a ValueError."""
    (path,) = (directory / "2" / "arrays").glob("d/*")
    path.unlink()
    path.symlink_to(path)


def _of_the_library(error: Exception) -> Callable[..., None]:
    def restore(*_: object, **__: object) -> None:
        raise error

    def inject(monkeypatch: pytest.MonkeyPatch, _: Path) -> None:
        monkeypatch.setattr(checkpoint.ocp.StandardCheckpointHandler, "restore", restore)
        monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "restore", restore)

    return inject


def _of_a_plain_read(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """What orbax calls missing is there, but the server has forgotten it."""
    _of_the_library(FileNotFoundError("no _METADATA"))(monkeypatch, directory)
    whole = Path.open

    def opened(path: Path, *arguments, **named):
        if path.name == "_METADATA":
            raise OSError(116, "Stale file handle", str(path))
        return whole(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", opened)


# Tensorstore's other reads end after orbax has closed its event loop on the first error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of orbax, for want of a file
@pytest.mark.parametrize(
    ("inject", "message"),
    [
        (_too_many_open_files, "Too many open files"),
        (_circle_of_links, "Too many levels of symbolic links"),
        (_of_a_plain_read, r"Stale file handle: '.*2/arrays/_METADATA'"),
        (_of_the_library(OSError(5, "Input/output error", "f")), "Input/output error: 'f'"),
        (_of_the_library(MemoryError("64 GB")), "MemoryError: 64 GB"),
        (_of_the_library(RuntimeError("Gloo: connection closed")), "connection closed"),
        (_of_the_library(ValueError("RESOURCE_EXHAUSTED: memory")), "RESOURCE_EXHAUSTED"),
    ],
    ids=["files", "links", "server", "disk", "memory", "peer", "status"],
)
def test_what_cannot_be_read_is_not_taken_for_damage(tmp_path, monkeypatch, inject, message):
    _write(tmp_path, 1, 2)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        inject(monkeypatch, tmp_path)
        try:
            with pytest.raises(UnreadableCheckpointError, match=message) as error:
                checkpoints.restore_latest(_state(0))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert f"step 2 in {tmp_path}" in str(error.value)
        assert "nothing was changed" in str(error.value)
        assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("step 2 damaged", r"process 1 finds step 2 damaged; nothing was changed"),
        ("step 2 (0123)", r"process 0 finds step 2 \(\w+\), process 1 finds step 2 \(0123\)"),
        ("no checkpoint", r"process 0 finds step 2 .* process 1 finds no checkpoint"),
        ("failed: cannot read x", r"process 1: cannot read x"),
    ],
)
def test_what_not_all_processes_find_is_no_damage(tmp_path, monkeypatch, other, message):
    _write(tmp_path, 1, 2)
    monkeypatch.setattr(parallel, "from_all", lambda own: [own, other])
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        with pytest.raises(UnreadableCheckpointError, match=message):
            checkpoints.restore_latest(_state(0))
        (tmp_path / "2" / "record" / "metadata").write_text("{")
        if "damaged" not in other:
            with pytest.raises(UnreadableCheckpointError, match="process 1"):
                checkpoints.restore_latest(_state(0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


_WORKER = """
import sys
from pathlib import Path
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from zfnet_jax.runs import checkpoint
from zfnet_jax.runs.checkpoint import Checkpoints
directory = Path(sys.argv[3])
replicated = NamedSharding(Mesh(jax.devices(), ("batch",)), PartitionSpec())
local = NamedSharding(Mesh(jax.local_devices(), ("batch",)), PartitionSpec())
values = np.arange(6, dtype=np.float32)
state = {"x": jax.device_put(values, replicated), "y": jax.device_put(values, local)}
with Checkpoints(directory, keep_latest=2, keep_best=1, keep_steps=()) as checkpoints:
    for step in (1, 2, 3):
        checkpoints.save(step, state, {"epoch": step}, 1 / step)
    checkpoints.wait()
    from jax.experimental.multihost_utils import sync_global_devices
    sync_global_devices("saved")
    if jax.process_index() == 0:
        (directory / "3" / "record" / "metadata").write_text("{")
    sync_global_devices("damaged")
    step, arrays, record = checkpoints.restore_latest(state)
    assert (step, record) == (2, {"epoch": 2}), (step, record)
    assert all(np.array_equal(array, values) for array in arrays.values())
    assert checkpoints.all_steps() == [2]
    assert checkpoints.save(3, state, {"epoch": 3}, None)
    checkpoints.wait()
    sync_global_devices("saved again")
    if jax.process_index() == 1:
        def restore(self, *_):
            raise OSError(5, "Input/output error", "record/metadata")
        checkpoint.ocp.JsonCheckpointHandler.restore = restore
    try:
        checkpoints.restore_latest(state)
        raise AssertionError("restored")
    except checkpoint.UnreadableCheckpointError as error:
        assert "Input/output error: 'record/metadata'" in str(error), str(error)
        assert str(error).startswith("process 1: ") == (jax.process_index() == 0), str(error)
    assert checkpoints.all_steps() == [2, 3]
"""


def test_two_processes_save_one_checkpoint_and_fall_back_together(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    workers = [
        forked.Popen(
            [sys.executable, "-c", _WORKER, address, str(index), str(tmp_path)],
            stderr=subprocess.STDOUT,
        )
        for index in range(2)
    ]
    try:
        outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(outputs)
    with Checkpoints(tmp_path, **KEEP) as checkpoints:
        assert checkpoints.all_steps() == [2, 3]
        assert checkpoints.best_step() == 2
        assert checkpoints.restore_latest()[0] == 3


def test_a_long_error_keeps_the_systems_reason():
    for end in ("No space left on device", "[os_error_code='28']"):
        error = ValueError(f"OUT_OF_RANGE: {'x' * 500} {end}\nmore")
        text = first_line(error)
        assert text.startswith("ValueError: OUT_OF_RANGE")
        assert text.endswith("No space left on device")
        assert len(text) < 400
