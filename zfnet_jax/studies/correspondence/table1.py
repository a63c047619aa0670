"""Table 1: how alike features change where a part is masked, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from zfnet_jax.report.table import NONE, markdown
from zfnet_jax.studies import paper

Arrays = Mapping[str, np.ndarray]

_RULES = {
    "three_valued": "zero a sign of its own",
    "left_out": "zeros left out",
    "equal": "zeros agree with all",
}
_RANDOM = {"random": "Random", "same_place": "Random, one place in all images"}


def table1(arrays: Arrays) -> str:
    """Two Markdown tables for each layer, from the arrays of `analysis.correspondence`.

    First the distances: their mean over pairs of images and their standard deviation, for random
    places over the pairs of all draws; the paper calls lower ones closer correspondence. A column
    for each reading of a sign that is exactly zero (see `analysis.sign_hamming`), then the share
    of such signs. Second the p-values of each part's test against random places.
    """
    images, draws = len(arrays["images"]), len(arrays["corner/random"])
    squares = f"squares of {int(arrays['side'])} of {arrays['images'].shape[1]} pixels"
    lines = [f"{images} images, {squares}, {draws} random draws; the paper: 5 images."]
    for layer in map(str, arrays["layers"]):
        lines += [f"Layer {_number(layer)} ({layer})", _distances(arrays, layer)]
        lines.append(_tests(arrays, layer))
    return "\n\n".join(lines)


def _distances(arrays: Arrays, layer: str) -> str:
    rules = [str(rule) for rule in arrays["rules"]]
    rows = []
    for index, part in enumerate(map(str, arrays["parts"])):
        found = (_spread(arrays[f"{layer}/{rule}/part"][index]) for rule in rules)
        zeros = arrays[f"zero/{layer}/part"][index]
        rows.append([_title(part), _published(part, layer), *found, f"{zeros:.1%}"])
    for name, title in _RANDOM.items():
        found = (_spread(arrays[f"{layer}/{rule}/{name}"]) for rule in rules)
        zeros = arrays[f"zero/{layer}/{name}"].mean()
        rows.append([title, _published(name, layer), *found, f"{zeros:.1%}"])
    return markdown(["masked", "paper", *(_RULES[rule] for rule in rules), "zeros"], rows)


def _tests(arrays: Arrays, layer: str) -> str:
    rules = [str(rule) for rule in arrays["rules"]]
    rows = []
    for index, part in enumerate(map(str, arrays["parts"])):
        for name, title in _RANDOM.items():
            values = (arrays[f"{layer}/{rule}/p_{name}"][index] for rule in rules)
            cells = (NONE if np.isnan(value) else f"p = {value:.2g}" for value in values)
            rows.append([f"{_title(part)} against {title.lower()}", *cells])
    return markdown(["difference", *(_RULES[rule] for rule in rules)], rows)


def _title(part: str) -> str:
    return part.replace("_", " ").capitalize()


def _published(name: str, layer: str) -> str:
    """The paper's number for a part or 'random' at a layer such as 'pool5'; a dash if none."""
    published = paper.table(1)
    label, column = (
        name.replace("_", " ").title(),
        f"Mean Feature Sign Change Layer {_number(layer)}",
    )
    if label not in [row for row, _ in published.rows] or column not in published.columns:
        return NONE
    cell = published.cell(label, column)
    return NONE if cell is None else f"{cell.value:.3f} ± {cell.spread:.3f}"


def _number(layer: str) -> str:
    return layer.lstrip("abcdefghijklmnopqrstuvwxyz")


def _spread(distances: np.ndarray) -> str:
    distances = distances[~np.isnan(distances)]
    return f"{distances.mean():.3f} ± {distances.std():.3f}" if distances.size else NONE
