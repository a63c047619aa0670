"""Fig. 6: first-layer filters and second-layer features of several runs, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from zfnet_jax.names import fit
from zfnet_jax.report.figures import CONTRAST, page_width, pixels, place, sheet
from zfnet_jax.report.mosaic import even_columns, filter_mosaic, mosaic, shrink
from zfnet_jax.report.text import within
from zfnet_jax.report.tiles import projection_tile
from zfnet_jax.studies.features import chosen
from zfnet_jax.studies.features.winners import Winners
from zfnet_jax.windows import both, in_words, shortest

Arrays = Mapping[str, np.ndarray]

MARGIN, BETWEEN = 0.1, 0.2  # around the figure and between panels, inches


def figure6(filters: Sequence[Arrays], mined: Sequence[Winners | None], count: int) -> Figure:
    """One column per run: its first layer's filters, and under them its second layer's features.

    All filters of a net share one contrast, so that a filter that dominates shows. Features are
    the projections of maps' strongest activations, each in its own contrast.

    Args:
      filters: of each run, the arrays of `filters.first_layer`, and 'origin', what the first layer
        is called where the net comes from, if it has such a name.
      mined: of each run, what mining left, or None: then its second layer is left out.
      count: second-layer maps to draw, at random from those that are not dead.
    """
    width = page_width()
    line = mpl.rcParams["font.size"] * 1.45 / 72
    wide = (width - 2 * MARGIN - (len(filters) - 1) * BETWEEN) / len(filters)
    rows = [
        [filter_mosaic(arrays["filters"]) for arrays in filters],
        [_features(one, count, wide) if one else None for one in mined],
    ]
    tall = [
        max((wide * i.shape[0] / i.shape[1] for i in images if i is not None), default=0)
        for images in rows
    ]
    second = tall[0] + 4.4 * line
    height = second + tall[1] + MARGIN if tall[1] else tall[0] + 3.4 * line
    figure, axis = sheet(width, height)
    for index, arrays in enumerate(filters):
        x = MARGIN + index * (wide + BETWEEN)
        run = within(fit(arrays["run"]), 0.9 * wide)  # bold is wider
        axis.text(x, 1.3 * line, run, weight="bold", parse_math=False)
        axis.text(
            x, 2.4 * line, _settings(arrays, wide), size="small", color="0.35", parse_math=False
        )
        for image, y in zip((rows[0][index], rows[1][index]), (2.8 * line, second)):
            if image is not None:
                place(axis, image, x, y, wide, wide * image.shape[0] / image.shape[1])
        one = mined[index]
        if one is not None and rows[1][index] is not None:
            axis.text(
                x,
                second - 0.5 * line,
                _caption(one, wide),
                size="small",
                color="0.35",
                parse_math=False,
            )
    return figure


def _features(mined: Winners, count: int, wide: float) -> np.ndarray | None:
    if len(mined.layers) < 2:
        return None
    layer = mined.layers[1]
    maps = chosen.random_maps(mined, layer, count, seed=0)
    if not len(maps):
        return None
    strongest = chosen.projections(mined, layer, maps)[:, 0]
    columns = even_columns(count)
    small = [shrink(projection, pixels(wide / columns)) for projection in strongest]
    return mosaic(np.stack([projection_tile(tile, CONTRAST) for tile in small]), columns)


def _settings(arrays: Arrays, wide: float) -> str:
    height, width = arrays["filters"].shape[1:3]
    stride = in_words(shortest(both(arrays["stride"].tolist())))
    limit = float(arrays["rms_limit"])
    held = f", RMS limit {limit:g}" if limit else ", no RMS limit"
    name = f"1{_origin(str(arrays.get('origin', '')), wide)}"
    return f"layer {name}: {height} x {width}, stride {stride}" + ("" if np.isnan(limit) else held)


def _caption(mined: Winners, wide: float) -> str:
    layer = mined.layers[1]
    dead = chosen.dead(mined, layer)
    name = layer.removeprefix("conv") + _origin(mined.origins.get(layer, ""), wide)
    return f"layer {name}: {dead.sum()} of {len(dead)} maps dead"


def _origin(name: str, wide: float) -> str:
    """What a layer is called where the net comes from, in brackets, in a column so wide."""
    return f" ({within(fit(name), 0.25 * wide, 'small')})" if name else ""
