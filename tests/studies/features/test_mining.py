"""Mining against a sort of all activations; the same for any batch size and number of devices."""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from concurrent import futures

import jax
import numpy as np
import pytest

from tests import forked
from tests.conftest import copied, run_script
from zfnet_jax import notebook
from zfnet_jax.data.prepared import PreparedSplit
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import memory, saved
from zfnet_jax.studies.features import mining, study, winner_projection
from zfnet_jax.studies.features.options import Options
from zfnet_jax.studies.features.winners import Winners, load
from zfnet_jax.studies.saved import Result

LAYERS = ("conv1", "conv5")


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Rows of another split in any order, any number of times; may break off."""

    split: PreparedSplit
    order: np.ndarray
    breaks_at: int | None = None
    fingerprint: str = "chosen"
    read: list[int] = dataclasses.field(default_factory=list)

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels[self.order]

    def __len__(self) -> int:
        return len(self.order)

    def rows(self, index: np.ndarray) -> np.ndarray:
        if self.breaks_at is not None and index[-1] >= self.breaks_at:
            raise KeyboardInterrupt
        self.read.extend(index.tolist())
        return self.split.rows(self.order[index])


def all_activations(run: Run, split, layer: str) -> np.ndarray:
    """[N, H, W, M], each image alone."""
    images = [split.rows(np.array([row])) for row in range(len(split))]
    return np.concatenate(
        [np.asarray(run.forward(run.inputs(image))[1][layer]) for image in images]
    )


def brute_force(activations: np.ndarray) -> list[list[tuple[float, int, int]]]:
    """Per map the (value, image, place) of all active units, by Python's sort."""
    images, height, width, maps = activations.shape
    flat = activations.reshape(images, height * width, maps)
    result = []
    for number in range(maps):
        active = np.argwhere(flat[:, :, number] > 0)
        triples = [(float(flat[i, p, number]), int(i), int(p)) for i, p in active]
        result.append(sorted(triples, key=lambda t: (-t[0], t[1], t[2])))
    return result


def one_per_image(triples: list[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
    seen: set[int] = set()
    return [t for t in triples if not (t[1] in seen or seen.add(t[1]))]


def mine(run: Run, split, k: int = 9, batch_size: int = 16, one: bool = True, **options):
    mined = mining.mine(run, split, k=k, batch_size=batch_size, progress=False, **options)
    return winner_projection.locate(run, split, mined, k=k, one_per_image=one, progress=False)


@pytest.mark.parametrize("order", ["once", "four_times"])
@pytest.mark.parametrize("one", [True, False])
def test_winners_are_those_of_a_sort_of_all_activations(run, split, order, one):
    """Images that occur four times tie exactly, and nine is no multiple of four."""
    rows = np.arange(30) if order == "once" else np.random.default_rng(0).permutation(40) % 10
    images = Chosen(split, rows)
    found = mine(run, images, one=one)
    for layer in LAYERS:
        activations = all_activations(run, images, layer)
        for number, triples in enumerate(brute_force(activations)):
            wanted = (one_per_image(triples) if one else triples)[:9]
            count = len(wanted)
            values, numbers, places = np.array(wanted).reshape(-1, 3).T
            np.testing.assert_array_equal(found[f"{layer}/image"][number, :count], numbers)
            np.testing.assert_allclose(found[f"{layer}/value"][number, :count], values, rtol=1e-6)
            position = np.stack(np.divmod(places, activations.shape[2]), axis=1)
            np.testing.assert_array_equal(found[f"{layer}/position"][number, :count], position)
            labels = images.labels[numbers.astype(int)]
            np.testing.assert_array_equal(found[f"{layer}/label"][number, :count], labels)
            assert (found[f"{layer}/image"][number, count:] == -1).all()
            assert (found[f"{layer}/label"][number, count:] == -1).all()
            assert (found[f"{layer}/value"][number, count:] == 0).all()


@pytest.fixture(scope="module")
def mined(run, split):
    return mine(run, split)


@pytest.fixture(scope="module")
def repeated(run, split):
    """Images that occur several times, and what is mined in them."""
    images = Chosen(split, np.arange(30) % 8)
    return images, mine(run, images)


@pytest.mark.parametrize("batch_size", [1, 7, 30, 64])
def test_the_batch_size_does_not_matter(run, split, mined, repeated, batch_size):
    for images, expected in ((split, mined), repeated):
        found = mine(run, images, batch_size=batch_size)
        assert expected.keys() == found.keys()
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_as_many_images_at_a_time_as_memory_has_room_for(run, split, mined, monkeypatch):
    one = run.forward(run.inputs(split.rows(np.arange(1))))
    each = sum(leaf.nbytes for leaf in jax.tree.leaves(one))
    monkeypatch.setattr(memory, "ACTIVATIONS", 7 * each + 1)
    assert [memory.images_at_once(run, most) for most in (5, 30)] == [5, 7]
    found = mine(run, split)  # what locates the winners takes 7, too
    for name in mined:
        np.testing.assert_array_equal(found[name], mined[name], err_msg=name)
    monkeypatch.setattr(memory, "ACTIVATIONS", each - 1)
    assert memory.images_at_once(run, 30) == 1


@pytest.fixture(scope="module")
def alone(run, split, tmp_path_factory):
    """What one device leaves of it."""
    here = dataclasses.replace(run, directory=tmp_path_factory.mktemp("alone"))
    return study.measured(here, split, Options(), batch_size=7, progress=False).folder


@pytest.mark.slow
def test_two_processes_leave_what_one_does(alone, tiny_run, tmp_path):
    """For other numbers of devices and processes see tests/test_passes.py."""
    workdir = copied(tiny_run, tmp_path / "run")
    outputs = run_script("mine", f"--workdir={workdir}", "--batch_size=7", processes=2, devices=2)
    (result,) = saved.find(workdir, "features")
    assert f"step 12: {result.folder}; dead maps: conv1 " in outputs[0]
    assert [path.name for path in result.folder.parent.iterdir()] == [result.folder.name]
    found, expected = load(result.folder), load(alone)
    for kind in ("winners", "projections", "patches"):
        arrays, wanted = getattr(found, kind), getattr(expected, kind)
        assert set(arrays) == set(wanted)
        for name in wanted:
            np.testing.assert_array_equal(arrays[name], wanted[name], err_msg=name)


def test_a_pass_that_was_killed_goes_on_with_the_same_result(run, split, tmp_path, monkeypatch):
    monkeypatch.setattr(mining, "_SAVE_EVERY", 0.0)
    partial, order = tmp_path / "new" / "pass.npz", np.arange(90) % 30
    with pytest.raises(KeyboardInterrupt):
        mine(run, Chosen(split, order, breaks_at=50), batch_size=8, partial_path=partial)
    rest = Chosen(split, order)
    found = mine(run, rest, batch_size=5, partial_path=partial)
    first = rest.read[0]
    assert 0 < first <= 50
    assert rest.read[: 90 - first] == list(range(first, 90))
    expected = mine(run, Chosen(split, order))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    # A finished pass is not made again, and that of another net is not taken for it.
    finished, options = Chosen(split, order), {"k": 9, "batch_size": 5, "progress": False}
    again = mining.mine(run, finished, partial_path=partial, **options)
    assert finished.read == []
    np.testing.assert_array_equal(again["conv5/image"][:, :9], expected["conv5/image"])
    other = dataclasses.replace(run, params=jax.tree.map(lambda x: x * 2, run.params))
    with pytest.raises(ValueError, match=r"pass\.npz is an unfinished pass of another net"):
        mining.mine(other, finished, partial_path=partial, **options)
    monkeypatch.setattr(mining.provenance, "code_digest", lambda: "later code")
    with pytest.raises(ValueError, match=r"or by other code: remove it"):
        mining.mine(run, finished, partial_path=partial, **options)


KILLED = """
import os, signal, sys
from absl import app
from scripts import mine
from zfnet_jax.command import shell
from zfnet_jax.studies.features import mining

def save_and_die(*arguments, save=mining._save_partial, saved=[]):
    save(*arguments)
    saved.append(1)
    if len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

mining._SAVE_EVERY, mining._save_partial = 0.0, save_and_die
shell.run(mine.main)
"""


@pytest.mark.slow
def test_the_script_killed_in_the_middle_goes_on(tiny_run, run, split, tmp_path):
    whole = features(dataclasses.replace(run, directory=tmp_path / "whole"), split)
    workdir = copied(tiny_run, tmp_path / "cut")
    for program, code in (["-c", KILLED], -signal.SIGKILL), (["-m", "scripts.mine"], 0):
        command = [sys.executable, *program, f"--workdir={workdir}", "--batch_size=8"]
        done = forked.run(command)
        assert done.returncode == code, done.stderr
        if code:
            left = [path.name for path in (workdir / "studies" / "features").glob("[!.]*")]
            assert left == [f"{whole.folder.name}.pass.npz"]
            assert saved.find(workdir, "features") == []
    (cut,) = saved.find(workdir, "features")
    assert list(cut.folder.parent.iterdir()) == [cut.folder]  # nothing is left of the killed one
    same(load(whole.folder), load(cut.folder))


def same(one: Winners, other: Winners) -> None:
    for file in ("winners", "projections", "patches"):
        a, b = getattr(one, file), getattr(other, file)
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(b[name], a[name], err_msg=name)


def features(run: Run, split, progress: bool = False, **options) -> Result:
    return study.measured(run, split, Options(**options), batch_size=8, progress=progress)


def test_minings_with_other_options_lie_side_by_side_and_each_is_made_once(
    run, split, tmp_path, monkeypatch
):
    here = dataclasses.replace(run, directory=tmp_path)
    kinds = [{}, {"k": 2}, {"rectify": "guided"}, {"all_positions": True}]
    results = [features(here, split, **options) for options in kinds]
    results.append(features(here, dataclasses.replace(split, fingerprint="other photos")))
    results.append(features(dataclasses.replace(here, step=8), split))
    assert len({one.folder for one in results}) == len(results)
    paper, few, guided = (load(one.folder) for one in results[:3])
    np.testing.assert_array_equal(few.winners["conv5/image"], paper.winners["conv5/image"][:, :2])
    np.testing.assert_array_equal(guided.winners["conv5/value"], paper.winners["conv5/value"])
    assert any(
        (guided.projection("conv5", number) != paper.projection("conv5", number)).any()
        for number in range(12)
    )
    # The paper's is what one gets who asks for nothing else.
    before = results[0].about
    monkeypatch.setattr(mining, "mine", None)  # would fail
    assert features(here, split).about == before
    assert zfnet_mine(here, split, monkeypatch).folder == results[0].folder
    (few_again,) = [
        one for one in saved.find(tmp_path, "features") if one.about["options"]["k"] == 2
    ]
    assert few_again.folder == results[1].folder


def zfnet_mine(run: Run, split, monkeypatch) -> Winners:
    """What the package's own `mine` finds."""
    monkeypatch.setattr(notebook.images, "open_split", lambda *_: split)
    return notebook.mine(run)


def test_of_two_at_once_one_waits_and_neither_removes_the_others(run, split, tmp_path):
    """In the end both kinds are there, whole, and of one kind one was measured."""
    here, passes = dataclasses.replace(run, directory=tmp_path), []

    @dataclasses.dataclass(frozen=True)
    class Counted(type(split)):
        def rows(self, index):
            if index[0] == 0 and len(index) == 8:
                passes.append(1)
                time.sleep(0.1)
            return super().rows(index)

    counted = Counted(*(getattr(split, field.name) for field in dataclasses.fields(split)))
    kinds = [{"k": 1}, {"k": 1}, {"k": 1, "overlap": "max"}]
    with futures.ThreadPoolExecutor() as pool:
        started = [pool.submit(features, here, counted, **options) for options in kinds]
        first, again, other = (one.result() for one in started)
    assert first.folder == again.folder != other.folder
    assert len(passes) == 2
    assert set(first.folder.parent.iterdir()) == {first.folder, other.folder}
    for one in (first, other):
        assert load(one.folder).winners["conv1/value"].shape == (8, 1)


def test_maps_that_nothing_activates_are_dead(run, split):
    params = jax.tree.map(np.array, run.params)
    params["conv5"]["bias"][3] = -1e6
    found = mine(dataclasses.replace(run, params=params), split, k=40)
    dead = mining.dead_maps(found, "conv5")
    assert 3 in dead
    peaks = all_activations(run, split, "conv5").max(axis=(0, 1, 2))
    np.testing.assert_array_equal(dead, np.flatnonzero((peaks <= 0) | (np.arange(12) == 3)))
    assert (found["conv5/image"][3] == -1).all()
    # More winners asked for than there are images.
    assert (found["conv1/image"][:, 30:] == -1).all()
    assert (found["conv1/value"][:, 30:] == 0).all()


def test_an_activation_that_is_no_number_stops_with_its_place(run, split):
    params = jax.tree.map(np.array, run.params)
    params["conv5"]["bias"][2] = np.nan
    with pytest.raises(FloatingPointError, match="conv5: image 0 gives map 2"):
        mine(dataclasses.replace(run, params=params), split)
