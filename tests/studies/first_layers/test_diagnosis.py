"""The diagnosis of made noise and patterns whose numbers are known, and a run from end to end."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import shutil
from typing import Any

import numpy as np
import pytest

from tests.conftest import run_script
from tests.mined_folder import write_mined
from zfnet_jax.report.table import markdown
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.features import winners
from zfnet_jax.studies.first_layers import study
from zfnet_jax.studies.first_layers.aliasing import grid_share
from zfnet_jax.studies.first_layers.diagnosis import diagnose, dominance
from zfnet_jax.studies.first_layers.spectrum import PINK, coverage, leakage
from zfnet_jax.studies.first_layers.table import diagnosis_table


def noise(count: int, size: int, power: float, keep: np.ndarray | float = 1.0) -> np.ndarray:
    """Noise [count, size, size, 3] whose power falls as 1 / f^power, cut out of larger images.

    Args:
      keep: share of the power that is kept, by frequency [64, 64].
    """
    along = np.fft.fftfreq(64)
    radius = np.maximum(np.hypot(along[:, None], along), 1 / 64)
    waves = white_waves(count) * (radius ** (-power / 2) * np.sqrt(keep))[..., None]
    rows = np.fft.ifft(waves, axis=1)[:, 3 : 3 + size]
    return np.real(np.fft.ifft(rows, axis=2)[:, :, 5 : 5 + size])


@functools.cache
def white_waves(count: int) -> np.ndarray:
    white = np.random.default_rng(0).normal(size=(count, 64, 64, 3))
    return np.fft.fft2(white, axes=(1, 2))


def band(low: float, high: float) -> np.ndarray:
    """Which of 64 x 64 frequencies lie between two, cycles per pixel."""
    along = np.fft.fftfreq(64)
    radius = np.hypot(along[:, None], along)
    return (radius >= low) & (radius < high)


@pytest.mark.parametrize("size", [5, 7, 11])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_noise_of_one_band_is_in_that_band_whatever_the_filters_size(size, number):
    edges = (0, 1 / 8, 1 / 4, 1)
    found = coverage(noise(300, size, 2, band(edges[number], edges[number + 1])))
    shares = [found[name] for name in ("low", "mid", "high")]
    assert shares[number] > 0.93
    assert sum(shares) == pytest.approx(1)
    # Seen as it is, much of it lies in other bands.
    assert 0.5 < leakage(size)[number, number] < 0.95


@pytest.mark.parametrize("size", [7, 11, 15])
def test_noise_like_photos_has_no_gap_and_the_same_shares_at_any_size(size):
    found = coverage(noise(300, size, 2))
    for name, share in zip(("low", "mid", "high"), PINK, strict=True):
        assert found[name] == pytest.approx(share, abs=0.03)
    assert found["gap"] < 0.05
    white = coverage(noise(300, size, 0))
    assert white["high"] == pytest.approx(1 - np.pi / 16, abs=0.08)
    assert white["gap"] == 0


@pytest.mark.parametrize("size", [7, 11, 15])
def test_the_gap_is_the_share_of_the_mid_frequencies_that_is_missing(size):
    mid = band(1 / 8, 1 / 4)
    for kept in (0.0, 0.5):
        found = coverage(noise(300, size, 2, np.where(mid, kept, 1.0)))
        assert found["gap"] == pytest.approx(1 - kept, abs=0.12)
    assert coverage(np.zeros((2, size, size, 3)))["gap"] == 0


def test_leakage_is_what_noise_shows_and_columns_are_whole():
    np.testing.assert_allclose(leakage(7).sum(axis=0), 1)
    filters = noise(400, 7, 2, band(1 / 8, 1 / 4))
    basis = np.exp(-2j * np.pi * np.outer(np.arange(64), np.arange(7)) / 64)
    waves = np.einsum("uy,nyxc,vx->uvnc", basis, filters, basis, optimize=True)
    total = np.square(np.abs(waves)).sum(axis=(2, 3))
    seen = [total[band(*edges)].sum() for edges in ((0, 1 / 8), (1 / 8, 1 / 4), (1 / 4, 1))]
    np.testing.assert_allclose(seen / total.sum(), leakage(7)[:, 1], atol=0.02)


def test_dominance_of_equal_and_of_unequal_filters():
    filters = np.random.default_rng(0).choice([-1.0, 1.0], (10, 3, 3, 3))
    equal = dominance(filters)
    assert equal["ratio"] == pytest.approx(1)
    assert equal["energy"] == pytest.approx(1 / 10)
    filters[4] *= 6
    unequal = dominance(filters)
    assert unequal["largest"] == pytest.approx(6)
    assert unequal["median"] == pytest.approx(1)
    assert unequal["energy"] == pytest.approx(36 / 45)


def lattice(count: int, size: int, stride: int) -> np.ndarray:
    """Spots at every `stride` pixels, [count, size, size, 1], of mean 0 and power 1."""
    y, x = np.mgrid[:size, :size]
    result = np.zeros((count, size, size, 1))
    for one, (dy, dx) in zip(result, np.random.default_rng(1).integers(0, stride, (count, 2))):
        away = [(n - d + stride / 2) % stride - stride / 2 for n, d in ((y, dy), (x, dx))]
        one[..., 0] = np.exp(-(away[0] ** 2 + away[1] ** 2) / (stride**2 / 8))
    result -= result.mean(axis=(1, 2), keepdims=True)
    return result / result.std(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("size", [27, 51])
def test_noise_does_not_alias_at_any_stride_and_size(stride, size):
    """By the share of fine power, noise like photos had 0.28 at stride 2 and 0.42 at stride 4."""
    for power in (0, 1, 2):
        found = grid_share([noise(60, size, power)], stride)
        assert found == pytest.approx(0, abs=0.004)


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("size", [27, 51])
def test_what_repeats_with_the_grid_is_found_as_much_as_was_put_in(stride, size):
    found = []
    for share in (0.02, 0.1, 0.5):
        images = noise(60, size, 2)
        images -= images.mean(axis=(1, 2), keepdims=True)
        images /= images.std(axis=(1, 2, 3), keepdims=True)
        mixed = np.sqrt(1 - share) * images + np.sqrt(share) * lattice(60, size, stride)
        value = grid_share([mixed[:20], mixed[20:]], stride)
        assert value is not None
        found.append(value / share)
    np.testing.assert_allclose(found, 1.1, atol=0.17)


def test_alike_whatever_the_contrast_and_none_without_a_grid():
    images = lattice(4, 27, 2) + noise(4, 27, 2)
    one = grid_share([images], 2)
    scales = np.array([1.0, 7.0, 0.01, 300.0])[:, None, None, None]
    assert grid_share([images * scales + 8, np.zeros((2, 27, 27, 3))], 2) == pytest.approx(one)
    assert grid_share([images], 1) is None
    assert grid_share([np.zeros((2, 27, 27, 3))], 2) is None
    assert grid_share([], 2) is None


@pytest.fixture
def run_with_winners(deep_run, tmp_path):
    """A copy of the tiny run whose last checkpoint was mined: 2 of 8 and 3 of 12 maps dead."""
    workdir = tmp_path / "net | one"
    shutil.copytree(deep_run, workdir, ignore=shutil.ignore_patterns("studies"))
    first, second = np.ones((8, 3), int), np.ones((12, 3), int)
    first[:2], second[3:6] = -1, -1
    write_mined(
        workdir / "studies" / "features" / "validation-12",
        images={"conv1": first, "conv2": second},
        step=12,
    )
    return workdir


def test_the_diagnosis_of_a_run(run_with_winners):
    run = open_run(run_with_winners)
    folder = run_with_winners / "studies" / "features" / "validation-12"
    result = diagnose(run, winners.load(folder))
    assert result["dead"] == {"conv1": 2 / 8, "conv2": 3 / 12}
    with np.load(folder / "projections.npz") as arrays:
        projections = arrays["conv2/projection"][[0, 1, 2, *range(6, 12)]].astype(float)
    expected = grid_share([projections.reshape(-1, 27, 27, 3)], stride=2)
    assert result["aliasing"] == pytest.approx(expected, rel=1e-3)
    kernel = np.asarray(run.params["conv1"]["kernel"])
    rms = [np.sqrt(np.mean(kernel[..., m] ** 2)) for m in range(8)]
    assert result["dominance"]["ratio"] == pytest.approx(max(rms) / np.median(rms))


def test_the_script_prints_a_table_and_saves_the_numbers(run_with_winners, deep_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(deep_run, other, ignore=shutil.ignore_patterns("studies"))
    (output,) = run_script("diagnose", f"--workdir={run_with_winners}", f"--workdir={other}")
    results = [saved.find(workdir, "first_layers") for workdir in (run_with_winners, other)]
    assert [len(found) for found in results] == [1, 1]
    numbers = [study.numbers(*found) for found in results]
    assert output.strip() == markdown([diagnosis_table(numbers, 0.95)])
    mined_row, other_row = output.splitlines()[2:4]
    assert mined_row.startswith("| net \\| one | 12 |")
    assert "25.0% | 25.0%" in mined_row
    assert other_row.endswith("| - | - | - |")
    assert numbers[1]["dead"] is None


def test_trainings_of_a_net_are_put_together_with_what_they_leave_open():
    def found(run: str, ratio: float, dead: dict[str, float] | None) -> dict[str, Any]:
        spectrum = dict.fromkeys(("low", "mid", "high", "gap"), 0.25)
        dominance = {"ratio": ratio, "energy": 0.1}
        rest = {"spectrum": spectrum, "dominance": dominance, "dead": dead, "aliasing": None}
        return {"run": run, "step": 8} | rest

    dead = {"conv1": 0.5}
    runs = [found(f"wide_seed_{seed}", 1 + seed, dead) for seed in range(3)]
    table = diagnosis_table([found("narrow_seed_0", 7, dead), *runs], 0.95)
    *_, last = table.rows
    assert len(table.rows) == 5
    assert last[:2] == ("wide, 3 trainings", None)
    # Student's t of two degrees of freedom is 4.303, the deviation 1.
    half = 4.302653 / 3**0.5
    assert dataclasses.astuple(last[2]) == pytest.approx((2, None, 2 - half, 2 + half), abs=1e-6)
    assert dataclasses.astuple(last[8]) == (0.5, None, 0.5, 0.5)
    assert last[9] is None
    assert "mean, and its 95% interval" in markdown([table])
    not_mined = diagnosis_table([found("a_seed_0", 1, dead), found("a_seed_1", 2, None)], 0.9)
    assert not_mined.rows[-1][8] is None


def test_the_command_makes_the_diagnosis_of_its_checkpoint(run_with_winners):
    """Whatever other checkpoint is mined."""
    result = study.measured(open_run(run_with_winners, 4), None)
    before = saved.find(run_with_winners, "first_layers")
    (output,) = run_script("diagnose", *shlex.split(result.about["command"])[3:])
    assert "| 4 |" in output
    assert saved.find(run_with_winners, "first_layers") == before


def test_what_is_mined_later_makes_numbers_beside_those_of_before(run_with_winners):
    run = open_run(run_with_winners)
    without = study.measured(run, None)
    mined = winners.load(run_with_winners / "studies" / "features" / "validation-12")
    beside = study.measured(run, mined)
    assert study.numbers(without)["dead"] is None
    assert study.numbers(beside)["dead"] == {"conv1": 2 / 8, "conv2": 3 / 12}
    kernel = np.asarray(run.params["conv1"]["kernel"])
    for result in (without, beside):
        np.testing.assert_array_equal(result.arrays["filters"], np.moveaxis(kernel, 3, 0))
    assert study.measured(run, mined).about == beside.about
