from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zfnet_jax import units

MAPS = np.random.default_rng(0).permutation(4 * 3 * 5 * 6).reshape(4, 3, 5, 6).astype(np.float32)
PER_IMAGE = jnp.array([5, 0, 3, 3])


def _indices(index) -> list[int]:
    return np.broadcast_to(np.asarray(index), 4).tolist()


@pytest.mark.parametrize("index", [2, PER_IMAGE], ids=["one", "per_image"])
def test_whole_map_keeps_one_map(index):
    expected = np.zeros_like(MAPS)
    for b, c in enumerate(_indices(index)):
        expected[b, :, :, c] = MAPS[b, :, :, c]
    np.testing.assert_array_equal(jax.jit(units.whole_map)(MAPS, index), expected)


@pytest.mark.parametrize("index", [2, PER_IMAGE], ids=["one", "per_image"])
@pytest.mark.parametrize("row", [1, jnp.array([0, 2, 2, 1])], ids=["one", "per_image"])
@pytest.mark.parametrize("column", [4, jnp.array([0, 3, 4, 1])], ids=["one", "per_image"])
def test_unit_at_keeps_one_unit(index, row, column):
    expected = np.zeros_like(MAPS)
    for b, (c, i, j) in enumerate(zip(_indices(index), _indices(row), _indices(column))):
        expected[b, i, j, c] = MAPS[b, i, j, c]
    np.testing.assert_array_equal(jax.jit(units.unit_at)(MAPS, index, row, column), expected)


@pytest.mark.parametrize("index", [2, PER_IMAGE], ids=["one", "per_image"])
def test_strongest_position_and_unit(index):
    rows, columns = jax.jit(units.strongest_position)(MAPS, index)
    kept = np.asarray(jax.jit(units.strongest_unit)(MAPS, index))
    for b, c in enumerate(_indices(index)):
        best = max(np.ndindex(3, 5), key=lambda position, b=b, c=c: MAPS[b, *position, c])
        assert (int(rows[b]), int(columns[b])) == best
        assert [tuple(unit) for unit in np.argwhere(kept[b])] == [(*best, c)]
        assert kept[b, *best, c] == MAPS[b, *best, c]


def test_the_first_of_equally_strong_units_is_kept():
    maps = np.zeros((1, 3, 4, 2), np.float32)
    maps[0, 1, 2:, 1] = maps[0, 2, 0, 1] = 7
    rows, columns = jax.jit(units.strongest_position)(maps, 1)
    assert (rows.tolist(), columns.tolist()) == ([1], [2])
    kept = np.asarray(jax.jit(units.strongest_unit)(maps, 1))
    assert np.argwhere(kept).tolist() == [[0, 1, 2, 1]]


@pytest.mark.parametrize("count", [1, 4, 6, 9])  # 9: more than there are maps
def test_strongest_maps_are_sorted_by_their_peak(count):
    numbers, values = units.strongest_maps(jnp.asarray(MAPS), count)
    for b in range(4):
        peaks = sorted(((MAPS[b, :, :, c].max(), c) for c in range(6)), reverse=True)[:count]
        assert numbers[b].tolist() == [c for _, c in peaks]
        assert values[b].tolist() == [peak for peak, _ in peaks]
