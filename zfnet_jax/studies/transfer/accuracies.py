"""Accuracies of a run's features on other data, as Tables 4, 5 and 7 and Fig. 9 show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from zfnet_jax.studies.transfer import scores as transfer_scores
from zfnet_jax.studies.transfer.scores import TransferScores

Curve = dict[int, list[float]]


class Source(NamedTuple):
    """What accuracies are of: the method, and of pretrained nets the layer (None: the last) and
    head."""

    method: str
    layer: int | None = None
    head: str | None = None


PRETRAINED = Source("pretrained", None, "softmax")
SCRATCH = Source("scratch")


def accuracies(found: TransferScores, source: Source, per_class: int) -> list[float]:
    """Per cent, of each fold that was run."""
    layer = None
    if source.method == "pretrained":
        outputs = outputs_of(found)
        layer = outputs.get(max(outputs, default=0) if source.layer is None else source.layer, "")
    return accuracies_of_layer(found, source, layer, per_class)


def accuracies_of_layer(
    found: TransferScores, source: Source, layer: str | None, per_class: int
) -> list[float]:
    """`accuracies` of a layer by its name, such as 'conv5'."""
    wanted = (source.method, layer, source.head, per_class)
    in_order = sorted(found.scores, key=lambda score: score.fold)
    return [100 * score.accuracy for score in in_order if score.key[:4] == wanted]


def outputs_of(found: TransferScores) -> dict[int, str]:
    """The layers of the pretrained net by the paper's numbers, and what each ends with."""
    layers = found.provenance.get("pretrained", {"layers": {}})["layers"]
    return {int(number): name for number, name in layers.items()}


def curves(workdir: Path, data: Sequence[str] = ()) -> dict[str, dict[str, Curve]]:
    """Fig. 9: how the accuracies of Tables 4 and 5 rise with the number of training images.

    Args:
      workdir: folder of the run.
      data: names of data sets; all that there are scores of if empty.

    Returns:
      of each data set, of each method ('pretrained', 'scratch') that was run, the accuracies of
      the folds, per cent, by training images per class.

    Raises:
      FileNotFoundError: there are no scores.
      ValueError: there are none of the last layer with a softmax, nor from scratch.
    """
    root = transfer_scores.folder_of(workdir, "")
    names = data or sorted(path.parent.name for path in root.glob("*/scores.json"))
    if not names:
        raise FileNotFoundError(f"no transfer scores in {root}: run python -m scripts.transfer")
    return {name: _curves(transfer_scores.load(root / name)) for name in names}


def _curves(found: TransferScores) -> dict[str, Curve]:
    counts = sorted({score.per_class for score in found.scores})
    result = {}
    for source in (PRETRAINED, SCRATCH):
        curve = {count: accuracies(found, source, count) for count in counts}
        if curve := {count: values for count, values in curve.items() if values}:
            result[source.method] = curve
    if not result:
        raise ValueError(
            f"{found.study.data} has no scores of the last layer with a softmax, nor from scratch"
        )
    return result
