"""The diagnosis against waves and noise whose spectra are known, and a run from end to end."""

from __future__ import annotations

import shlex
import shutil

import numpy as np
import pytest

from tests.conftest import run_script
from tests.mined_folder import write_mined
from zfnet_jax.report.table import markdown
from zfnet_jax.runs.run import open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.features import winners
from zfnet_jax.studies.first_layers import study
from zfnet_jax.studies.first_layers.diagnosis import (
    aliasing_index,
    diagnose,
    dominance,
    spectral_coverage,
)
from zfnet_jax.studies.first_layers.spectrum import power
from zfnet_jax.studies.first_layers.table import diagnosis_table


def wave(size: int, vertical: float, horizontal: float) -> np.ndarray:
    """A wave of given frequencies, cycles per pixel: [size, size, 3]."""
    y, x = np.mgrid[:size, :size]
    values = np.cos(2 * np.pi * (vertical * y + horizontal * x) + 0.7)
    return np.repeat(values[..., None], 3, axis=2)


@pytest.mark.parametrize("size", [7, 11])
@pytest.mark.parametrize(
    ("frequency", "band"),
    [((0, 0), "low"), ((0.02, 0.03), "low"), ((0.12, 0.15), "mid"), ((0, 0.1875), "mid")]
    + [((0.35, 0.1), "high"), ((0.5, 0.5), "high")],
)
def test_a_wave_lands_in_its_band(size, frequency, band):
    coverage = spectral_coverage(wave(size, *frequency)[None])
    shares = {name: coverage[name] for name in ("low", "mid", "high")}
    assert max(shares, key=shares.get) == band
    assert sum(shares.values()) == pytest.approx(1)


def test_power_is_that_of_fourier_sums_written_out():
    image = np.random.default_rng(0).normal(size=(5, 5, 2))
    spectrum = power(image[None])[0]
    y, x = np.mgrid[:5, :5]
    for row, column in ((0, 0), (3, 9), (40, 61)):
        waves = np.exp(-2j * np.pi * (row * y + column * x) / 64)
        sums = (image * waves[..., None]).sum(axis=(0, 1))
        assert spectrum[row, column] == pytest.approx(np.sum(np.abs(sums) ** 2))


def test_filters_count_equally_however_strong_they_are():
    low, high = wave(11, 0, 0), wave(11, 0.4, 0.2)
    both = spectral_coverage(np.stack([low, high]))
    np.testing.assert_allclose(
        list(spectral_coverage(np.stack([100 * low, high, 0 * high])).values()),
        list(both.values()),
    )


def test_white_noise_has_the_shares_of_the_bands_areas():
    coverage = spectral_coverage(np.random.default_rng(0).normal(size=(400, 7, 7, 3)))
    assert coverage["low"] == pytest.approx(np.pi / 64, abs=0.01)
    assert coverage["mid"] == pytest.approx(3 * np.pi / 64, abs=0.01)
    assert coverage["gap"] == 0


def test_the_gap_is_wide_where_only_the_mid_frequencies_are_missing():
    low, mid, high = wave(33, 0.02, 0), wave(33, 0.19, 0), wave(33, 0.4, 0.2)
    mixed = spectral_coverage(np.stack([low, high]))
    assert mixed["gap"] > 0.8
    assert mixed["gap"] == pytest.approx(1 - mixed["mid"] / min(mixed["low"], mixed["high"]))
    assert spectral_coverage(np.stack([low, mid, high]))["gap"] < 0.1


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


@pytest.mark.parametrize("stride", [2, 4])
def test_aliasing_is_high_on_the_grid_and_low_for_what_is_smooth(stride):
    size = 51
    y, x = np.mgrid[:size, :size]
    checkerboard = np.repeat(((y // stride + x // stride) % 2)[..., None], 3, axis=2)
    smooth = np.repeat(np.exp(-((y - 25) ** 2 + (x - 25) ** 2) / 200.0)[..., None], 3, axis=2)
    indices = aliasing_index(np.stack([checkerboard, smooth, 0 * smooth]), stride)
    assert indices[0] > 0.9
    assert indices[1] < 0.05
    assert indices[2] == 0
    # Neither brightness nor contrast matters.
    np.testing.assert_allclose(aliasing_index(checkerboard[None] * 3 + 8, stride), indices[:1])


def test_aliasing_counts_the_power_above_the_limit():
    fine, coarse = wave(48, 0.375, 0), wave(48, 0.0625, 0)  # whole periods: each in one bin
    mixture = fine + 2 * coarse
    assert aliasing_index(mixture[None], 2)[0] == pytest.approx(1 / 5, abs=0.02)


@pytest.fixture
def run_with_winners(tiny_run, tmp_path):
    """A copy of the tiny run whose last checkpoint was mined: 2 of 8 and 3 of 12 maps dead."""
    workdir = tmp_path / "net | one"
    shutil.copytree(tiny_run, workdir, ignore=shutil.ignore_patterns("studies"))
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
    expected = aliasing_index(projections.reshape(-1, 27, 27, 3), stride=2).mean()
    assert result["aliasing"] == pytest.approx(expected, rel=1e-5)
    kernel = np.asarray(run.params["conv1"]["kernel"])
    rms = [np.sqrt(np.mean(kernel[..., m] ** 2)) for m in range(8)]
    assert result["dominance"]["ratio"] == pytest.approx(max(rms) / np.median(rms))


def test_the_script_prints_a_table_and_saves_the_numbers(run_with_winners, tiny_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_run, other, ignore=shutil.ignore_patterns("studies"))
    (output,) = run_script("diagnose", f"--workdir={run_with_winners}", f"--workdir={other}")
    results = [saved.find(workdir, "first_layers") for workdir in (run_with_winners, other)]
    assert [len(found) for found in results] == [1, 1]
    numbers = [study.numbers(*found) for found in results]
    assert output.strip() == markdown([diagnosis_table(numbers)])
    mined_row, other_row = output.splitlines()[2:4]
    assert mined_row.startswith("| net \\| one | 12 |")
    assert "25.0% | 25.0%" in mined_row
    assert other_row.endswith("| - | - | - |")
    assert numbers[1]["dead"] is None


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
