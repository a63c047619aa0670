"""Measures the overlap search on altered copies of photos: precision and recall at any threshold.

    python -m scripts.overlap_check --photos=CALTECH101 --photos_classes=even --twice=FILE --out=DIR
    python -m scripts.overlap_check --photos=IMAGENETTE --unrelated=CALTECH101 \\
        --unrelated_classes=odd --out=DIR

The first command is how the threshold in studies/overlap/options.py was fixed, the second how it
was judged on photos that had no part in that. Every photo is altered in each way of
studies/overlap/alterations.py and stored as a JPEG (of quality 90, where that is not what is
altered) in DIR/mixed, beside the unrelated photos. Of the pairs that the search finds one is right
if its copy was made from its photo; DIR/index.html shows the wrong ones. A photo that the folder
holds twice makes wrong pairs that are none: --twice leaves it out. Which these are the eye must
say, on the page of `python -m scripts.overlap A A`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from absl import flags

from zfnet_jax.command import shell
from zfnet_jax.studies.overlap.options import Options

_PHOTOS = flags.DEFINE_string(
    "photos", None, "Folder of photos to alter and to find.", required=True
)
_UNRELATED = flags.DEFINE_string("unrelated", None, "Folder of other photos to mix in.")
_HALVES = ["all", "even", "odd"]
_PHOTOS_CLASSES = flags.DEFINE_enum(
    "photos_classes", "all", _HALVES, "Class folders of --photos to use, by their number."
)
_UNRELATED_CLASSES = flags.DEFINE_enum(
    "unrelated_classes", "all", _HALVES, "Class folders of --unrelated to use."
)
_TWICE = flags.DEFINE_string(
    "twice", None, "JSON list `keys` of photos of --photos to leave out: it holds them twice."
)
_MOST = flags.DEFINE_integer(
    "most", None, "Photos of each folder, evenly spread; all if not given."
)
_OUT = flags.DEFINE_string(
    "out", None, "Folder for copies, results and the page of wrong pairs.", required=True
)
_WORKERS = flags.DEFINE_integer(
    "workers", os.cpu_count() or 1, "Decoding processes.", lower_bound=1
)

LOWEST = 0.7  # threshold of the table


def main() -> None:
    from zfnet_jax.data.exclusion import read_keys
    from zfnet_jax.studies.overlap import alterations
    from zfnet_jax.studies.overlap import measure as overlap
    from zfnet_jax.studies.overlap import page as overlap_page
    from zfnet_jax.studies.overlap import study as overlap_study

    out, default = Path(_OUT.value), Options().threshold
    if (out / "mixed").exists():
        raise ValueError(f"{out} holds an earlier check: choose another --out")
    twice = read_keys(_TWICE.value) if _TWICE.value else []
    alterations.link(
        _PHOTOS.value, _PHOTOS_CLASSES.value, out / "photos", most=_MOST.value, without=twice
    )
    if _UNRELATED.value:
        half, to = _UNRELATED_CLASSES.value, out / "mixed" / "unrelated"
        alterations.link(_UNRELATED.value, half, to, most=_MOST.value)
    alterations.write_copies(out / "photos", out / "mixed", progress=sys.stderr.isatty())
    shared = overlap_study.search(
        out / "photos",
        out / "mixed",
        Options(LOWEST),
        workers=_WORKERS.value,
        progress=sys.stderr.isatty(),
    )
    first, second = shared.sets
    pairs, times = shared.pairs, shared.seconds
    print(
        f"{len(first.keys)} photos against {len(second.keys)}: read in {times['read']:.1f} s,",
        end="",
    )
    print(f" compared in {times['compare']:.1f} s\n")

    row_of = {key: row for row, key in enumerate(first.keys)}
    ways, names = np.array([key.split("/", 1) for key in second.keys]).T
    original = np.array([row_of.get(name.removesuffix(".jpg"), -1) for name in names])
    original[ways == "unrelated"] = -1
    copies = np.flatnonzero(original >= 0)
    own, _ = overlap.score_pairs(*shared.small, np.stack([original[copies], copies], axis=1))
    false = original[pairs.rows[:, 1]] != pairs.rows[:, 0]
    _print_scores(ways[copies], own, pairs.best[1][ways == "unrelated"], default)
    judged = np.isin(ways, [*alterations.ALTERATIONS, "unrelated"])
    _print_thresholds(own[judged[copies]], pairs.score[false & judged[pairs.rows[:, 1]]], default)
    listed = [
        pair
        for pair, wrong in zip(shared.found["pairs"], false)
        if wrong and pair["score"] >= default
    ]
    page = shared.found | {"pairs": listed, "exclude": [], "threshold": default}
    overlap_page.write_page(out / "index.html", page, first.photo, second.photo)
    print(f"\nwrong pairs: {out / 'index.html'}")


def _print_scores(
    ways: np.ndarray, own: np.ndarray, unrelated: np.ndarray, threshold: float
) -> None:
    """Scores of copies with their originals, by alteration, and the best of unrelated photos."""
    from zfnet_jax.studies.overlap.alterations import ALTERATIONS, HARDER

    print(f"{'':16s} lowest  lowest 1%  median  share at {threshold:g} or more")
    for name in [*ALTERATIONS, *HARDER]:
        scores = np.sort(own[ways == name])
        share = (scores >= threshold).mean()
        low, middle = scores[len(scores) // 100], np.median(scores)
        print(f"{name:16s} {scores[0]:6.3f} {low:10.3f} {middle:7.3f} {share:8.4f}")
    if len(unrelated):
        scores = np.sort(unrelated)
        low, high = np.median(scores), scores[-1 - len(scores) // 100]
        print(f"\nbest of unrelated: median {low:.3f}, highest 1% {high:.3f},", end="")
        print(f" highest {scores[-1]:.3f}")


def _print_thresholds(own: np.ndarray, false: np.ndarray, default: float) -> None:
    """Precision and recall over ALTERATIONS and unrelated photos, at many thresholds."""
    print("\nthreshold  precision  recall  wrong pairs")
    for at in sorted({default, *np.arange(70, 100, 2) / 100}):
        right, wrong = (own >= at).sum(), (false >= at).sum()
        precision = right / (right + wrong) if right + wrong else 1
        mark = "  the default" if at == default else ""
        print(f"{at:9g} {precision:10.4f} {right / len(own):7.4f} {wrong:12d}{mark}")


if __name__ == "__main__":
    shell.run(main)
