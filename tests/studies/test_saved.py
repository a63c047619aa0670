"""Saved results: each has a folder of its own, whole or not there, and is made once."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import threading
import time
import types

import numpy as np
import pytest

from tests import forked
from tests.conftest import simulated
from zfnet_jax import lock
from zfnet_jax.runs import provenance
from zfnet_jax.studies import saved
from zfnet_jax.studies.options import option
from zfnet_jax.studies.saved import Subject


@dataclasses.dataclass(frozen=True)
class Options:
    layer: str = option("conv1", "A layer.")


@pytest.fixture
def here(run, tmp_path):
    """The tiny run, with a folder of its own for results."""
    return dataclasses.replace(run, directory=tmp_path)


def measured(here, subject, value=1.0):
    return saved.measured_once(here, subject, lambda: {"x": np.array(value)}, command="this")


def test_what_differs_in_anything_lies_elsewhere(here):
    subject = Subject("one", Options(), ("conv1",))
    others = [
        dataclasses.replace(subject, options=Options("conv2")),
        dataclasses.replace(subject, data={"fingerprint": "1"}),
        dataclasses.replace(subject, version=2),
    ]
    folders = {saved.folder_of(here, one) for one in [subject, *others]}
    folders.add(saved.folder_of(dataclasses.replace(here, step=13), subject))
    folders.add(saved.folder_of(dataclasses.replace(here, mean=here.mean + 1), subject))
    scaled = dataclasses.replace(here, config=here.config.copy_and_resolve_references())
    scaled.config.augment.scale += 1.0
    folders.add(saved.folder_of(scaled, subject))
    assert len(folders) == 7
    for number, one in enumerate([subject, *others]):
        assert measured(here, one, number).arrays["x"] == number
    assert len(saved.find(here.directory, "one")) == 4


def test_a_folders_name_fits_a_file_system_in_any_script(here):
    folder = saved.folder_of(here, Subject("one", Options(), ("\U00020000" * 70,)))
    assert len(folder.name.encode()) < 255 - 40
    assert folder.name.startswith("\U00020000" * 45 + "-")


def test_a_field_of_the_net_that_is_added_with_its_default_makes_no_other_net(run):
    """Or every saved result would be measured again."""
    more = dataclasses.make_dataclass(
        "Architecture",
        [("later", bool, dataclasses.field(default=False))],
        bases=(type(run.architecture),),
        frozen=True,
        kw_only=True,
    )
    fields = dataclasses.fields(run.architecture)
    given = {field.name: getattr(run.architecture, field.name) for field in fields}
    digests = [
        provenance.net_digest(dataclasses.replace(run, net=types.SimpleNamespace(architecture=net)))
        for net in (run.architecture, more(**given), more(**given, later=True))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_it_is_made_once(here):
    subject = Subject("one", Options(), ("conv1",))
    first = measured(here, subject, 1.0)
    again = measured(here, subject, 2.0)
    assert again.arrays["x"] == 1
    assert again.about == first.about
    assert first.about["options"] == {"layer": "conv1"}
    assert first.about["command"] == "this"
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]


def test_what_no_checkpoint_made_stays_when_the_run_is_trained_on(here):
    subject = Subject("one", Options(), ("conv1",), {"recipe": "1"}, of_checkpoint=False)
    first = measured(here, subject)
    trained_on = dataclasses.replace(here, step=13, mean=here.mean + 1)
    assert measured(trained_on, subject).folder == first.folder
    other = dataclasses.replace(subject, data={"recipe": "2"})
    assert not saved.is_there(trained_on, other)
    assert saved.is_there(trained_on, subject)


def test_what_is_known_only_when_it_is_made_is_said_too(here):
    def make(folder):
        assert list(folder.iterdir()) == []
        return {"accuracy": 0.5, "step": 3}

    subject = Subject("one", Options(), ("conv1",))
    result = saved.made_once(here, subject, make, command="", about={"accuracy": 0, "method": "m"})
    assert [result.about[name] for name in ("accuracy", "step", "method")] == [0.5, 3, "m"]


def test_an_error_leaves_nothing(here):
    subject = Subject("one", Options(), ("a photo: c/d.png",))

    def fail():
        raise FloatingPointError("not finite")

    with pytest.raises(FloatingPointError):
        saved.measured_once(here, subject, fail, command="")
    assert not list((here.directory / "studies" / "one").iterdir())
    assert saved.find(here.directory, "one") == []
    assert measured(here, subject).folder.name.startswith("a_photo_c_d.png-")


def test_of_two_at_once_one_measures(here):
    subject = Subject("one", Options(), ("conv1",))
    calls = []

    def slow():
        calls.append(1)
        time.sleep(0.2)
        return {"x": np.array(1.0)}

    def run_it():
        saved.measured_once(here, subject, slow, command="")

    threads = [threading.Thread(target=run_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


TOGETHER = """
import dataclasses, sys, time
from pathlib import Path
import numpy as np
from zfnet_jax import distributed
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.saved import Subject
from tests.studies.test_saved import Options

address, number, workdir, out = sys.argv[1:]
def make(folder):
    if folder is not None:
        time.sleep(2)  # the writer alone, as in mining: it projects
        np.savez(folder / "arrays.npz", x=1)

with distributed.joined(address, 2, int(number)):
    run = dataclasses.replace(open_run(workdir), directory=Path(out))
    subject = Subject("one", Options(), ("conv1",))
    for _ in range(2):
        result = saved.made_once(run, subject, make, command="")
        assert (result.folder / "about.json").exists(), "gone on before the result was there"
"""


def test_no_process_goes_on_before_the_writer_is_done(tiny_run, tmp_path):
    """It would end, wait in jax's shutdown for five minutes, and then all would be aborted."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [
        forked.Popen(
            [sys.executable, "-c", TOGETHER, address, str(number), tiny_run, tmp_path],
            env=os.environ | simulated(1),
        )
        for number in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs


def test_a_lock_is_gone_when_its_holder_is(tmp_path):
    with lock.waited_for(tmp_path / "x.lock"):
        assert (tmp_path / "x.lock").exists()
    assert not (tmp_path / "x.lock").exists()


def test_damage_and_absence_are_told(here):
    result = measured(here, Subject("one", Options(), ("conv1",)))
    whole = (result.folder / "arrays.npz").read_bytes()
    for damaged in (b"PK", whole[:-20]):
        (result.folder / "arrays.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged: remove it, and measure again"):
            _ = saved.load(result.folder).arrays
    with pytest.raises(FileNotFoundError, match="holds no result of a study"):
        saved.load(here.directory)


def test_what_is_no_whole_result_is_told_before_anything_is_measured(here):
    subject = Subject("one", Options(), ("conv1",))
    result = measured(here, subject)
    (result.folder / "about.json").unlink()
    with pytest.raises(ValueError, match=r"has lost its about.json: remove it"):
        saved.measured_once(here, subject, lambda: pytest.fail("measured"), command="")


def test_a_folder_that_is_no_result_stands_in_nobodys_way(here):
    result = measured(here, Subject("one", Options(), ("conv1",)))
    other = result.folder.with_name("ensemble-1")
    other.mkdir()
    (other / "about.json").write_text(json.dumps({"members": []}))
    assert [one.folder for one in saved.find(here.directory, "one")] == [result.folder]


def test_the_newest_comes_last_and_a_step_can_be_asked_for(here):
    results = [measured(here, Subject("one", Options(layer), (layer,))) for layer in "ab"]
    for result, finished, step in zip(results, ("2026-02", "2026-01"), (12, 8), strict=True):
        about = json.loads((result.folder / "about.json").read_text())
        text = json.dumps(about | {"finished": finished, "step": step})
        (result.folder / "about.json").write_text(text)
    found = saved.find(here.directory, "one")
    assert [one.about["step"] for one in found] == [8, 12]
    assert [one.folder for one in saved.find(here.directory, "one", 12)] == [results[0].folder]
