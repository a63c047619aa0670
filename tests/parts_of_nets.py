"""What is computed of a part of a net alone, held against the same of all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests import slow_reference as slow
from zfnet_jax import deconvnet, geometry
from zfnet_jax.architecture import Architecture
from zfnet_jax.cropped import Units, project_units
from zfnet_jax.model import ZFNet
from zfnet_jax.report.tiles import window_of
from zfnet_jax.studies.occlusion.plan import Grid
from zfnet_jax.studies.occlusion.recompute import Squares, occluded, unoccluded
from zfnet_jax.windows import Sides


def check_units(
    net: Architecture,
    params: Any,
    activations: Any,
    layer: str,
    places: np.ndarray,
    size: Sides,
    rule: tuple[str, str],
    project: Callable[..., Any] = deconvnet.project,
) -> None:
    """Units that are projected alone: as among all units, and nothing beyond their fields.

    Args:
      places: [U, 3], image, row and column of each; the strongest map's there counts.
      rule: `rectify` and `overlap` of a projection.
      project: what projects among all units.
    """
    options: Any = dict(zip(("rectify", "overlap"), rule))
    maps = np.asarray(activations[layer])
    image, row, column = places.T
    index = maps[image, row, column].argmax(axis=1)
    value = np.linspace(1, 2, len(places), dtype=np.float32)
    seed = np.zeros((len(places), *maps.shape[1:]), np.float32)
    seed[np.arange(len(places)), row, column, index] = value
    each = {name: array[image] for name, array in activations.items()}
    full = np.asarray(project(net, params, each, layer, seed, size, **options))
    alone = Units(image, index, row, column, value)
    cropped = project_units(net, params, activations, layer, alone, size, **options)
    rows, columns = geometry.receptive_fields(net, layer)
    assert cropped.shape == (len(places), rows.size, columns.size, 3)
    for n, found in enumerate(cropped):
        (top, bottom), (left, right) = rows.window(int(row[n])), columns.window(int(column[n]))
        window = (top, left, bottom, right)
        np.testing.assert_allclose(found, window_of(full[n], window, 0), atol=1e-5)
        outside = full[n].copy()
        outside[max(top, 0) : bottom, max(left, 0) : right] = 0
        assert not outside.any()


def check_occlusion(
    model: ZFNet, params: Any, images: np.ndarray, grid: Grid, layer: str, fill: float
) -> None:
    """Answers and activity under squares of a grid of 3 x 3: those of covered images."""
    places = np.stack(np.mgrid[: len(images), :3, :3]).reshape(3, -1)
    number = np.arange(1, len(images) + 1)
    grey = np.full_like(images, fill)
    photos = unoccluded(model, params, images, grey, grid, layer, number)
    logits, activity = occluded(model, params, photos, grid, layer, Squares(*places))
    covered = images[places[0]]
    for one, row, column in zip(covered, places[1], places[2]):
        one[grid.rows[row] :, grid.columns[column] :][: grid.square, : grid.square] = fill
    expected, activations = slow.answers(model, params, covered)
    maps = np.asarray(activations[layer])
    sums = maps[np.arange(len(maps)), :, :, number[places[0]]].sum(axis=(1, 2))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(activity, sums, rtol=1e-4, atol=1e-3)
