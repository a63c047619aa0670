"""What was mined of a run's checkpoint (scripts.mine), read for one map at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zfnet_jax.names import fit
from zfnet_jax.report.tiles import moved_inside
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.features import finding, winners
from zfnet_jax.studies.features.winners import Winners
from zfnet_jax.studies.saved import Result


class Mined(NamedTuple):
    """Winners, and whether they are of the images that samples are taken from."""

    winners: Winners
    of_samples: bool

    @property
    def nbytes(self) -> int:
        """In memory; the pictures are on the disk."""
        return sum(array.nbytes for array in self.winners.winners.values())


def find(run: Run, fingerprint: str | None) -> Result | None:
    """What was mined of the checkpoint, first of the images with this fingerprint; None where
    nothing was."""
    try:
        return finding.mined(run.directory, None, data=fingerprint).of_step(run.step)[0]
    except FileNotFoundError:
        return None


def load(found: Result, fingerprint: str | None) -> Mined:
    mined = winners.load(found.folder)
    return Mined(mined, mined.about["data"]["fingerprint"] == fingerprint)


def there(mined: Winners, layer: str, number: int) -> np.ndarray:
    """Which places of a map's winners are taken, [K]."""
    return mined.winners[f"{layer}/image"][number] >= 0


def of_map(mined: Mined, layer: str, number: int) -> list[dict[str, Any]]:
    """The winners of a map, strongest first, as JSON values."""
    found, titles, keys = mined.winners, mined.winners.class_titles, mined.winners.keys
    rows = {name: found.winners[f"{layer}/{name}"][number] for name in _READ}
    crop = tuple(found.about["crop"])
    result = []
    for place in np.flatnonzero(there(found, layer, number)):
        image, label = int(rows["image"][place]), int(rows["label"][place])
        result.append(
            {
                "value": float(rows["value"][place]),
                "label": titles[label] if 0 <= label < len(titles) else None,
                "key": fit(keys.get(image, "")),
                "sample": image if mined.of_samples else None,
                "field": rows["window"][place].tolist(),
                "shown": moved_inside(rows["window"][place], crop).tolist(),
            }
        )
    return result


def class_of(mined: Winners, layer: str, number: int) -> dict[str, Any] | None:
    """The class that most winners of a map have, of equals the first that a winner has, and its
    share of them: the atlas's purity. None where they have none."""
    labels = mined.winners[f"{layer}/label"][number][there(mined, layer, number)]
    labels = labels[labels >= 0]
    if not labels.size:
        return None
    classes, first, counts = np.unique(labels, return_index=True, return_counts=True)
    best = min(range(len(classes)), key=lambda n: (-counts[n], first[n]))
    return {
        "name": mined.class_titles[int(classes[best])],
        "share": float(counts[best] / labels.size),
    }


_READ = ("image", "label", "value", "window")
