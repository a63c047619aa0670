"""Accuracies of a run's features on other data, as Tables 4, 5 and 7 and Fig. 9 show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from zfnet_jax.studies.saved import Result
from zfnet_jax.studies.transfer.scores import Scores

Curve = dict[int, list[float]]


class Source(NamedTuple):
    """What accuracies are of: the method, and of pretrained nets the layer (None: the last) and
    head."""

    method: str
    layer: int | None = None
    head: str | None = None


PRETRAINED = Source("pretrained", None, "softmax")
SCRATCH = Source("scratch")


def accuracies(found: Scores, source: Source, per_class: int) -> list[float]:
    """Per cent, of each fold that was run."""
    if source.method == "scratch":
        return _of_folds(found.scratch, per_class)
    layers = found.layers
    number = max(layers, default=0) if source.layer is None else source.layer
    return accuracies_of_layer(found, layers.get(number, ""), source.head, per_class)


def accuracies_of_layer(found: Scores, layer: str, head: str | None, per_class: int) -> list[float]:
    """`accuracies` of a head on a layer by its name, such as 'conv5'."""
    wanted = [
        one
        for one in found.pretrained
        if (one.about["options"]["layer"], one.about["options"]["head"]) == (layer, head)
    ]
    return _of_folds(wanted, per_class)


def _of_folds(results: Sequence[Result], per_class: int) -> list[float]:
    of_fold = {
        one.about["options"]["fold"]: 100 * one.about["accuracy"]
        for one in results
        if one.about["options"]["per_class"] == per_class
    }
    return [of_fold[fold] for fold in sorted(of_fold)]


def curves(found: Mapping[str, Scores]) -> dict[str, dict[str, Curve]]:
    """Fig. 9: how the accuracies of Tables 4 and 5 rise with the number of training images.

    Args:
      found: scores by data set.

    Returns:
      of each data set, of each method ('pretrained', 'scratch') that was run, the accuracies of
      the folds, per cent, by training images per class.

    Raises:
      ValueError: there are none of the last layer with a softmax, nor from scratch.
    """
    return {data: _curves(scores) for data, scores in found.items()}


def _curves(found: Scores) -> dict[str, Curve]:
    results = (*found.pretrained, *found.scratch)
    counts = sorted({one.about["options"]["per_class"] for one in results})
    result = {}
    for source in (PRETRAINED, SCRATCH):
        curve = {count: accuracies(found, source, count) for count in counts}
        if curve := {count: values for count, values in curve.items() if values}:
            result[source.method] = curve
    if not result:
        raise ValueError(
            f"{found.data} has no scores of the last layer with a softmax, nor from scratch"
        )
    return result
