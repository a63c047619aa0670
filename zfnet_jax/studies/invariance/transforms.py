"""Photos moved, enlarged and turned on the device, then cropped (paper, Section 4, Fig. 5).

The whole stored photo is transformed about the centre of the crop, and cut afterwards: what comes
into view at an edge is the photo as far as it goes, and `outside` beyond. Both resampling filters
are Keys' cubic, clipped to the range of pixels, so that a transformation that moves every pixel
onto another (none, a whole number of pixels, quarter turns) is exact. Amounts are traced: a sweep
compiles once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from zfnet_jax.studies.invariance.options import Kind
from zfnet_jax.windows import Sides, both

IDENTITY: dict[Kind, float] = {"vertical": 0, "horizontal": 0, "scale": 1, "rotation": 0}


def transform(
    photos: jax.Array, kind: Kind, amount: ArrayLike, crop: Sides, outside: jax.Array
) -> jax.Array:
    """The centre crop of each photo after one transformation.

    Args:
      photos: [B, S, S, C] uint8.
      kind: which transformation.
      amount: scalar, in the units of `Kind`.
      crop: side of the result, or its rows and columns H and W, pixels.
      outside: [H, W, C], what is seen where the photo ends; it does not move.

    Returns:
      [B, H, W, C] float32 in [0, 255].
    """
    if kind == "rotation":
        return rotate(photos, amount, crop, outside)
    shift = jnp.zeros(2)
    if kind == "scale":
        return scale_and_shift(photos, amount, shift, crop, outside)
    shift = shift.at[("vertical", "horizontal").index(kind)].set(amount)
    return scale_and_shift(photos, 1, shift, crop, outside)


def scale_and_shift(
    photos: jax.Array, scale: ArrayLike, shift: jax.Array, crop: Sides, outside: jax.Array
) -> jax.Array:
    """Photos enlarged by `scale` and then moved by `shift` [2] pixels (down, right).

    Shrinking is antialiased: the filter widens with it. As `transform` for the rest.
    """
    size = photos.shape[1]
    sides = both(crop)
    half = jnp.array(sides) / 2
    middle = jnp.array([(size - side) // 2 for side in sides]) + half
    factors = jnp.broadcast_to(jnp.asarray(scale, jnp.float32), (2,))
    start = half + shift - factors * middle

    def resample(images: jax.Array) -> jax.Array:
        shape = (images.shape[0], *sides, images.shape[3])
        return jax.image.scale_and_translate(
            images.astype(jnp.float32), shape, (1, 2), factors, start, "cubic", antialias=True
        )

    # Pixels whose centre is off the photo come out as 0 of this and the others as 1.
    inside = resample(jnp.ones((1, size, size, 1))) > 0.5
    return _finish(resample(photos), inside, outside)


def rotate(photos: jax.Array, degrees: ArrayLike, crop: Sides, outside: jax.Array) -> jax.Array:
    """Photos turned anticlockwise; see `transform`."""
    batch, size, _, channels = photos.shape
    sides = both(crop)
    rows, columns = (jnp.arange(side) - (side - 1) / 2 for side in sides)
    down, right = rows[:, None], columns[None, :]
    middle = [(size - side) // 2 + (side - 1) / 2 for side in sides]
    cosine, sine = _cosine_and_sine(jnp.asarray(degrees, jnp.float32))
    row = middle[0] + cosine * down + sine * right
    column = middle[1] + cosine * right - sine * down

    # All photos share the places, so each is looked up once for the whole batch.
    pixels = jnp.transpose(photos, (1, 2, 0, 3)).reshape(size * size, batch * channels)
    turned = jnp.zeros((*sides, batch * channels))
    rows, row_weights = _taps(row, size)
    columns, column_weights = _taps(column, size)
    for y, row_weight in zip(rows, row_weights):
        for x, column_weight in zip(columns, column_weights):
            values = pixels[y * size + x].astype(jnp.float32)
            turned += (row_weight * column_weight)[..., None] * values
    turned = jnp.transpose(turned.reshape(*sides, batch, channels), (2, 0, 1, 3))

    inside = (jnp.abs(row - (size - 1) / 2) <= size / 2) & (
        jnp.abs(column - (size - 1) / 2) <= size / 2
    )
    return _finish(turned, inside[None, :, :, None], outside)


def check_amounts(kind: Kind, amounts: np.ndarray, size: int, crop: Sides) -> None:
    """ValueError unless there is an amount and each leaves something of a photo in view.

    Args:
      kind: which transformation.
      amounts: [T].
      size: side of the photos, pixels.
      crop: of what the net sees, as in `transform`.
    """
    if not len(amounts):
        raise ValueError(f"{kind}: the range is empty, give at least one amount")
    if not np.isfinite(amounts).all():
        raise ValueError(f"{kind}: amounts must be finite, got {_listed(amounts)}")
    if kind == "scale":
        low, high = 1 / size, float(min(both(crop)))
        wrong = amounts[(amounts < low) | (amounts > high)]
        if len(wrong):
            raise ValueError(
                f"scale: {_listed(wrong)} leaves nothing to see of a photo of {size} pixels: "
                f"choose factors from {low:g} to {high:g}"
            )
    elif kind != "rotation":
        most = (size + both(crop)[("vertical", "horizontal").index(kind)]) // 2 - 1
        wrong = amounts[np.abs(amounts) > most]
        if len(wrong):
            raise ValueError(
                f"{kind}: {_listed(wrong)} pixels move a photo of {size} out of sight: "
                f"choose shifts from -{most} to {most}"
            )


def deviation(kind: Kind, amounts: np.ndarray) -> np.ndarray:
    """How far each amount is from leaving the photo as it is, in its own units: [T] to [T]."""
    if kind == "rotation":
        return np.abs((amounts + 180) % 360 - 180)
    return np.abs(amounts - IDENTITY[kind])


def _finish(resampled: jax.Array, inside: jax.Array, outside: jax.Array) -> jax.Array:
    # The cubic filter overshoots at edges in the picture; a photo has no such pixels.
    return jnp.where(inside, jnp.clip(resampled, 0, 255), outside)


def _cosine_and_sine(degrees: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Exact at quarter turns, where plain float32 is not."""
    quarters = jnp.round(degrees / 90)
    rest = jnp.deg2rad(degrees - 90 * quarters)
    cosine, sine = jnp.cos(rest), jnp.sin(rest)
    four = jnp.array([[cosine, sine], [-sine, cosine], [-cosine, -sine], [sine, -cosine]])
    cosine, sine = four[quarters.astype(jnp.int32) % 4]
    return cosine, sine


def _taps(places: jax.Array, size: int) -> tuple[list[jax.Array], list[jax.Array]]:
    """The four pixels next to each place along an axis, and the weights of Keys' cubic filter.

    Beyond the edge the last pixel stands in, for places within the photo.
    """
    first = jnp.floor(places)
    t = places - first
    weights = [
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]
    taps = [jnp.clip(first.astype(jnp.int32) + step, 0, size - 1) for step in (-1, 0, 1, 2)]
    return taps, weights


def _listed(amounts: np.ndarray) -> str:
    shown = ", ".join(f"{amount:g}" for amount in amounts[:3])
    return shown + (", ..." if len(amounts) > 3 else "")
