"""Winners followed through the checkpoints of a run."""

from __future__ import annotations

import numpy as np
import pytest

from tests.mined_folder import write_mined
from zfnet_jax.studies.evolution.measure import evolution, follow
from zfnet_jax.studies.evolution.options import Options
from zfnet_jax.studies.features.winners import load

# Per checkpoint, the image that wins each of five maps; -1 is a dead map.
STORY = np.array(
    [
        [7, 7, 7, 7],  # the same from the start
        [1, 2, 2, 2],  # settled at the second checkpoint
        [1, 2, 1, 2],  # never
        [-1, -1, 5, 5],  # dead at first
        [3, 3, 3, -1],  # dead at last
    ]
)


@pytest.fixture
def folders(tmp_path):
    """Four checkpoints, newest first, three winners each."""
    paths = []
    for index in reversed(range(4)):
        images = np.concatenate([STORY[:, index : index + 1], np.full((5, 2), 20)], axis=1)
        images[images[:, 0] < 0] = -1
        path = tmp_path / f"train-{10 * (index + 1)}"
        write_mined(path, images={"conv1": images}, step=10 * (index + 1), epoch=index, seed=index)
        paths.append(path)
    return paths


def test_winners_are_followed_from_checkpoint_to_checkpoint(folders):
    arrays = evolution(folders, Options(maps=2))
    np.testing.assert_array_equal(arrays["step"], [10, 20, 30, 40])
    np.testing.assert_array_equal(arrays["epoch"], [0, 1, 2, 3])
    np.testing.assert_array_equal(arrays["conv1/image"], STORY)
    np.testing.assert_array_equal(arrays["conv1/settled"], [0, 1, 3, 2, 3])
    # Of the four maps alive at last: one changes at 1 and 2 of them at the others.
    np.testing.assert_allclose(arrays["conv1/share_changed"], [0, 2 / 4, 2 / 4, 1 / 4])
    assert arrays["conv1/half_settled"] == 1
    assert arrays["conv1/all_settled"] == -1


def test_the_maps_to_draw_are_alive_and_keep_their_strongest_winners(folders):
    arrays = evolution(folders, Options(maps=3, seed=1))
    maps = arrays["conv1/map"]
    assert set(maps) <= {0, 1, 2, 3}
    assert len(maps) == 3
    for index, path in enumerate(reversed(folders)):
        one = load(path)
        for row, number in enumerate(maps):
            shown = one.projection("conv1", number)[0]
            np.testing.assert_array_equal(arrays["conv1/projection"][row, index], shown)
            with np.load(path / "patches.npz") as patches:
                np.testing.assert_array_equal(
                    arrays["conv1/patch"][row, index], patches["conv1/patch"][number, 0]
                )


def test_settling_is_what_a_loop_over_the_future_finds():
    images = np.random.default_rng(0).integers(-1, 2, (200, 5))
    found = follow(images)
    for row in range(200):
        future = [set(images[row, e:]) for e in range(5)]
        assert found["settled"][row] == min(e for e in range(5) if len(future[e]) == 1)
    alive = images[:, -1] >= 0
    for index, share in enumerate(found["share_changed"][1:], start=1):
        assert share == np.mean(images[alive, index] != images[alive, index - 1])


def test_a_layer_that_settles_says_when():
    images = np.array([[1, 2, 2], [3, 3, 3], [4, 4, 4]])
    assert follow(images)["half_settled"] == 0
    assert follow(images)["all_settled"] == 1
    assert follow(np.full((3, 4), -1))["half_settled"] == 0  # nothing is left to change


def test_one_checkpoint_or_two_data_sets_are_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="at least two mined checkpoints"):
        evolution(folders[:1], Options())
    images = {"conv1": np.zeros((5, 3), int)}
    other = write_mined(tmp_path / "validation-50", images=images, step=50)
    with pytest.raises(ValueError, match="mined with split"):
        evolution([*folders, other], Options())
