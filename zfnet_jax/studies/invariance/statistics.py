"""What the paper finds in Fig. 5, as numbers (Section 4).

It finds that small transformations change the first layer's features dramatically and the top
layer's less, there quasi-linearly for translation and scale; that the output is stable to those
two, and not invariant to rotation but for objects with rotational symmetry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from zfnet_jax.studies.invariance.options import Kind
from zfnet_jax.studies.invariance.transforms import deviation

TURNS = (45, 90, 135, 180)  # degrees; an object with rotational symmetry is itself again at some


def statistics(arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The numbers of each transformation.

    Distances are those relative to the norm of the untransformed photo's features.

    Args:
      arrays: of N images, from `invariance.measure`.

    Returns:
      per transformation, in order:
      'kind', 'images', 'layers'; 'step' and 'last', the smallest and the largest deviation from
      leaving the photo as it is, in the units of the transformation;
      'jump': {layer: median over images of `jump`}, 'proportional': what it would be if the
      distance grew in proportion; 'linearity': {layer: `linearity`}; 'late_rise': {layer: median
      over images of `late_rise`}; these four are absent where no amount transforms the photo;
      'points': at no, half the last and the last deviation, or at TURNS, 'deviation', 'distance'
      {layer: mean}, and of nets with classes 'probability', mean, of the true class, and 'top1',
      the share of images whose most probable class is the true one.
    """
    layers = [str(layer) for layer in arrays["layers"]]
    return [_of_kind(arrays, cast(Kind, str(kind)), layers) for kind in arrays["kinds"]]


def jump(deviations: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """The share of a curve's largest distance that the smallest deviation already reaches.

    Args:
      deviations: [T], how far each amount is from leaving the photo as it is; some are not zero.
      distances: [N, T].

    Returns:
      [N]; NaN for a curve that is zero throughout.
    """
    step = deviations[deviations > 0].min()
    first, largest = distances[:, _near(deviations, step)].mean(axis=1), distances.max(axis=1)
    return np.divide(first, largest, out=np.full(len(first), np.nan), where=largest > 0)


def linearity(deviations: np.ndarray, distances: np.ndarray) -> float | None:
    """R^2 of the straight line nearest to the mean curve, the untransformed photo left out.

    Whether that line starts at zero says `jump`.

    Args:
      deviations: [T].
      distances: [N, T].

    Returns:
      1 for a straight line; None where fewer than three deviations, or a constant curve, say
      nothing.
    """
    moved = deviations > 0
    x, y = deviations[moved].astype(np.float64), _mean_curve(distances)[moved]
    if len(np.unique(x)) < 3 or not np.ptp(y) > 0:
        return None
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def late_rise(deviations: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """How far a curve rises over the second half of the deviations, as a share of the first half.

    1 is a straight line, 0 a curve that no longer rises; below 0 it falls again.

    Args:
      deviations: [T].
      distances: [N, T].

    Returns:
      [N]; NaN for a curve that is zero over the first half.
    """
    last = deviations.max()
    first, both = (
        distances[:, _near(deviations, at)].mean(axis=1, dtype=np.float64)
        for at in (last / 2, last)
    )
    return np.divide(both - first, first, out=np.full(len(first), np.nan), where=first > 0)


def _of_kind(arrays: Mapping[str, np.ndarray], kind: Kind, layers: list[str]) -> dict[str, Any]:
    deviations = deviation(kind, arrays[f"{kind}/amount"])
    distances = {layer: arrays[f"{kind}/relative/{layer}"] for layer in layers}
    moved, last = deviations[deviations > 0], float(deviations.max())
    result: dict[str, Any] = {
        "kind": kind,
        "images": len(arrays["labels"]),
        "layers": layers,
        "step": float(moved.min()) if len(moved) else None,
        "last": last,
        "points": [_untransformed(arrays, layers)],
    }
    if len(moved):
        result |= {
            "proportional": result["step"] / last,
            "jump": {n: _median(jump(deviations, distances[n])) for n in layers},
            "linearity": {n: linearity(deviations, distances[n]) for n in layers},
            "late_rise": {n: _median(late_rise(deviations, distances[n])) for n in layers},
        }
        wanted = [turn for turn in TURNS if turn <= last] if kind == "rotation" else []
        result["points"] += [
            _point(arrays, kind, distances, deviations, at) for at in wanted or (last / 2, last)
        ]
    return result


def _untransformed(arrays: Mapping[str, np.ndarray], layers: list[str]) -> dict[str, Any]:
    return {
        "deviation": 0.0,
        "distance": dict.fromkeys(layers, 0.0),
        **_answers(arrays, "", slice(None)),
    }


def _point(
    arrays: Mapping[str, np.ndarray],
    kind: Kind,
    distances: dict[str, np.ndarray],
    deviations: np.ndarray,
    at: float,
) -> dict[str, Any]:
    near = _near(deviations, at)
    return {
        "deviation": float(at),
        "distance": {n: _mean(values[:, near]) for n, values in distances.items()},
        **_answers(arrays, f"{kind}/", near),
    }


def _answers(
    arrays: Mapping[str, np.ndarray], of: str, near: np.ndarray | slice
) -> dict[str, float]:
    """How well the true class is known, if there are classes: of the untransformed photos, or at
    some amounts of a transformation."""
    if f"{of}class" not in arrays:
        return {}
    classes, probabilities = (
        arrays[f"{of}{name}"].reshape(len(arrays["labels"]), -1)[:, near]
        for name in ("class", "probability")
    )
    right = classes == arrays["labels"][:, None]
    return {"probability": float(probabilities.mean()), "top1": float(right.mean())}


def _near(deviations: np.ndarray, at: float) -> np.ndarray:
    """[T] bool: the amounts nearest to a deviation, on both sides of it and in both directions."""
    apart = np.abs(deviations - at)
    return apart <= apart.min() + 1e-4 * max(deviations.max(), 1e-6)


def _median(values: np.ndarray) -> float | None:
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) else None


def _mean_curve(distances: np.ndarray) -> np.ndarray:
    """[N, T] to [T] float64, over the images that have a distance."""
    known = distances[~np.isnan(distances).any(axis=1)]
    return known.mean(axis=0, dtype=np.float64) if len(known) else np.zeros(distances.shape[1])


def _mean(values: np.ndarray) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None
