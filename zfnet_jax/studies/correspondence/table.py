"""Table 1: how alike features change where a part is masked, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zfnet_jax.report.table import Column, Number, Table
from zfnet_jax.studies import paper
from zfnet_jax.studies.correspondence.permutation import holm

Arrays = Mapping[str, np.ndarray]

_RULES = {
    "three_valued": "zero a sign of its own",
    "left_out": "zeros left out",
    "equal": "zeros agree with all",
}
_RANDOM = {"random": "Random", "same_place": "Random, one place in all images"}


def table1(arrays: Arrays, outputs: Mapping[int, str]) -> list[Table]:
    """Two tables for each layer, from the arrays of `measure.measure`.

    First the distances: their mean over pairs of images and their standard deviation, for random
    places over the pairs of all draws; the paper calls lower ones closer correspondence. A column
    for each reading of a sign that is exactly zero (see `sign_hamming`), then the share of such
    signs. Second the p-values of each part's test against random places, alone and corrected for
    the number of tests of that reading: all parts, layers and kinds of random places.

    Args:
      outputs: of the net, see `Architecture.outputs`: the paper's numbers stand beside ours only
        where the net has the paper's layers.
    """
    layers, compared = [str(layer) for layer in arrays["layers"]], paper.is_like(outputs)
    corrected = _corrected(arrays, layers)
    found = []
    for layer in layers:
        found += [_distances(arrays, layer, compared), _tests(arrays, layer, corrected)]
    return found


def _corrected(arrays: Arrays, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Of each reading all p-values corrected together, under the names that they have alone."""
    found: dict[str, np.ndarray] = {}
    for rule in map(str, arrays["rules"]):
        names = [f"{layer}/{rule}/p_{name}" for layer in layers for name in _RANDOM]
        together = holm(np.concatenate([arrays[name] for name in names]))
        found |= zip(names, np.split(together, len(names)))
    return found


def _distances(arrays: Arrays, layer: str, compared: bool) -> Table:
    rules, rows = [str(rule) for rule in arrays["rules"]], []
    for index, part in enumerate(map(str, arrays["parts"])):
        found = (_spread(arrays[f"{layer}/{rule}/part"][index]) for rule in rules)
        zeros = float(arrays[f"zero/{layer}/part"][index])
        rows.append((_title(part), _published(part, layer) if compared else None, *found, zeros))
    for name, title in _RANDOM.items():
        found = (_spread(arrays[f"{layer}/{rule}/{name}"]) for rule in rules)
        zeros = float(arrays[f"zero/{layer}/{name}"].mean())
        rows.append((title, _published(name, layer) if compared else None, *found, zeros))
    images, draws = len(arrays["images"]), len(arrays["corner/random"])
    squares = f"squares of {int(arrays['side'])} of {arrays['images'].shape[1]} pixels"
    return Table(
        columns=(
            Column("masked"),
            Column("paper", ".3f"),
            *(Column(_RULES[rule], ".3f") for rule in rules),
            Column("zeros", ".1%"),
        ),
        rows=tuple(rows),
        name=layer,
        caption=f"Layer {_number(layer)} ({layer}): mean feature sign change (Table 1)",
        setting=f"{images} images, {squares}, {draws} random draws; the paper: 5 images.",
    )


def _tests(arrays: Arrays, layer: str, corrected: Arrays) -> Table:
    rules, rows = [str(rule) for rule in arrays["rules"]], []
    for index, part in enumerate(map(str, arrays["parts"])):
        for name, title in _RANDOM.items():
            values = (
                float(given[f"{layer}/{rule}/p_{name}"][index])
                for rule in rules
                for given in (arrays, corrected)
            )
            cells = (None if np.isnan(value) else value for value in values)
            rows.append((f"{_title(part)} against {title.lower()}", *cells))
    return Table(
        columns=(
            Column("difference"),
            *(
                Column(f"p, {_RULES[rule]}{of}", ".2g")
                for rule in rules
                for of in ("", ", corrected")
            ),
        ),
        rows=tuple(rows),
        name=f"{layer}-tests",
        remarks=(
            "Corrected (Holm) for the number of tests of a reading: all parts and layers, against"
            " both kinds of random places.",
        ),
    )


def _title(part: str) -> str:
    return part.replace("_", " ").capitalize()


def _published(name: str, layer: str) -> Number | None:
    """The paper's number for a part or 'random' at a layer such as 'pool5', if it has one."""
    published = paper.table(1)
    label, column = (
        name.replace("_", " ").title(),
        f"Mean Feature Sign Change Layer {_number(layer)}",
    )
    if label not in [row for row, _ in published.rows] or column not in published.columns:
        return None
    return published.cell(label, column)


def _number(layer: str) -> str:
    return layer.lstrip("abcdefghijklmnopqrstuvwxyz")


def _spread(distances: np.ndarray) -> Number | None:
    distances = distances[~np.isnan(distances)]
    return Number(float(distances.mean()), float(distances.std())) if distances.size else None
