"""Which of our pools has the windows of a foreign one."""

from __future__ import annotations

import dataclasses

from zfnet_jax.importers.chain import AnyPool, GlobalPool, RegionPool, WindowPool
from zfnet_jax.layer_specs import LARGEST_WINDOW, Pool, pixels_inside


def same_pool(link: AnyPool, size: int, crop: int) -> Pool:
    """The pool with the same windows on maps of `size` pixels.

    Raises:
      ValueError: no pool here has them.
    """
    pool = _same_pool(link, size, crop)
    if pool.kind == "max" and pool.window > LARGEST_WINDOW and pool.pads(size) + (size,) != (
        0, 0, pool.window,
    ):  # fmt: skip
        raise ValueError(
            f"{link.name}: a max pool of {pool.window} pixels of {size}; {LARGEST_WINDOW} at most"
            " are known, or the whole map"
        )
    return pool


def _same_pool(link: AnyPool, size: int, crop: int) -> Pool:
    if isinstance(link, RegionPool):
        return region_pool(link, size, crop)
    if isinstance(link, GlobalPool):
        return Pool(size, size, kind=link.kind)
    before, after = link.padding
    room = size + before + after - link.window
    windows = (-(-room // link.stride) if link.ceil else room // link.stride) + 1
    if link.ceil and (windows - 1) * link.stride >= size + before:
        windows -= 1  # the last window would hold padding alone
    for rounding in ("ceil", "floor") if link.ceil else ("floor", "ceil"):
        pool = Pool(link.window, link.stride, before, rounding)
        if pool.size(size) != windows:
            continue
        if link.kind == "max":
            return pool
        for counts_padding in (link.counts_padding, not link.counts_padding):
            pool = dataclasses.replace(pool, kind="average", counts_padding=counts_padding)
            if pool.counts(size) == _counts(link, size, windows):
                return pool
    raise ValueError(
        f"{link.name}: {link.kind} pool of {link.window} pixels, stride"
        f" {link.stride}, with {before} and {after} pixels of padding makes {windows} of {size}"
        " units: no pool here does"
    )


def _counts(link: WindowPool, size: int, windows: int) -> list[int]:
    """Pixels along an axis that each mean is over."""
    starts = [window * link.stride - link.padding[0] for window in range(windows)]
    before, after = link.padding if link.counts_padding else (0, 0)
    return pixels_inside(starts, link.window, (-before, size + after))


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
        (start, end) == (i * stride, i * stride + window)
        for i, (start, end) in enumerate(zip(starts, ends))
    )
    if region != size or not regular:
        raise ValueError(
            f"{link.name}: RoI pooling of {size} x {size} units to {link.side} x {link.side} has"
            f" windows that are not evenly spaced; choose images whose maps have {2 * link.side},"
            f" {2 * link.side + 1}, {3 * link.side}, ... units a side (--crop)"
        )
    return Pool(window, stride)
