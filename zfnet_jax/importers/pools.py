"""Which of our pools has the windows of a foreign one."""

from __future__ import annotations

import dataclasses

from zfnet_jax.importers.chain import AnyPool, GlobalPool, RegionPool, WindowPool, sized
from zfnet_jax.layer_specs import Pool, Rounding
from zfnet_jax.pooling import LARGEST_WINDOW
from zfnet_jax.windows import Pair, by


def same_pool(link: AnyPool, size: Pair, crop: Pair) -> Pool:
    """The pool with the same windows on maps of `size` pixels of images of `crop`.

    Raises:
      ValueError: no pool here has them.
    """
    if isinstance(link, RegionPool):
        if size[0] != size[1] or crop[0] != crop[1]:
            raise ValueError(f"{link.name}: RoI pooling of {by(size)} units, expected a square")
        return region_pool(link, size[0], crop[0])
    if isinstance(link, GlobalPool):
        return Pool(size, size, kind=link.kind)
    try:
        pool = _window_pool(link, size)
        ends = [pool.pads(n, axis) for axis, n in enumerate(size)]
    except ValueError as error:
        raise ValueError(f"{link.name}: {error}") from None
    sides = (pool.windows[0].size, pool.windows[1].size)
    whole = sides == size and ends == [(0, 0)] * 2
    if pool.kind == "max" and sides[0] * sides[1] > LARGEST_WINDOW and not whole:
        raise ValueError(
            f"{link.name}: a max pool of {by(sides)} pixels of {by(size)}; {LARGEST_WINDOW} at"
            " most, 16 x 16, are known, or the whole map"
        )
    return pool


def _window_pool(link: WindowPool, size: Pair) -> Pool:
    """Padded as much after the maps as before them where that makes the same windows."""
    padding = sized(link.padding, link.window, link.stride, 1, size)
    roundings: tuple[Rounding, Rounding] = ("ceil", "floor") if link.ceil else ("floor", "ceil")
    counts_padding = link.kind == "max" or link.counts_padding  # a maximum counts nothing
    exact = Pool(link.window, link.stride, padding, roundings[0], link.kind, counts_padding)
    (above, _), (left, _) = padding
    for rounding in roundings:
        for counts in (counts_padding, not counts_padding):
            even = dataclasses.replace(
                exact, padding=(above, left), rounding=rounding, counts_padding=counts
            )
            if _same_windows(even, exact, size):
                return even
    return exact


def _same_windows(one: Pool, other: Pool, size: Pair) -> bool:
    axes = list(enumerate(size))
    try:
        if any(one.size(n, axis) != other.size(n, axis) for axis, n in axes):
            return False
    except ValueError:  # maps smaller than the window, of which only ceil makes a partial one
        return False
    means = one.kind == "average"
    return not means or all(one.counts(n, axis) == other.counts(n, axis) for axis, n in axes)


def region_pool(link: RegionPool, size: int, crop: int) -> Pool:
    """RoI pooling of the whole image, where its windows lie as regularly as a pool's.

    As in Fast R-CNN's layer: the region ends at the rounded position of the last pixel, and
    window i of n covers units floor(i * size / n) to ceil((i + 1) * size / n).
    """
    if not 1 <= link.side <= size:
        raise ValueError(f"{link.name}: RoI pooling of {size} units to {link.side}")
    region = int((crop - 1) * link.scale + 0.5) + 1
    starts = [i * region // link.side for i in range(link.side)]
    ends = [min(-(-(i + 1) * region // link.side), size) for i in range(link.side)]
    window, stride = ends[0], max(1, starts[1] if link.side > 1 else 1)
    regular = all(
        (start, end) == (i * stride, min(i * stride + window, size)) and start < end
        for i, (start, end) in enumerate(zip(starts, ends))
    )
    # Where the maps end before the region, the last windows are partial.
    for rounding in ("floor", "ceil"):
        pool = Pool(window, stride, rounding=rounding)
        reaches = size <= (link.side - 1) * stride + window
        if regular and reaches and window <= size and pool.size(size) == link.side:
            return pool
    # Regions of n, n + 1, 2 n, 2 n + 1 ... units have windows at equal distances.
    regions = [times * link.side + more for times in (1, 2, 3) for more in (0, 1)]
    sizes = ", ".join(str(round((n - 1) / link.scale) + 1) for n in regions if n > 1)
    raise ValueError(
        f"{link.name}: RoI pooling of {size} x {size} units to {link.side} x {link.side} has"
        f" windows that are not evenly spaced; choose images of about {sizes} pixels (--crop)"
    )
